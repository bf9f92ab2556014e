"""Tests that the small experiments cover every recognizer with valid settings."""

import json
from pathlib import Path

import pytest

from miex.pipeline.experiments.config import load_experiment
from miex.pipeline.experiments.plan import Inputs, Scale, plan_experiment
from miex.pipeline.recognition.recognizers.base import recognizer_names


@pytest.fixture(scope="module")
def compare():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        import compare
    return compare


def test_every_size_is_of_a_recognizer(compare) -> None:
    assert set(compare.SMALL) <= set(recognizer_names())


@pytest.mark.parametrize("name", ["stand_in", "stand_in_identities"])
def test_the_sizes_suit_the_experiments(compare, name, tmp_path) -> None:
    experiment = compare.resized(load_experiment(name))
    files = {}
    for each in ("faces", "real_mie", "early_mae"):
        files[each] = str(tmp_path / f"{each}.parquet")
        Path(files[each]).write_bytes(b"not looked at")
    scale = Scale(identities=compare.IDENTITIES, samples=compare.SAMPLES)
    plan = plan_experiment(experiment, Inputs(files=files), tmp_path, scale)
    jobs = {cell.column.name: cell.job for cell in plan.cells}
    assert len(jobs) == len(recognizer_names())
    assert all(job is not None for job in jobs.values())
    evaluation = jobs["STSTNet"].evaluation
    assert evaluation.pretraining == {"epochs": 60, "learning_rate": 2e-3, "batch_size": 64}
    assert evaluation.finetuning == {"epochs": 120, "learning_rate": 1e-3, "batch_size": 64}
    assert jobs["LBP-TOP"].evaluation.pretraining == {}
    sizes = {config.samples for cell in plan.cells for config in cell.datasets.values()}
    assert sizes == {compare.SAMPLES}


def test_tables_stand_side_by_side(compare, tmp_path) -> None:
    for name, cells in {
        "a": [("nothing", 0.5, 0.01), ("all", 0.625, None)],
        "b": [("all", 0.75, 0.125)],
    }.items():
        (tmp_path / name).mkdir()
        table = {
            "columns": [{"name": name.upper()}],
            "cells": [
                {
                    "row": row,
                    "column": name.upper(),
                    "scores": {"uf1": {"mean": mean, "deviation": deviation}},
                }
                for row, mean, deviation in cells
            ]
            + [{"row": "never", "column": name.upper(), "scores": {}}],
        }
        (tmp_path / name / "table.json").write_text(json.dumps(table))
    assert compare.side_by_side(tmp_path).splitlines() == [
        "| UF1 | A | B |",
        "|---|---|---|",
        "| nothing | 0.500 ± 0.010 | - |",
        "| all | 0.625 | 0.750 ± 0.125 |",
    ]
