"""The experiments that come with miex: every setting fits, and the numbers are scores.

Where the papers lie beside the repository, each row's numbers are looked up in them; of each table
a few are pinned here besides.
"""

import re
from pathlib import Path

import pytest

from miex.au_sources.base import open_source
from miex.au_sources.pool_file import AU_SOURCE_NAMES
from miex.datasets.labels import LABEL_SPACES
from miex.generators.base import generator_names
from miex.pipeline.experiments.config import (
    Experiment,
    experiment_names,
    load_experiment,
    placeholders,
)
from miex.pipeline.experiments.plan import Inputs, Scale, plan_experiment
from miex.pipeline.recognition.protocols import find_protocol
from miex.pipeline.recognition.recognizers.base import recognizer_names

CLIPS = tuple(f"{name}:x" for name in ("casme2", "smic", "samm", "mmew", "ckplus"))
"""The databases of the tables; planning opens none of them."""

ABSENT = "not of this experiment"


def all_files(what: Experiment, folder: Path) -> dict[str, str]:
    """A file for every input; nothing in them is looked at before a cell needs it."""
    files = {name: folder / f"{name}.parquet" for name in what.inputs}
    for path in files.values():
        path.write_bytes(b"not looked at")
    return {name: str(path) for name, path in files.items()}


@pytest.fixture(scope="module", params=experiment_names())
def shipped(request: pytest.FixtureRequest) -> Experiment:
    return load_experiment(request.param)


def test_every_table_and_figure_is_there() -> None:
    names = set(experiment_names())
    miex = {
        "figure_1",
        "table_1",
        "table_2",
        "table_3",
        "figure_5",
        "figure_6a",
        "figure_6b",
        "figure_6c",
    }
    assert {f"mie_x_{name}" for name in miex | {"figure_7a", "figure_7b"}} <= names
    assert {"stand_in", "uamrn_table_5", "uamrn_table_6", "dere_grl_table_1"} <= names
    assert {"dere_grl_table_2", "cropnet_table_4", "cropnet_figure_5"} <= names
    assert {f"dual_atme_table_{number}" for number in (1, 3, 4, 5, 6)} <= names


def test_shipped_settings_fit_the_real_configs(shipped: Experiment, tmp_path: Path) -> None:
    """Planning validates jobs, recognizer configs, hyperparameters and synthesis configs."""
    files = all_files(shipped, tmp_path)
    plan = plan_experiment(shipped, Inputs(clips=CLIPS, files=files), tmp_path)
    assert plan.departures == ()
    assert len(plan.cells) == len(shipped.rows) * len(shipped.columns)
    ready = [cell for cell in plan.cells if cell.job is not None]
    assert {cell.cannot for cell in plan.cells if cell.job is None} == {
        row.cannot for row in shipped.rows if row.cannot
    } | {ABSENT for row in shipped.rows if row.columns}
    assert ready
    for cell in ready:
        assert not set(placeholders(cell.job.model_dump(mode="json")))
        databases = find_protocol(cell.job.evaluation.protocol).databases
        tested = {spec.partition(":")[0] for spec in cell.job.clips.databases}
        assert tested == set(databases) or (not databases and tested)
        for config in cell.datasets.values():
            assert not set(placeholders(config.model_dump(mode="json")))
            assert config.label_space == cell.job.evaluation.space_of_pretraining.name
            assert config.generator.name in generator_names()
            assert config.identities <= config.samples
            for spec in config.sources:
                if spec.startswith("expert:"):
                    open_source(spec, label_space=LABEL_SPACES[config.label_space])


def test_shipped_numbers_are_shares_and_their_clips_can_be_checked(shipped: Experiment) -> None:
    for row in shipped.rows:
        for scores in row.paper.values():
            for value in scores.values():
                assert all(
                    0 <= part <= 1 for part in (value if isinstance(value, tuple) else [value])
                )
    for column in shipped.columns:
        protocol = find_protocol(column.settings.get("evaluation.protocol", shipped.protocol))
        numbers = any(column.name in row.paper for row in shipped.rows)
        assert not numbers or protocol.clip_list or column.clips


def test_shipped_experiments_run_on_a_stand_in(shipped: Experiment, tmp_path: Path) -> None:
    scale = Scale(protocol="kfold", stand_in="rendered", seeds=1, epochs=0.1, identities=50)
    files = all_files(shipped, tmp_path)
    plan = plan_experiment(shipped, Inputs(files=files), tmp_path, scale)
    assert plan.stand_in == "rendered"
    for cell in plan.cells:
        if cell.job:
            assert cell.job.evaluation.protocol == "kfold"
            assert cell.job.evaluation.seeds == (0,)
            assert all(config.identities <= 50 for config in cell.datasets.values())
    assert any("every protocol is replaced by kfold" in note for note in plan.departures)


def test_the_stand_in_table_is_complete() -> None:
    what = load_experiment("stand_in")
    assert {column.settings["evaluation.recognizer"] for column in what.columns} == set(
        recognizer_names()
    )
    made = {(row.datasets, row.settings.get("evaluation.finetune", True)) for row in what.rows}
    generators = {fields["generator.name"] for fields in what.datasets.values()}
    assert generators == set(generator_names())
    # `warp` takes part with and without drift.
    assert len(made) == len(what.rows) == 1 + (len(generators) + 1) * 2 * 7
    sources = {tuple(fields["sources"]) for fields in what.datasets.values()}
    assert len(sources) == 2 ** len(AU_SOURCE_NAMES) - 1


PAPERS = {
    "uamrn": "Uncertainty-Aware Magnification-Robust Networks",
    "dual_atme": "Dual-Branch Attention Network for Micro-Expression Recognition",
    "dere_grl": "Decomposition and Reconstruction",
    "mie_x": "Large-Scale and Trainable Micro-Expression Dataset",
}
"""Words of the titles, as the list of papers has them."""


def in_one_line(numbers: list[float]) -> str:
    """A pattern of these numbers in this order, as shares or in per cent, with little between."""
    ways = []
    for number in numbers:
        share, per_cent = f"{number:g}".removeprefix("0"), f"{round(100 * number, 6):g}"
        decimals = r"0*" if "." in per_cent else r"(?:\.0*)?"
        ways.append(rf"(?:{re.escape(share)}0*|{re.escape(per_cent)}{decimals})")
    return r"[^\n]{0,24}?".join(ways)


def flat(value: float | tuple[float, float]) -> list[float]:
    return [*value] if isinstance(value, tuple) else [value]


def test_every_published_number_stands_in_its_paper(shipped: Experiment, shared: Path) -> None:
    papers = shared / "papers"
    names = [title for key, title in PAPERS.items() if shipped.name.startswith(key)]
    published = [row for row in shipped.rows if row.paper]
    assert names or not published
    if not published:
        return
    listed = (papers / "README.md").read_text(encoding="utf-8").splitlines()
    (file,) = [line.split("|")[1].strip() for line in listed if names[0] in line]
    text = (papers / file).read_text(encoding="utf-8")
    for row in published:
        scores = list(row.paper.values())
        by_column = [n for each in scores for value in each.values() for n in flat(value)]
        by_metric = [n for metric in scores[0] for each in scores for n in flat(each[metric])]
        found = (re.search(in_one_line(numbers), text) for numbers in (by_column, by_metric))
        assert any(found), f"{row.name}: no line of {file} has {by_column}"


@pytest.mark.parametrize(
    ("name", "row", "column", "paper"),
    [
        ("mie_x_table_3", 0, 0, {"uf1": (0.477, 0.005)}),
        ("uamrn_table_5", 0, 0, {"accuracy": 0.7895, "uf1": 0.7417}),
        ("dere_grl_table_1", -1, 1, {"accuracy": 0.7206, "uf1": 0.699}),
        ("dual_atme_table_1", -1, 0, {"uar": 0.680, "uf1": 0.679}),
        ("dual_atme_table_5", 0, -1, {"uar": 0.522, "uf1": 0.518}),
    ],
)
def test_numbers_of_other_tables(
    name: str, row: int, column: int, paper: dict[str, object]
) -> None:
    what = load_experiment(name)
    assert what.rows[row].paper[what.columns[column].name] == paper


def test_every_cell_of_mie_x_table_1_can_be_computed(tmp_path: Path) -> None:
    what = load_experiment("mie_x_table_1")
    files = all_files(what, tmp_path)
    del files["ganimation"]
    inputs = Inputs(clips=CLIPS, files=files)
    cells = plan_experiment(what, inputs, tmp_path).cells
    assert len(cells) == 18
    assert all(cell.job and not cell.cannot and len(cell.paper) == 2 for cell in cells)
    jobs = {(cell.row, cell.column.name): cell.job for cell in cells if cell.job}
    own = ("casme2:x", "smic:x", "samm:x")
    assert {job.clips.databases for job in jobs.values()} == {own}
    found = {
        row: (job.pretraining_clips.databases, job.training_clips.databases)
        for (row, column), job in jobs.items()
        if column == "Branches"
    }
    assert found["CompMiE"] == found["MiE-X"] == found["MiE-X, then CompMiE"] == ((), ())
    assert found["SMIC, then CompMiE"] == (("smic:x",), ())
    assert found["CASME, then CompMiE"] == (("casme2:x",), ())
    assert found["MMEW, then CompMiE"] == (("mmew:x",), ())
    assert found["CompMiE and CK+"] == found["MiE-X, then CompMiE and CK+"] == ((), ("ckplus:x",))
    assert jobs["CompMiE and CK+", "ApexME"].training_clips.macro == "early"


def test_a_composite_of_databases_gives_the_clips_of_each(tmp_path: Path) -> None:
    what = load_experiment("mie_x_table_1")
    files = all_files(what, tmp_path)
    inputs = Inputs(clips=("megc2019:x?casme2=a&smic=b&samm=c",), files=files)
    plan = plan_experiment(what, inputs, tmp_path)
    cells = {(cell.row, cell.column.name): cell for cell in plan.cells}
    job = cells["SAMM, then CompMiE", "ApexME"].job
    assert job
    assert job.pretraining_clips.databases == inputs.clips
    assert job.pretraining_clips.only == ("samm",)
    assert (
        cells["MMEW, then CompMiE", "ApexME"].cannot == "needs clips of mmew (--clips mmew:FOLDER)"
    )
    assert cells["CompMiE and CK+", "ApexME"].cannot == (
        "needs clips of ckplus (--clips ckplus:FOLDER)"
    )


def test_what_is_not_given_of_the_tested_databases_is_said(tmp_path: Path) -> None:
    what = load_experiment("mie_x_table_1")
    files = all_files(what, tmp_path)
    plan = plan_experiment(what, Inputs(clips=("smic:x",), files=files), tmp_path)
    said = "compmie_3fold tests casme2, smic, samm; not given: casme2, samm"
    assert said in plan.changed
    none = plan_experiment(what, Inputs(clips=("mmew:x",), files=files), tmp_path)
    assert all(
        "needs clips to test on, of casme2 or smic" in str(c.cannot) or "clips of" in str(c.cannot)
        for c in none.cells
    )


def test_best_epochs_of_table_2_are_marked_as_an_oracle() -> None:
    what = load_experiment("mie_x_table_2")
    best = [column for column in what.columns if column.name.endswith("best")]
    assert all(column.settings["evaluation.selection"] == "oracle" for column in best)
    printed = {row.name: row.paper for row in what.rows if row.cannot}
    assert printed.keys() == {"FDM", "DCP-TOP", "TLCNN"}
    assert printed["TLCNN"] == {
        "MMEW, last": {"accuracy": 0.694},
        "SAMM, last": {"accuracy": 0.735},
    }


def test_numbers_of_mie_x_table_1_are_the_papers() -> None:
    rows = {row.name: row for row in load_experiment("mie_x_table_1").rows}
    assert rows["MiE-X"].paper["Branches"] == {"uf1": (0.477, 0.005), "uar": (0.489, 0.008)}
    assert rows["CompMiE"].paper["ApexME"]["uf1"] == (0.418, 0.007)
