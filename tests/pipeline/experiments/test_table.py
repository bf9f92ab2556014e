from typing import Any

import pytest

from miex.pipeline.experiments.config import (
    Column,
    filled,
)
from miex.pipeline.experiments.table import (
    NO_RESULT,
    NOT_COMPARABLE,
    _overall,
    standing,
)


def content(**changes: Any) -> dict[str, Any]:
    known = {"oracle": False, "published_list": None, "clips": 246, "classes": list("abcde")}
    return known | changes


@pytest.mark.parametrize(
    ("found", "column", "stand_in", "comparable"),
    [
        (content(published_list=True), {}, None, True),
        (content(published_list=True), {}, "rendered", False),
        (content(published_list=False), {}, None, False),
        (content(published_list=True, oracle=True), {}, None, False),
        (content(), {}, None, False),
        (content(), {"clips": 246}, None, True),
        (content(), {"clips": 247}, None, False),
        (content(), {"clips": 246, "classes": 3}, None, False),
        (content(published_list=True), {"clips": [72, 246]}, None, True),
        (content(published_list=False, clips=72), {"clips": [72, 246]}, None, True),
        (content(published_list=False, clips=73), {"clips": [72, 246]}, None, False),
    ],
)
def test_only_the_papers_clips_are_comparable(
    found: dict[str, Any], column: dict[str, Any], stand_in: str | None, comparable: bool
) -> None:
    said = standing([found], Column(name="x", **column), stand_in)
    assert said["comparable"] is comparable
    assert (NOT_COMPARABLE in said["clips"]) is not comparable


def test_the_authors_list_is_never_called_another_list() -> None:
    column = Column(name="SAMM", clips=(72, 115), classes=5)
    said = standing([content(published_list=True, clips=115)], column, None)
    assert said == {
        "comparable": True,
        "clips": "the published list, 115 clips (the paper says 72)",
    }
    said = standing([content(published_list=False, clips=72)], column, None)
    assert said == {"comparable": True, "clips": "72 clips, as many as in the paper"}


def test_a_part_of_the_published_list_is_no_stand_in() -> None:
    folds = {"listed": 442, "found": 226}
    said = standing([content(published_list=False, clips=226, folds=folds)], Column(name="x"), None)
    assert said == {
        "comparable": False,
        "clips": f"226 of the 442 clips of the published list: {NOT_COMPARABLE}",
    }
    folds = {"listed": 442, "found": 225}
    said = standing([content(published_list=False, clips=226, folds=folds)], Column(name="x"), None)
    assert said["clips"].startswith("stand-in: 226 clips")


def test_values_are_filled() -> None:
    files = {"a": "/x", "b": "/y"}
    assert filled({"s": ["pool:${a}", "${b}"], "c": "${gone}", "d": "p:${gone}"}, files) == {
        "s": ["pool:/x", "/y"],
        "c": None,
        "d": None,
    }


def test_a_column_without_a_result_does_not_speak_for_the_table() -> None:
    columns = [
        {"comparable": False, "clips": NO_RESULT},
        {"comparable": True, "clips": "the published list, 442 clips"},
    ]
    assert _overall(columns) == "the published list, 442 clips"
    assert _overall(columns[:1]) == NO_RESULT
