"""The commands and flows on recognizers: the whole chain on a fictitious database."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.testing.utilities import prefect_test_harness
from typer.testing import CliRunner, Result

from miex.datasets.config import build
from miex.flows.cli import app
from miex.pipeline.fictitious_databases.write import write_fictitious
from miex.pipeline.make_dataset import synthesize
from miex.pipeline.recognition.checkpoint import CHECKPOINT, load_checkpoint
from miex.pipeline.recognition.job_config import EvaluateJob, PretrainJob
from miex.pipeline.recognition.jobs import LEFT_OUT, run_evaluation
from miex.pipeline.recognition.results import Result as Evaluation
from miex.pipeline.synthesis.config import SynthesisConfig

QUICK = ("--device", "cpu", "--epochs", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recognition")


@pytest.fixture(scope="module")
def clips(folder: Path, sample_table: Path) -> str:
    return write_fictitious("casme2", folder / "casme2", 3, 5, faces=sample_table).spec


@pytest.fixture(scope="module")
def dataset(folder: Path, sample_table: Path) -> Path:
    config = SynthesisConfig(name="d", faces=str(sample_table), identities=3)
    synthesize(config, folder / "dataset", workers=1)
    return folder / "dataset"


@pytest.fixture(scope="module")
def pretrained(folder: Path, dataset: Path) -> Path:
    out = folder / "pretrained"
    result = call(folder, "pretrain", dataset, "-r", "dere_grl", "-o", out, *QUICK)
    assert result.exit_code == 0, result.output
    assert "27       expert" in result.stdout
    return out / CHECKPOINT


def call(folder: Path, *words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words), "--cache", str(folder / "cache")])


def test_a_checkpoint_says_what_it_was_trained_on(pretrained: Path) -> None:
    (stage,) = load_checkpoint(pretrained).card.stages
    assert stage.name == "pretrain"
    assert stage.samples == 27
    assert stage.data.startswith("d@")
    lines = (pretrained.parent / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, stage.steps + 1))


def test_finetune_starts_from_it_and_leaves_people_out(
    folder: Path, clips: str, pretrained: Path
) -> None:
    out = folder / "finetuned"
    words = ("finetune", "-r", "dere_grl", "--clips", clips, "--checkpoint", pretrained.parent)
    result = call(folder, *words, "--exclude", "casme2:sub01", "-o", out, *QUICK)
    assert result.exit_code == 0, result.output
    card = load_checkpoint(out / CHECKPOINT).card
    assert [stage.name for stage in card.stages] == ["pretrain", "finetune"]
    assert ("casme2", "sub02") in card.subjects
    assert ("casme2", "sub01") not in card.subjects
    assert "then pretrained on d@" in card.weights
    left_out = json.loads((out / LEFT_OUT).read_text())
    reason, count = Counter(each["reason"] for each in left_out).most_common(1)[0]
    assert all(each["origin"].startswith("casme2:") for each in left_out)
    assert f"left out: {count} {reason}" in result.output
    wrong = call(folder, *words, "--exclude", "casme2:sub99", "-o", folder / "x", *QUICK)
    assert wrong.exit_code == 2
    assert "casme2:sub99 is nobody of the clips; write DATABASE:SUBJECT" in wrong.stderr


def test_evaluate_writes_scores_and_a_page(folder: Path, clips: str, dataset: Path) -> None:
    out = folder / "evaluated"
    words = ("evaluate", "-r", "dere_grl", "-p", "loso", "--clips", clips, "--pretrain", dataset)
    result = call(folder, *words, "--seeds", 1, "--pretraining-epochs", 1, "-o", out, *QUICK)
    assert result.exit_code == 0, result.output
    assert "fewer than three seeds" in result.stdout
    assert "majority" in result.stdout
    content = Evaluation.open(out).content
    assert content["clips"] == len(Evaluation.open(out).predictions)
    assert "Confusion" in (out / "index.html").read_text()
    page = folder / "page"
    results = CliRunner().invoke(app, ["results", str(out), "-o", str(page)])
    assert results.exit_code == 0, results.output
    assert (page / "index.html").is_file()


def test_inspect_and_results_show_where_a_checkpoint_looks(
    folder: Path, clips: str, dataset: Path, pretrained: Path
) -> None:
    page = folder / "inside"
    result = call(folder, "inspect", pretrained, "--clips", clips, "-o", page)
    assert result.exit_code == 0, result.output
    assert {"index.html"} < {path.name for path in page.iterdir()}
    evaluated = folder / "evaluated-inside"
    words = ("evaluate", "-r", "dere_grl", "-p", "loso", "--clips", clips, "--seeds", 1, *QUICK)
    assert call(folder, *words, "-o", evaluated).exit_code == 0
    both = folder / "both"
    words = ("results", evaluated, "--inside", pretrained, "--dataset", dataset, "-o", both)
    result = call(folder, *words)
    assert result.exit_code == 0, result.output
    text = (both / "index.html").read_text(encoding="utf-8")
    assert "Confusion" in text
    assert "dere_grl: Actions" in text
    assert text.count("data:image/svg+xml;base64") == 3
    lonely = call(folder, "results", evaluated, "--inside", pretrained, "-o", folder / "no")
    assert lonely.exit_code == 2
    assert "clips" in lonely.stderr


def test_a_checkpoint_that_knows_a_test_subject_is_refused(
    folder: Path, clips: str, pretrained: Path
) -> None:
    seen = folder / "seen"
    call(folder, "finetune", "-r", "dere_grl", "--clips", clips, "-o", seen, *QUICK)
    words = ("evaluate", "-r", "dere_grl", "-p", "loso", "--clips", clips, *QUICK)
    result = call(folder, *words, "--checkpoint", seen, "-o", folder / "leak")
    assert result.exit_code == 2
    assert "leak: " in result.stderr
    assert "was trained on samples of casme2:sub01, who is tested on" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrain", "-r", "ststnet"], "no dataset is given; `miex synthesize` makes one"),
        (["pretrain", "x", "-r", "nothing"], "no recognizer is called 'nothing'"),
        (["pretrain", "x", "-r", "ststnet"], "no dataset of miex at x;"),
        (["evaluate", "-r", "ststnet"], "no database of clips is given; write NAME:PATH"),
        (["evaluate", "-r", "ststnet", "-p", "best"], "no protocol is called 'best'"),
        (
            ["evaluate", "-r", "ststnet", "--selection", "oracle", "--clips", "samples"],
            "and the result is stamped\n",  # and not the whole config behind it
        ),
        (["pretrain", "x", "-r", "ststnet", "--set", "config.sides=3"], "sides"),
        (["results", "nowhere"], "no result of an evaluation at nowhere;"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, words: list[str], message: str) -> None:
    more = [] if words[0] == "results" else ["--cache", str(tmp_path)]
    result = CliRunner().invoke(app, [*words, *more, "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_the_recognizers_are_listed_with_their_papers() -> None:
    result = CliRunner().invoke(app, ["recognizers"])
    assert result.exit_code == 0
    assert "uamrn" in result.stdout
    assert "MiE-X" in result.stdout or "ECCV 2022" in result.stdout
    said = " ".join(result.stdout.split())
    assert "branches without pretrained weights: expect chance" in said
    assert "fusion=early" in said


def test_the_list_of_recognizers_needs_no_torch() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from miex.flows.cli import app;"
        "print(CliRunner().invoke(app, ['recognizers']).stdout);"
        "print(sorted({'torch', 'cv2', 'pyarrow'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[-1] == "[]"
    (row,) = (line for line in lines if line.split()[:1] == ["ststnet"])
    assert row.split()[1:6] == ["Liong", "et", "al.,", "FG", "2019"]


def test_a_missing_recognizer_names_its_option() -> None:
    for command in ("pretrain", "finetune", "evaluate"):
        result = CliRunner().invoke(app, [command])
        assert result.exit_code == 2
        assert "give it with -r/--recognizer. Recognizer to" in result.stderr


def test_a_fictitious_database_from_the_shell(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["fictitious", "smic", "-o", str(tmp_path / "smic"), "--subjects", "2", "--clips", "3"]
    )
    assert result.exit_code == 0, result.output
    assert f"open them as smic:{tmp_path / 'smic'}" in result.stdout
    assert (tmp_path / "smic").is_dir()


def test_a_job_from_a_file_and_flags(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        yaml.safe_dump(
            {"evaluation": {"recognizer": "ststnet", "seeds": [4]}, "clips": {"databases": ["a"]}}
        )
    )
    job = build(EvaluateJob, {"evaluation.protocol": "loso"}, path)
    assert job.evaluation.recognizer == "ststnet"
    assert job.evaluation.seeds == (4,)
    assert job.evaluation.protocol == "loso"
    with pytest.raises(ValueError, match="evaluation"):
        build(EvaluateJob, {"evaluation.no_field": 1})
    with pytest.raises(FileNotFoundError, match=r"no config in YAML at .*none\.yaml"):
        build(PretrainJob, {}, tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("content", "values", "message"),
    [
        ("- a\n- b\n", {}, r"job\.yaml: expected `field: value` lines, found list"),
        ("clips: casme2\n", {"clips.databases": ["a"]}, r"clips is 'casme2', no"),
    ],
)
def test_a_config_that_is_no_config(
    tmp_path: Path, content: str, values: dict[str, Any], message: str
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        build(EvaluateJob, values, path)


def test_an_empty_group_of_fields(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("evaluation:\nclips: {databases: [a]}\n")
    assert build(EvaluateJob, {"evaluation.recognizer": "ststnet"}, path).clips.databases


def test_evaluate_is_one_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    job = build(EvaluateJob, {"recognizer": "ststnet", "clips.databases": ["casme2:x"]})
    with pytest.raises(ValueError, match="evaluate runs in one process"):
        run_evaluation(job, tmp_path, tmp_path)


@pytest.fixture(scope="module")
def harness() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("harness")
def test_the_flows(folder: Path, clips: str, dataset: Path) -> None:
    from miex.flows.evaluate import evaluate
    from miex.flows.finetune import finetune
    from miex.flows.pretrain import pretrain

    cache = folder / "cache"
    quick = {"training.epochs": 1, "run.device": "cpu"}
    checkpoint = pretrain(
        recognizer="dere_grl",
        datasets=[str(dataset)],
        out=folder / "flow-pretrained",
        settings=quick,
        cache=cache,
    )
    assert Path(checkpoint).is_file()
    tuned = finetune(
        recognizer="dere_grl",
        checkpoint=Path(checkpoint),
        clips=[clips],
        epochs=1,
        device="cpu",
        out=folder / "flow-tuned",
        cache=cache,
    )
    assert len(load_checkpoint(Path(tuned)).card.stages) == 2
    settings = {"evaluation.finetuning.epochs": 1, "run.device": "cpu"}
    result = evaluate(
        recognizer="dere_grl",
        protocol="loso",
        seeds=1,
        clips=[clips],
        checkpoint=Path(checkpoint),
        out=folder / "flow-evaluated",
        settings=settings,
        cache=cache,
    )
    assert Evaluation.open(Path(result).parent).content["clips"] > 0
