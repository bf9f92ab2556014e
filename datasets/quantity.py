"""Write counts with their nouns: 1 clip, 2,000 clips."""

_IRREGULAR = {"person": "people"}


def quantity(count: int, noun: str) -> str:
    """Return a count with its noun in the right number, as ``1 identity`` or ``2,000 identities``.

    Args:
        count: At least 0.
        noun: In the singular.
    """
    if count == 1:
        return f"1 {noun}"
    start, space, word = noun.rpartition(" ")
    if word in _IRREGULAR:
        word = _IRREGULAR[word]
    elif word.endswith("y") and word[-2:-1] not in "aeiou":
        word = f"{word[:-1]}ies"
    else:
        word = f"{word}s"
    return f"{count:,} {start}{space}{word}"
