"""Plan of an experiment: its cells, what they share, and their size."""

from pathlib import Path

from experiment_files import all_files

from miex.pipeline.experiments.config import load_experiment
from miex.pipeline.experiments.plan import (
    Inputs,
    Scale,
    plan_experiment,
    pretraining_key,
)


def test_a_folder_that_was_moved_keeps_its_cells(tmp_path: Path) -> None:
    what = load_experiment("mie_x_table_1")
    inputs = Inputs(files=all_files(what, tmp_path))
    before, after = (plan_experiment(what, inputs, tmp_path / name) for name in "ab")
    for one, other in zip(before.cells, after.cells, strict=True):
        if one.job is None:
            continue
        assert one.folder.relative_to(tmp_path / "a") == other.folder.relative_to(tmp_path / "b")
        assert pretraining_key(one.job) == pretraining_key(other.job)
    assert any(cell.datasets for cell in before.cells)


def test_sizes_and_lengths_shrink_in_proportion(tmp_path: Path) -> None:
    what = load_experiment("mie_x_figure_6b")
    inputs = Inputs(files=all_files(what, tmp_path))
    plan = plan_experiment(what, inputs, tmp_path, Scale(identities=100, epochs=0.25))
    configs = [config for cell in plan.cells for config in cell.datasets.values()]
    assert [config.identities for config in configs] == [14, 20, 34, 100]
    assert {(config.samples, config.au_triplets) for config in configs} == {(600, 600)}
    assert all(cell.job.evaluation.pretraining["epochs"] == 20 for cell in plan.cells)
    plan = plan_experiment(what, inputs, tmp_path, Scale(samples=3000))
    configs = [config for cell in plan.cells for config in cell.datasets.values()]
    assert [config.identities for config in configs] == [700, 1000, 1700, 5000]
    assert {(config.samples, config.au_triplets) for config in configs} == {(3000, 3000)}
    assert "identities_700: 3000 samples of 700 identities, not 30000 of 700" in plan.departures


def test_a_largest_number_of_steps_shrinks_with_the_epochs(tmp_path: Path) -> None:
    what = load_experiment("real_flow")
    inputs = Inputs(clips=("casme2:x",), files=all_files(what, tmp_path))
    plan = plan_experiment(what, inputs, tmp_path, Scale(epochs=0.5, recognizers=("ststnet",)))
    jobs = {cell.row: cell.job.evaluation for cell in plan.cells if cell.job}
    assert jobs["expert; fine-tuned"].pretraining == {"max_steps": 20}
    assert jobs["expert; fine-tuned"].finetuning == {"epochs": 30}


def test_cells_share_a_pretraining_unless_it_differs(tmp_path: Path) -> None:
    what = load_experiment("mie_x_table_1")
    plan = plan_experiment(what, Inputs(files=all_files(what, tmp_path)), tmp_path)
    keys = {
        (cell.row, cell.column.name): pretraining_key(cell.job)
        for cell in plan.cells
        if cell.datasets
    }
    assert keys["MiE-X", "Branches"] == keys["MiE-X, then CompMiE", "Branches"]
    assert keys["MiE-X", "Branches"] != keys["MiE-X", "ApexME"]


def test_columns_that_differ_in_the_protocol_are_one_on_another(tmp_path: Path) -> None:
    what = load_experiment("uamrn_table_6")
    plan = plan_experiment(what, Inputs(), tmp_path, Scale(protocol="loso"))
    assert [column.name for column in plan.columns] == ["CASME II / SAMM / SMIC"]
    assert all(not cell.paper for cell in plan.cells)
    atme = load_experiment("dual_atme_table_1")
    plan = plan_experiment(atme, Inputs(), tmp_path, Scale(protocol="loso"))
    assert [column.name for column in plan.columns] == ["MEGC2019-CD"]
