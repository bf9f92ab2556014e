"""Trackers of trainings: what they get, and that a resumed training goes on in the same run."""

from pathlib import Path

import pytest

from miex.datasets import trackers
from miex.datasets.trackers import Trackers, tracker_names
from miex.pipeline.recognition.training_log import METRICS, TrainingLog


def test_tensorboard_gets_every_number(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = TrainingLog(tmp_path, 0, ("tensorboard",), {"batch_size": 8})
    for step in (1, 2, 3):
        log.step(step, 1, 1e-3, {"loss": 1.0 / step, "contrast": 0.5})
    log.close()
    assert len((tmp_path / METRICS).read_text("utf-8").splitlines()) == 3
    found = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert set(found.Tags()["scalars"]) == {"loss", "contrast", "learning_rate"}
    assert [(each.step, each.value) for each in found.Scalars("loss")] == [
        (1, 1.0),
        (2, 0.5),
        (3, pytest.approx(1 / 3)),
    ]


def test_mlflow_goes_on_in_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    store = (tmp_path / "store").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    first = Trackers(("mlflow",), tmp_path / "run", config={"training": {"batch_size": 8}})
    first.log(1, {"loss": 2.0})
    first.close()
    again = Trackers(("mlflow",), tmp_path / "run", step=1, config={"training": {"batch_size": 8}})
    again.log(2, {"loss": 1.0})
    again.close()
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(trackers.PROJECT)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params == {"training.batch_size": "8"}
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [(each.step, each.value) for each in losses] == [(1, 2.0), (2, 1.0)]
    assert run.data.tags["mlflow.runName"] == "run"


def test_wandb_writes_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    log = Trackers(("wandb",), tmp_path / "run", config={"batch_size": 8})
    log.log(1, {"loss": 2.0})
    log.close()
    assert list((tmp_path / "run").glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.parametrize("name", tracker_names())
def test_a_tracker_that_is_not_installed_is_named_with_its_extra(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(package: str) -> None:
        raise trackers.PackageNotFoundError(package)

    monkeypatch.setattr(trackers, "distribution", absent)
    with pytest.raises(ImportError, match=rf"--log {name}.*pip install 'miex\[loggers\]'"):
        Trackers((name,), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_errors_of_a_tracker_are_one_line_without_a_password() -> None:
    told = r"the tracker mlflow fails \(.*http://\*\*\*@host"
    with pytest.raises(ValueError, match=told), trackers._using("mlflow"):
        raise RuntimeError("API request to\n http://me:hunter2@host failed")


@pytest.mark.slow
def test_the_password_of_a_tracker_is_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ValueError, match=r"mlflow fails .*http://\*\*\*@127.*--log mlflow") as told:
        Trackers(("mlflow",), tmp_path)
    assert "hunter2" not in str(told.value) + "".join(capfd.readouterr())


def test_passwords_in_a_config_are_not_sent() -> None:
    config = {"data": {"faces": "https://me:hunter2@host/faces.parquet", "rate": 0.5}}
    sent = trackers._flat(config)
    assert sent == {"data.faces": "https://***@host/faces.parquet", "data.rate": 0.5}
