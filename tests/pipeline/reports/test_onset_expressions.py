"""Onsets that show the label already, and shares of AUs by the classes of real databases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miex.pipeline.reports import onset_expressions
from miex.pipeline.reports.onset_expressions import expressive_onsets
from miex.pipeline.reports.samples import open_target

AU02, AU12, AU25 = 1, 8, 14


class Evidence:
    """Only what the check looks at."""

    def __init__(self, dataset: Path) -> None:
        self.samples = open_target(dataset)


def found(dataset: Path, monkeypatch: pytest.MonkeyPatch, shown: dict[int, float]) -> Any:
    """The finding on a dataset of which every template shows some AUs."""

    def expressions(landmarks: np.ndarray) -> np.ndarray:
        aus = np.zeros((len(landmarks), 17), np.float32)
        for au, intensity in shown.items():
            aus[:, au] = intensity
        return aus

    monkeypatch.setattr(onset_expressions, "expressions_of", expressions)
    (finding,) = expressive_onsets(Evidence(dataset))
    return finding


def test_smiles_are_the_label_of_positive_and_the_opposite_of_negative_samples(
    tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emotions = list(Evidence(tiny_dataset).samples.emotion)
    finding = found(tiny_dataset, monkeypatch, {AU12: 2.0})
    positive, negative = emotions.count("positive"), emotions.count("negative")
    assert finding.severity == "warning"
    assert finding.number == positive + negative
    assert f"In {positive} of {len(emotions)} samples the onset shows the label" in finding.text
    assert f"in {negative} its opposite" in finding.text
    assert "--set max_expression=1.5" in finding.text


def test_raised_brows_with_an_open_mouth_are_surprise(
    tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emotions = list(Evidence(tiny_dataset).samples.emotion)
    finding = found(tiny_dataset, monkeypatch, {AU02: 2.0, AU25: 2.0})
    assert finding.number == emotions.count("surprise")
    assert found(tiny_dataset, monkeypatch, {AU02: 2.0}).severity == "good"


def test_faces_at_rest_are_good(
    make_dataset: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(tmp_path / "dataset", identities=3)
    finding = found(dataset, monkeypatch, {AU12: 0.5})
    assert finding.severity == "good"
    assert "(3 faces)" in finding.text
