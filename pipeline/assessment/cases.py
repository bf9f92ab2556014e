"""Requests to a generator under assessment: single AUs, and micro-expressions of AU sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from miex.au_sources.action_units import AU_COUNT, AU_NAMES, AUArray
from miex.au_sources.base import AUSource
from miex.pipeline.assessment.config import INTENSITIES as INTENSITIES
from miex.pipeline.synthesis.config import SequenceConfig
from miex.pipeline.synthesis.plan import expression


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One requested pair of onset and apex.

    Attributes:
        kind: `single` for a single AU, `micro` for a draw from an AU source.
        source: Name of the AU, or spec of the AU source.
        detail: Intensity of the AU, or emotion class of the draw.
        onset: AUs of the onset, ``float32 (17,)``, 0 to 5.
        apex: AUs of the apex, ``float32 (17,)``, 0 to 5.
    """

    kind: Literal["single", "micro"]
    source: str
    detail: str
    onset: AUArray
    apex: AUArray


def single_cases(intensities: Sequence[float] = INTENSITIES) -> list[Case]:
    """Return one case for every AU and every intensity, AU by AU, with all AUs 0 at the onset."""
    cases = []
    for au, name in enumerate(AU_NAMES):
        for intensity in intensities:
            apex = np.zeros(AU_COUNT, np.float32)
            apex[au] = intensity
            onset = np.zeros(AU_COUNT, np.float32)
            cases.append(Case("single", name, f"{intensity:g}", onset, apex))
    return cases


def micro_cases(
    specs: Sequence[str], sources: Sequence[AUSource], draws: int, rng: np.random.Generator
) -> list[Case]:
    """Draw micro-expressions as the synthesis of two-frame samples draws them.

    Args:
        specs: Specs of the AU sources.
        sources: The opened AU sources, in the same order.
        draws: Number of draws per class and source.
        rng: Random generator of the draws.
    """
    cases = []
    for spec, source in zip(specs, sources, strict=True):
        for name in (one for one in source.label_space.classes if one in source.classes):
            for _ in range(draws):
                (onset, apex), _ = expression(source.draw(name, rng), SequenceConfig())
                cases.append(Case("micro", spec, name, onset, apex))
    return cases
