"""The flow: its parameters, its task runners, its artifacts; once for real with each runner."""

import base64
import errno
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from prefect.testing.utilities import prefect_test_harness

from miex.datasets.dataset_format import DatasetFolder
from miex.flows import artifacts
from miex.flows import synthesize_miex as module
from miex.flows.artifacts import ProgressArtifact, count_rows, paths_markdown, preview
from miex.flows.entry import is_transient
from miex.flows.synthesize_miex import cluster_kind, main, synthesize_miex
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.verify import verify

MANIFEST = {
    "name": "lab",
    "counts": {"written": 7, "identities": 2, "by_class": {"negative": 3, "positive": 4}},
}


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The flow with its tasks replaced; what they were given."""
    seen: dict[str, Any] = {}

    def prepare(config: SynthesisConfig, out: Path, workers: int | None) -> SimpleNamespace:
        seen.update(config=config, out=out, workers=workers)
        return SimpleNamespace(out=out)

    def with_options(task_runner: object) -> Any:
        seen["runner"] = task_runner
        return lambda job: seen.update(address=PREFECT_API_URL.value())

    monkeypatch.setattr(module, "prepare", prepare)
    monkeypatch.setattr(module, "render_all", SimpleNamespace(with_options=with_options))
    monkeypatch.setattr(module, "complete", lambda job: MANIFEST)
    monkeypatch.setattr(module, "publish", lambda out, manifest: seen.update(manifest=manifest))
    monkeypatch.setattr(module, "get_client", lambda **_: _Client())
    return seen


class _Client:
    api_url = "http://127.0.0.1:1/api"

    def __enter__(self) -> "_Client":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_parameters_win_over_the_config_file_and_settings_over_both(
    recorded: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text("name: lab\nseed: 7\nidentities: 3\n")
    out = synthesize_miex.fn(
        out=tmp_path / "out",
        config=path,
        seed=0,
        identities=5,
        checkpoint=tmp_path / "weights.pth",
        settings={"identities": 9, "sequence.frames": 4},
        workers=3,
        task_runner="threads",
    )
    config = recorded["config"]
    assert out == str(tmp_path / "out")
    assert (config.name, config.seed, config.identities) == ("lab", 0, 9)
    assert config.sequence.frames == 4
    assert config.generator.checkpoint == tmp_path / "weights.pth"
    assert recorded["workers"] == 3
    assert isinstance(recorded["runner"], ThreadPoolTaskRunner)
    assert recorded["manifest"] is MANIFEST


def test_without_parameters_the_defaults_stand(
    recorded: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert synthesize_miex.fn() == str(tmp_path / "out/miex")
    assert recorded["config"] == SynthesisConfig()
    assert isinstance(recorded["runner"], ProcessPoolTaskRunner)


def test_other_processes_report_to_the_same_server(
    recorded: dict[str, Any], tmp_path: Path
) -> None:
    before = PREFECT_API_URL.value()
    synthesize_miex.fn(out=tmp_path)
    assert recorded["address"] == _Client.api_url
    assert PREFECT_API_URL.value() == before


def test_a_wrong_parameter_is_named(recorded: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="sedd: there is no such field"):
        synthesize_miex.fn(settings={"sedd": 1})


def test_prefect_knows_the_types_of_the_parameters() -> None:
    schema = synthesize_miex.parameters.properties
    assert schema["task_runner"]["enum"] == ["threads", "processes", "dask", "ray"]
    assert schema["out"]["default"] == "out/miex"
    assert not synthesize_miex.parameters.required
    assert all(field.get("description") for field in schema.values())


@pytest.mark.parametrize(
    ("runner", "cluster", "kind"),
    [
        ("processes", None, None),
        ("dask", None, "dask"),
        ("dask", "host:8786", "dask"),
        ("processes", "tcp://host:8786", "dask"),
        ("ray", "ray://host:10001", "ray"),
    ],
)
def test_shards_are_rendered_in_the_cluster_that_is_named(
    recorded: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    runner: Any,
    cluster: str | None,
    kind: str | None,
) -> None:
    monkeypatch.setattr(module, "render_in_cluster", lambda *given: recorded.update(given=given))
    synthesize_miex.fn(out=tmp_path, task_runner=runner, cluster=cluster, workers=2)
    assert ("runner" in recorded) == (kind is None)
    if kind:
        assert recorded["given"][1:] == (kind, cluster, 2)


@pytest.mark.parametrize(
    ("runner", "cluster", "said"),
    [
        ("ray", "tcp://host:8786", "task_runner=ray and cluster=tcp://host:8786 differ"),
        ("processes", "host:8786", r"expected .*tcp://HOST:8786"),
    ],
)
def test_an_address_of_another_cluster_is_refused(runner: Any, cluster: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cluster_kind(runner, cluster)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (FileNotFoundError(errno.ENOENT, "No such file"), False),
        (ValueError("wrong config"), False),
    ],
)
def test_only_errors_of_the_file_system_are_tried_again(error: Exception, again: bool) -> None:
    state = Failed(data=error, message=str(error))
    assert is_transient(module.render, None, state) is again  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "-p", "identities"], "expected NAME=VALUE"),
        (["run", "-p", "identity=3"], "identity"),
        (["walk"], "invalid choice"),
    ],
)
def test_errors_of_the_console_script(
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["synthesize-miex", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_serve_makes_the_deployment_local(monkeypatch: pytest.MonkeyPatch) -> None:
    served: dict[str, Any] = {}
    monkeypatch.setattr(module.synthesize_miex, "serve", lambda **given: served.update(given))
    monkeypatch.setattr("sys.argv", ["synthesize-miex", "serve", "-p", "identities=3"])
    main()
    assert served == {"name": "local", "parameters": {"identities": 3}}


def test_progress_is_sent_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[float] = []
    now = 10.0
    monkeypatch.setattr(artifacts, "create_progress_artifact", lambda *_, **__: "id")
    monkeypatch.setattr(artifacts, "update_progress_artifact", lambda _, value: sent.append(value))
    monkeypatch.setattr(artifacts.time, "monotonic", lambda: now)
    progress = ProgressArtifact("shards", "Shards written")
    for step in range(1, 41):
        now += 0.25
        progress.update(step, 80)
    progress.update(80, 80)
    assert sent == [5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 100.0]


def test_every_count_is_a_row() -> None:
    assert count_rows(MANIFEST) == [
        {"what": "written", "count": 7},
        {"what": "identities", "count": 2},
        {"what": "by_class negative", "count": 3},
        {"what": "by_class positive", "count": 4},
    ]


def test_the_markdown_names_every_part(tmp_path: Path) -> None:
    text = paths_markdown(tmp_path, MANIFEST)
    assert text.startswith("# lab: 7 samples, 2 identities\n")
    for part in ("data", "manifest.json", "README.md", "report/index.html", "sheet.png"):
        assert f"`{tmp_path / part}`" in text


def test_the_preview_is_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2200, 1700, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "sheet.png")
    head, _, body = preview(tmp_path / "sheet.png").partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        assert image.width == artifacts.PREVIEW_WIDTH
        assert image.height == round(artifacts.PREVIEW_WIDTH * 2200 / 1700)


def test_prefect_yaml_names_the_flow_and_no_schedule(root: Path) -> None:
    content = yaml.safe_load((root / "prefect.yaml").read_text())
    (deployment,) = [d for d in content["deployments"] if "synthesize" in d["entrypoint"]]
    file, _, function = deployment["entrypoint"].partition(":")
    assert (root / file).is_file()
    assert getattr(module, function) is synthesize_miex
    assert deployment["name"] == "local"
    assert deployment["schedules"] == []
    assert deployment["parameters"].keys() <= synthesize_miex.parameters.properties.keys()


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.mark.slow
def test_every_runner_makes_the_same_dataset_and_a_second_run_changes_nothing(
    server: None, tmp_path: Path
) -> None:
    shared = {"identities": 2, "samples": 8, "settings": {"rows_per_shard": 3}, "workers": 2}
    shards = {}
    for runner in ("threads", "processes", "dask"):
        out = tmp_path / runner
        state = synthesize_miex(out=out, task_runner=runner, return_state=True, **shared)
        assert state.type == Completed().type, state.message
        assert not verify(out)
        shards[runner] = {path.name: path.read_bytes() for path in (out / "data").iterdir()}
        shared["faces"] = str(tmp_path / "threads" / "faces.parquet")
    assert len(shards["threads"]) == 3
    assert shards["processes"] == shards["dask"]
    changed = {path: path.stat().st_mtime_ns for path in (tmp_path / "dask" / "data").iterdir()}
    synthesize_miex(out=tmp_path / "dask", task_runner="threads", **shared)
    assert {path: path.stat().st_mtime_ns for path in changed} == changed
    assert len(DatasetFolder.open(tmp_path / "dask")) == 8
    assert json.loads((tmp_path / "dask" / "manifest.json").read_text())["counts"]["planned"] == 8
