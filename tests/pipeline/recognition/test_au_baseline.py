from dataclasses import replace

import pytest

from miex.pipeline.recognition.au_baseline import predict_from_aus
from miex.pipeline.recognition.protocols import find_protocol
from miex.pipeline.recognition.sample import SampleInfo

CODES = ("4+7", "6+12", "1+2+26")


def coded(count: int = 18) -> list[SampleInfo]:
    """Clips of six people whose codes give their labels away."""
    return [
        SampleInfo(
            key=f"x:s{number % 6}/{number}",
            label=number // 6 % 3,
            emotion="",
            database="x",
            subject=f"s{number % 6}",
            lineage=frozenset({("x", f"s{number % 6}")}),
            apex_rule="annotated",
            aus=CODES[number // 6 % 3],
        )
        for number in range(count)
    ]


def test_codes_that_give_the_label_away_are_found_out() -> None:
    """Pitfall 12."""
    infos = coded()
    answers = predict_from_aus(infos, find_protocol("loso").split_folds(infos))
    assert answers == {info.key: info.label for info in infos}


def test_it_is_trained_without_the_people_it_answers() -> None:
    infos = [
        replace(info, label=2 - info.label) if info.subject == "s0" else info for info in coded()
    ]
    answers = predict_from_aus(infos, find_protocol("loso").split_folds(infos))
    assert answers is not None
    assert [answers[info.key] for info in infos if info.subject == "s0"] == [0, 1, 2]


@pytest.mark.parametrize("text", [None, "", "nonsense"])
def test_clips_without_codes(text: str | None) -> None:
    infos = coded()
    few = [replace(info, aus=text) if info.subject == "s0" else info for info in infos]
    answers = predict_from_aus(few, find_protocol("loso").split_folds(few))
    assert answers is not None
    assert {answers[info.key] for info in few if info.subject == "s0"} == {0}
    most = [replace(info, aus=text) if info.subject != "s0" else info for info in infos]
    assert predict_from_aus(most, find_protocol("loso").split_folds(most)) is None
