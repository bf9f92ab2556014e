"""`miex experiment`: the list, the plan, a run and its page."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from miex.flows.cli import app
from miex.generators import _auto
from miex.pipeline.fictitious_databases.write import write_fictitious

CONTENT = {
    "title": "Tiny",
    "paper": "Nobody 2020",
    "place": "table 0",
    "protocol": "loso",
    "metrics": ["uf1"],
    "inputs": {
        "faces": "a face table",
        "weights": {"about": "of ganimation", "optional": True},
    },
    "datasets": {
        "warped": {
            "faces": "${faces}",
            "identities": 2,
            "samples": 6,
            "sources": ["expert:miex"],
            "generator.name": "warp",
        },
        "learnt": {
            "faces": "${faces}",
            "identities": 2,
            "samples": 6,
            "sources": ["expert:miex"],
            "generator.name": "ganimation",
            "generator.checkpoint": "${weights}",
        },
    },
    "settings": {
        "evaluation.recognizer": "dere_grl",
        "evaluation.seeds": [0],
        "evaluation.pretraining.epochs": 1,
        "evaluation.finetuning.epochs": 2,
    },
    "columns": [{"name": "DeRe-GRL"}],
    "rows": [
        {"name": "nothing", "paper": {"DeRe-GRL": {"uf1": 0.625}}},
        {"name": "warped", "datasets": ["warped"]},
        {"name": "learnt", "datasets": ["learnt"]},
    ],
}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(CONTENT), encoding="utf-8")
    return path


def call(*words: object) -> Result:
    return CliRunner().invoke(app, ["experiment", *map(str, words)])


def test_without_a_name_it_lists_them() -> None:
    result = call()
    assert result.exit_code == 0, result.output
    for word in ("mie_x_table_1", "stand_in_identities", "dual_atme_table_6", "--dry-run"):
        assert word in result.stdout


def test_a_plan_says_what_can_be_computed_and_what_not(
    tiny: Path, sample_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_auto, "WEIGHTS", tmp_path / "none")
    out = tmp_path / "out"
    result = call(tiny, "--dry-run", "--faces", sample_table, "--seeds", 2, "-o", out)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "2 cells to compute, 2 datasets" in said
    assert (
        "1 cells cannot be computed: dataset learnt: generator 'ganimation' needs weights" in said
    )
    assert "not as in the paper: 2 runs of each cell" in said
    assert not out.exists()
    empty = " ".join(call(tiny, "--dry-run", "-o", out).stdout.split())
    assert "2 cells cannot be computed: needs faces (a face table)" in empty


def test_a_plan_names_the_databases_that_it_takes(tmp_path: Path) -> None:
    result = call("mie_x_table_1", "--dry-run", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "clips: casme2, smic, samm, ckplus, mmew" in said
    assert "clips of mmew (--clips mmew:FOLDER)" in said


def test_a_field_that_is_missing_is_named(tiny: Path) -> None:
    tiny.write_text(yaml.safe_dump(CONTENT | {"place": None} | {"colums": []}), encoding="utf-8")
    said = " ".join(call(tiny, "--dry-run").stderr.split())
    assert f"{tiny.name}: place: Input should be a valid string (given: None)" in said
    assert "colums: there is no such field" in said
    tiny.write_text(yaml.safe_dump({"title": "Tiny", "paper": "", "place": ""}), encoding="utf-8")
    said = " ".join(call(tiny, "--dry-run").stderr.split())
    assert "protocol: Field required; " in said


def test_a_run_prints_its_table_and_writes_its_page(
    tiny: Path, sample_table: Path, tmp_path: Path
) -> None:
    clips = write_fictitious("smic", tmp_path / "smic", 2, 3, faces=sample_table).spec
    out = tmp_path / "out"
    words = (tiny, "--clips", clips, "--faces", sample_table, "-o", out, "-j", 1)
    words = (*words, "--device", "cpu", "--cache", tmp_path / "cache", "--row", "[!l]*")
    result = call(*words, "--stand-in", "drawn faces")
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "drawn faces" in said
    assert ".625" in said
    assert "1 of 3 rows left out" in said
    table = json.loads((out / "table.json").read_text(encoding="utf-8"))
    scores = {cell["row"]: cell["scores"] for cell in table["cells"]}
    assert scores.keys() == {"nothing", "warped"}
    assert all(0 <= each["uf1"]["mean"] <= 1 for each in scores.values())
    assert "drawn faces" in (out / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing_of_the_kind"], "no experiment is called 'nothing_of_the_kind'; there are: "),
        (["stand_in", "--pool", "real_mie"], "expected NAME=FILE, as in real_mie=pool.parquet"),
        (["stand_in", "--pool", "mie=x"], "takes no file called 'mie'; it takes: faces, real_mie"),
        (["stand_in", "--epochs", "0"], "epochs"),
        (["stand_in", "-r", "resnet"], "has no recognizer 'resnet'"),
        (["stand_in", "--row", "nobody*"], "nothing is left of the table; its rows are nothing"),
    ],
)
def test_errors_are_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    result = call(*words, "--dry-run", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
