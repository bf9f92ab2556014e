"""What a generator is asked for: every AU alone, and micro-expressions from the AU sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from miex.au_sources.action_units import AU_COUNT, AU_NAMES, AUArray
from miex.au_sources.base import AUSource
from miex.pipeline.synthesis.config import SequenceConfig
from miex.pipeline.synthesis.plan import expression

INTENSITIES = (1.0, 2.0, 3.0)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One onset and apex.

    Attributes:
        kind: `single`, one AU alone, or `micro`, a draw from an AU source.
        source: Name of the AU, or the source as the user writes it.
        detail: Intensity of the AU, or the class of the emotion.
        onset: ``(17,)``, 0 to 5.
        apex: ``(17,)``, 0 to 5.
    """

    kind: Literal["single", "micro"]
    source: str
    detail: str
    onset: AUArray
    apex: AUArray


def single_cases(intensities: Sequence[float] = INTENSITIES) -> list[Case]:
    """Every AU alone at every intensity, AU by AU; the onset is zero, as an expert's is."""
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
    """Micro-expressions as a synthesis of two frames would ask for them.

    Args:
        specs: The sources as the user writes them.
        sources: The same, opened.
        draws: Of every class from every source.
        rng: What is drawn depends on it alone.
    """
    cases = []
    for spec, source in zip(specs, sources, strict=True):
        for name in (one for one in source.label_space.classes if one in source.classes):
            for _ in range(draws):
                (onset, apex), _ = expression(source.draw(name, rng), SequenceConfig())
                cases.append(Case("micro", spec, name, onset, apex))
    return cases
