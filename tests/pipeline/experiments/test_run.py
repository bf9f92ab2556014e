import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from experiment_files import all_files

from miex.datasets.documents import read_document, write_document
from miex.generators import _auto
from miex.pipeline.experiments import run as experiments
from miex.pipeline.experiments.config import Experiment, load_experiment
from miex.pipeline.experiments.page import as_csv, as_markdown, as_page
from miex.pipeline.experiments.plan import (
    Inputs,
    Plan,
    Scale,
    plan_experiment,
)
from miex.pipeline.experiments.run import run_experiment, show_plan
from miex.pipeline.experiments.table import NOT_COMPARABLE, standing
from miex.pipeline.fictitious_databases.write import write_fictitious

MakeExperiment = Callable[..., Experiment]


@pytest.fixture
def make(tmp_path: Path) -> MakeExperiment:
    """Writes and loads a small experiment with changes."""

    def write(**changes: Any) -> Experiment:
        content: dict[str, Any] = {
            "title": "Tiny",
            "paper": "Nobody 2020",
            "place": "table 0",
            "protocol": "loso",
            "metrics": ["uf1", "accuracy"],
            "inputs": {"faces": "a face table"},
            "datasets": {
                "exp": {
                    "faces": "${faces}",
                    "identities": 6,
                    "samples": 24,
                    "sources": ["expert:miex"],
                    "generator.name": "warp",
                }
            },
            "settings": {
                "evaluation.recognizer": "dere_grl",
                "evaluation.seeds": [0, 1],
                "evaluation.run.device": "cpu",
                "evaluation.pretraining.epochs": 2,
                "evaluation.finetuning.epochs": 4,
            },
            "columns": [
                {"name": "wide"},
                {"name": "narrow", "settings": {"evaluation.config.channels": 8}},
            ],
            "rows": [
                {"name": "nothing", "paper": {"wide": {"uf1": [0.5, 0.01]}}},
                {"name": "exp", "datasets": ["exp"]},
            ],
        }
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(content | changes), encoding="utf-8")
        return load_experiment(str(path))

    return write


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": [{"name": "a", "datasets": ["none"]}]}, "row 'a' names dataset 'none'; there"),
        ({"rows": [{"name": "a", "paper": {"x": {}}}]}, "names column 'x'; there are: narrow"),
        ({"rows": [{"name": "a", "paper": {"wide": {"uar": 1}}}]}, "names metric 'uar'"),
        ({"rows": [{"name": "a"}, {"name": "a"}]}, "row 'a' is defined twice"),
        ({"inputs": {}}, "placeholders and inputs differ in faces"),
        ({"inputs": {"faces": "f", "pool": "p"}}, "placeholders and inputs differ in pool"),
        ({"metrics": ["f1"]}, "metrics.0: Input should be 'uf1', 'uar' or 'accuracy'"),
        ({"colums": []}, "colums: there is no such field"),
        ({"datasets": {"exp": {"faces": "${faces}"}}}, "must state identities and samples"),
        (
            {"datasets": {"exp": {"faces": "${faces}", "identities": None, "samples": 9}}},
            "must state identities and samples, as whole numbers above 0",
        ),
    ],
)
def test_a_bad_file_is_refused_by_field(
    make: MakeExperiment, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make(**changes)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ({"settings": {"evaluation.config.chanels": 3}}, "chanels: there is no such field"),
        ({"settings": {"evaluation.finetuning.epochs": 0}}, "epochs: Input should be greater"),
        ({"settings": {"evaluation.recognizer": "x"}}, "no recognizer is called 'x'"),
        ({"settings": {"clips.databases": ["a:b"]}}, "clips.databases is no setting"),
        ({"synthesis": {"colour": 3}}, "colour: there is no such field"),
        ({"rows": ("all*",)}, "nothing is left of the table; its rows are nothing, exp"),
        ({"recognizers": ("ststnet",)}, "no recognizer 'ststnet'; it has: dere_grl"),
        ({"settings": {"evaluation.protocol": "mmew"}}, "give --protocol, and every heading says"),
    ],
)
def test_a_bad_setting_is_refused_before_anything_runs(
    make: MakeExperiment, tmp_path: Path, scale: dict[str, Any], message: str
) -> None:
    what = make()
    inputs = Inputs(files=all_files(what, tmp_path))
    with pytest.raises(ValueError, match=message):
        plan_experiment(what, inputs, tmp_path, Scale(**scale))


def test_files_are_checked_first(make: MakeExperiment, tmp_path: Path) -> None:
    what = make()
    with pytest.raises(ValueError, match="takes no file called 'face'; it takes: faces"):
        plan_experiment(what, Inputs(files={"face": "x"}), tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file for faces at x\.parquet; give"):
        plan_experiment(what, Inputs(files={"faces": "x.parquet"}), tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"a photograph")
    with pytest.raises(ValueError, match="expected a face table"):
        plan_experiment(what, Inputs(files={"faces": str(tmp_path / "photo.jpg")}), tmp_path)
    with pytest.raises(ValueError, match="no experiment is called 'tiny'; there are: cropnet"):
        load_experiment("tiny")


def test_a_missing_file_empties_only_the_cells_that_need_it(
    make: MakeExperiment, tmp_path: Path
) -> None:
    found = show_plan(plan_experiment(make(), Inputs(), tmp_path))
    assert found == {
        "": ["nothing, wide", "nothing, narrow"],
        "needs faces (a face table)": ["exp, wide", "exp, narrow"],
    }


def test_a_generator_without_weights_empties_its_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_auto, "WEIGHTS", tmp_path / "none")
    what = load_experiment("stand_in")
    files = all_files(what, tmp_path)
    del files["ganimation"]
    rows = ("expert; warp; fine-tuned", "expert; ganimation; fine-tuned")
    scale = Scale(rows=rows, recognizers=("dere_grl",))
    found = show_plan(plan_experiment(what, Inputs(files=files), tmp_path, scale))
    reason, ganimation = found.popitem()
    assert found == {"": ["expert; warp; fine-tuned, DeRe-GRL"]}
    assert ganimation == ["expert; ganimation; fine-tuned, DeRe-GRL"]
    assert "generator 'ganimation' needs weights" in reason


@pytest.mark.parametrize(
    "scale",
    [
        {"seeds": 1},
        {"epochs": 0.1},
        {"identities": 3},
        {"settings": {"evaluation.run.balance": "classes"}},
        {"synthesis": {"drift": True}},
    ],
)
def test_another_size_is_not_comparable(
    make: MakeExperiment, tmp_path: Path, scale: dict[str, Any]
) -> None:
    what = make()
    inputs = Inputs(files=all_files(what, tmp_path))
    whole = plan_experiment(what, inputs, tmp_path)
    same = Scale(settings={"evaluation.run.device": "cpu"}, rows=("exp",))
    assert whole.changed == plan_experiment(what, inputs, tmp_path, same).changed == ()
    plan = plan_experiment(what, inputs, tmp_path, Scale(**scale))
    listed = {"oracle": False, "published_list": True, "clips": 246, "classes": list("abcde")}
    assert standing([listed], what.columns[0], None, whole.changed)["comparable"]
    said = standing([listed], what.columns[0], None, plan.changed)
    assert not said["comparable"]
    assert said["clips"] == (
        "the published list, 246 clips, but at another size or with other settings: not comparable"
    )


def test_cells_of_other_inputs_are_not_taken_over(
    make: MakeExperiment, clips: str, sample_table: Path, tmp_path: Path
) -> None:
    what = make(columns=[{"name": "one"}], rows=[{"name": "nothing"}])
    faces = tmp_path / "faces.parquet"
    shutil.copy(sample_table, faces)
    inputs = Inputs(clips=(clips,), files={"faces": str(faces)})
    out = tmp_path / "out"
    table = run_experiment(what, inputs, out, tmp_path / "cache", workers=1)
    assert run_experiment(what, inputs, out, tmp_path / "cache", workers=1) == table
    faces.write_bytes(faces.read_bytes() + b"x")
    with pytest.raises(ValueError, match=r"faces=.* is not what it was when .* was begun; give"):
        run_experiment(what, inputs, out, tmp_path / "cache", workers=1)
    shutil.copy(sample_table, faces)
    record = read_document(out / "inputs.json", "list of inputs", "")
    write_document(out / "inputs.json", record | {clips: "another annotation"})
    with pytest.raises(ValueError, match=r"smic:.* is not what it was"):
        run_experiment(what, inputs, out, tmp_path / "cache", workers=1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, sample_table: Path) -> str:
    folder = tmp_path_factory.mktemp("clips") / "smic"
    return write_fictitious("smic", folder, subjects=2, clips=3, faces=sample_table).spec


def test_an_experiment_end_to_end(
    make: MakeExperiment,
    clips: str,
    sample_table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        {"name": "nothing", "paper": {"wide": {"uf1": [0.5, 0.01]}}},
        {"name": "exp", "datasets": ["exp"]},
        {"name": "untuned", "datasets": ["exp"], "settings": {"evaluation.finetune": False}},
        {"name": "impossible", "cannot": "nobody can", "paper": {"narrow": {"accuracy": 0.9}}},
    ]
    what, out, cache = make(rows=rows), tmp_path / "out", tmp_path / "cache"
    inputs = Inputs(clips=(clips,), files={"faces": str(sample_table)})
    stop = 3

    def interrupt(stage: str, done: int, total: int) -> None:
        assert total == 8 or not stage.startswith("cells")
        if stage.startswith("cells") and done == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(what, inputs, out, cache, workers=1, on_stage=interrupt)
    half = json.loads((out / "table.json").read_text(encoding="utf-8"))
    assert sum(bool(cell["scores"]) for cell in half["cells"]) == 3
    assert "not computed yet" in (out / "table.md").read_text(encoding="utf-8")

    computed: list[Path] = []
    real = experiments.run_evaluation
    monkeypatch.setattr(
        experiments,
        "run_evaluation",
        lambda job, folder, *a, **k: (computed.append(folder), real(job, folder, *a, **k))[1],
    )
    table = run_experiment(what, inputs, out, cache, workers=1)
    assert len(computed) == 3
    assert run_experiment(what, inputs, out, cache, workers=1) == table
    assert len(computed) == 3

    cells = {(cell["row"], cell["column"]): cell for cell in table["cells"]}
    scores = cells["exp", "wide"]["scores"]["uf1"]
    assert 0 <= scores["mean"] <= 1
    assert scores["deviation"] is not None
    assert cells["impossible", "narrow"]["reason"] == "nobody can"
    assert cells["nothing", "wide"]["paper"] == {"uf1": {"mean": 0.5, "deviation": 0.01}}
    assert {"majority", "chance"} <= set(cells["nothing", "wide"]["baselines"])
    assert len(list((out / "datasets").iterdir())) == 1
    # Two columns, two seeds; fine-tuned and not fine-tuned share them.
    assert len(list((out / "pretrained").glob("*/*/recognizer.safetensors"))) == 4
    check_pages(table, out)

    moved = run_experiment(what, inputs, out.rename(tmp_path / "moved"), cache, workers=1)
    assert len(computed) == 3
    assert [cell["scores"] for cell in moved["cells"]] == [
        cell["scores"] for cell in table["cells"]
    ]


def check_pages(table: dict[str, Any], out: Path) -> None:
    """Every heading says what the clips are."""
    page, text = as_page(table), as_markdown(table)
    assert NOT_COMPARABLE in table["standing"]
    for heading in re.findall(r"<h2>.*?</h2>|<title>.*?</title>", page, re.S):
        assert NOT_COMPARABLE in heading
    assert all(NOT_COMPARABLE in line for line in text.splitlines() if line.startswith("#"))
    assert page.count('colspan="2"') == 2
    assert "0.500 ± 0.010" in page
    assert "nobody can" in page
    lines = as_csv(table).splitlines()
    assert len(lines) == 1 + 8 * 2
    for link in re.findall(r'href="(cells/[^"]+)"', page):
        assert (out / link).is_file()


def test_what_cannot_be_computed_is_said(
    make: MakeExperiment, clips: str, sample_table: Path, tmp_path: Path
) -> None:
    """A generator without its weights, too few faces, clips that are not there."""
    what = make(columns=[{"name": "one"}], rows=[{"name": "exp", "datasets": ["exp"]}])
    inputs = Inputs(clips=(clips,), files={"faces": str(sample_table)})
    cases = [
        (
            inputs,
            {"synthesis": {"generator.name": "ganimation", "generator.checkpoint": "gone.pth"}},
            "dataset exp: .*gone.pth",
        ),
        (inputs, {"synthesis": {"identities": 9999}}, "9999 requested, but the face table has"),
    ]
    for number, (given, scale, message) in enumerate(cases):
        out = tmp_path / f"out{number}"
        table = run_experiment(what, given, out, tmp_path / "cache", Scale(**scale), workers=1)
        (cell,) = table["cells"]
        assert re.search(message, cell["reason"])
        assert re.search(message, as_page(table))
        assert table["standing"] == "no result yet"


def test_clips_that_are_not_there_are_found_before_anything_is_made(
    make: MakeExperiment, sample_table: Path, tmp_path: Path
) -> None:
    what = make(columns=[{"name": "one"}], rows=[{"name": "exp", "datasets": ["exp"]}])
    files = {"faces": str(sample_table)}
    for clips, message in (((f"smic:{tmp_path / 'gone'}",), "gone"), ((), "no clips to test on")):
        with pytest.raises((FileNotFoundError, ValueError), match=message):
            run_experiment(what, Inputs(clips=clips, files=files), tmp_path / "out", tmp_path / "c")
    assert not (tmp_path / "out" / "datasets").exists()


def test_the_papers_own_number_of_seeds_is_no_change(make: MakeExperiment, tmp_path: Path) -> None:
    what = make()
    inputs = Inputs(files=all_files(what, tmp_path))
    assert plan_experiment(what, inputs, tmp_path, Scale(seeds=2)).changed == ()
    assert plan_experiment(what, inputs, tmp_path, Scale(seeds=3)).changed == (
        "3 runs of each cell",
    )


def test_a_plan_is_a_value(make: MakeExperiment, tmp_path: Path) -> None:
    """The same inputs give the same folders: that is how a run finds what it has done."""
    what = make()
    inputs = Inputs(files=all_files(what, tmp_path))

    def folders(plan: Plan) -> list[Path | None]:
        return [cell.folder for cell in plan.cells]

    first = folders(plan_experiment(what, inputs, tmp_path / "out"))
    assert first == folders(plan_experiment(what, inputs, tmp_path / "out"))
    assert len(set(first)) == 4
