import pyarrow as pa
import pytest

from miex.pipeline.synthesis.tally import NOT_ANNOTATED, Tally


def table(people: str, first: int = 0) -> pa.Table:
    """Return a sample for each letter, the identity that it shows."""
    numbers = range(first, first + len(people))
    return pa.table(
        {
            "identity": list(people),
            "emotion": ["positive" if number % 2 else "negative" for number in numbers],
            "fine_emotion": ["" if number % 2 else "anger" for number in numbers],
            "au_source": ["expert"] * len(people),
            "attempt": [number % 3 for number in numbers],
            "aus": [[[0.0], [1.0]]] * len(people),
        }
    )


def counted(*parts: str) -> Tally:
    tally, first = Tally(), 0
    for part in parts:
        found = Tally()
        found.add_table(table(part, first), ["expert:micro"] * len(part))
        tally.add(Tally.of(found.content()))
        first += len(part)
    return tally


@pytest.mark.parametrize(
    "parts", [("aabbbccd",), ("aab", "bbccd"), ("aa", "", "bb", "b", "ccd"), tuple("aabbbccd")]
)
def test_sums_do_not_depend_on_how_the_samples_are_divided(parts: tuple[str, ...]) -> None:
    counts = counted(*parts).counts(10, 2, ["negative", "positive"], ["expert:micro"])
    assert counts == {
        "planned": 10,
        "written": 8,
        "rejected": 2,
        "redrawn": 5,
        "frames": 16,
        "identities": 4,
        "by_class": {"negative": 4, "positive": 4},
        "by_source": {"expert:micro": 8},
        "by_emotion": {"anger": 4, NOT_ANNOTATED: 4},
        "by_au_source": {"expert": 8},
    }
