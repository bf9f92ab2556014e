"""Choose the generator of `generator: auto`: the better embedded one, by measured quality.

`ganimation` is chosen if there are weights in its folder `weights` and the assessment beside them
(the `assessment.json` of `miex assess-generator`, with the name of the weights) shows for these
weights that

- AU fidelity is higher and KID lower than those of `warp`, both by more than their errors, and
- in every other figure (direction, same person, changes outside the face, nulls, motion of
  micro-expressions) it meets the target or is no worse than `warp`,

all measured in the same assessment, on the same people. Otherwise, also without an assessment or
with an assessment of other weights, `warp` is chosen.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miex.datasets.files import sha256_file

WEIGHTS = Path(__file__).parent / "ganimation" / "weights"

LEARNT, SIMPLE = "ganimation", "warp"


def embedded_weights() -> Path | None:
    """Return the embedded weights of `ganimation`, the last by name; None if there are none."""
    return max(WEIGHTS.glob("*.safetensors"), default=None)


def better_generator() -> str:
    """Return the name of the generator that `auto` selects; see the module.

    Raises:
        ValueError: The assessment beside the weights is damaged.
    """
    weights = embedded_weights()
    if weights is None:
        return SIMPLE
    card = weights.with_suffix(".json")
    if not card.is_file():
        return SIMPLE
    try:
        entries = json.loads(card.read_text("utf-8"))["generators"]
        learnt = _entry(entries, LEARNT, sha256_file(weights))
        if learnt is None:
            return SIMPLE
        figures = learnt["better_than_warp"]
        better = bool(figures) and all(map(bool, figures.values()))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{card} is no assessment of a generator ({error!r}); expected the assessment.json of "
            "`miex assess-generator`, or name the generator instead of `auto`"
        ) from None
    return LEARNT if better else SIMPLE


def _entry(
    entries: list[Mapping[str, Any]], name: str, sha256: str | None
) -> Mapping[str, Any] | None:
    """Return the entry of a generator with these weights."""
    for entry in entries:
        if entry["name"] == name and entry["sha256"] == sha256:
            verdict: Mapping[str, Any] = entry["verdict"]
            return verdict
    return None
