from pathlib import Path

import pytest
from toy_recognition import ToySamples

from miex.pipeline.experiments.config import Choice, load_experiment
from miex.pipeline.experiments.nested import choose_in_nested_folds, judge_choice
from miex.pipeline.recognition.results import Prediction, Result, write_result
from miex.pipeline.recognition.sample import SampleInfo

CLASSES = ("negative", "positive", "surprise")
FOLDS = ("a", "b")


@pytest.fixture
def infos(toy_samples: ToySamples) -> list[SampleInfo]:
    return [sample.info for sample in toy_samples(12)]


def right_in(folder: Path, infos: list[SampleInfo], fold: str, seeds: int = 2) -> Result:
    """An evaluation that is right in one of two folds and wrong in the other."""
    predictions = [
        Prediction(
            seed,
            FOLDS[number // 6],
            info.key,
            info.label if FOLDS[number // 6] == fold else (info.label + 1) % 3,
            (0.0, 0.0, 0.0),
            0,
        )
        for seed in range(seeds)
        for number, info in reversed(list(enumerate(infos)))
    ]
    return write_result(folder, {"classes": list(CLASSES)}, infos, predictions, CLASSES)


def test_the_clips_of_a_fold_take_no_part_in_its_choice(
    tmp_path: Path, infos: list[SampleInfo]
) -> None:
    results = {fold: right_in(tmp_path / fold, infos, fold) for fold in FOLDS}
    nested = choose_in_nested_folds(results, "accuracy")
    # On the clips of the other fold the wrong row is better: chosen on all clips it would be .5.
    assert nested.chosen == {"a": "b", "b": "a"}
    assert nested.runs == {0: 0.0, 1: 0.0}


def test_other_seeds_cannot_be_compared(tmp_path: Path, infos: list[SampleInfo]) -> None:
    results = {
        "a": right_in(tmp_path / "a", infos, "a"),
        "b": right_in(tmp_path / "b", infos, "b", 1),
    }
    with pytest.raises(ValueError, match="rows 'a' and 'b' have other seeds"):
        choose_in_nested_folds(results, "uf1")
    with pytest.raises(ValueError, match="at least two rows"):
        choose_in_nested_folds({"a": results["a"]}, "uf1")


def test_a_choice_is_told_in_words(tmp_path: Path, infos: list[SampleInfo]) -> None:
    choice = Choice(text="Source", rows=FOLDS)
    results = {fold: right_in(tmp_path / fold, infos, "a") for fold in FOLDS}
    assert judge_choice(choice, "STSTNet", results, "accuracy") == (
        "Source: STSTNet: ACCURACY 0.500 ± 0.000; chosen 'a' in 2 of 2 folds"
    )
    del results["b"]
    told = judge_choice(choice, "STSTNet", results, "accuracy")
    assert told == "Source: STSTNet: not computed ('b')"


def test_real_flow_chooses_in_nested_folds() -> None:
    texts = [choice.text for choice in load_experiment("real_flow").choices]
    assert "AU sources chosen in nested folds, no clip seen in training" in texts
