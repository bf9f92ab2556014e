"""Draw the AUs that are requested for each face of a training batch.

All numbers are drawn on the CPU by a given random generator.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, MAX_INTENSITY, AUArray
from miex.generators.ganimation.recipe import Recipe

Floats = NDArray[np.float32]

_HOW_MANY = (0.4, 0.3, 0.2, 0.1)
"""Probabilities of one, two, three, four AUs in a micro row. Coded micro-expressions have 1.1 to
1.7 AUs and the expert tables of miex 1.5 to 3.3; the mean is 2.0."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Requested AUs of a batch.

    Attributes:
        condition: ``(N, 17)``, condition of the generator: intensity / 5, or its change.
        back: ``(N, 17)``, the condition that leads back to the photograph.
        counted: bool ``(N, 17)``, AUs of the rendered face that the losses may use.
    """

    condition: Floats
    back: Floats
    counted: NDArray[np.bool_]


def draw_targets(
    recipe: Recipe,
    own: AUArray,
    others: AUArray,
    trusted: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Targets:
    """Draw the requested AUs of a batch.

    - `absolute`: the AUs of another photograph, plus noise (the code of Pumarola et al. 2018).
    - `change`: first the micro rows, with one to four increased AUs; then the still rows, without
      a change; then the remaining rows, with the AUs of another photograph, where both are known.

    Args:
        recipe: Shares and ranges.
        own: ``(N, 17)`` AUs of the photographs, 0 to 5, NaN where not measured.
        others: ``(N, 17)`` AUs of N other photographs.
        trusted: bool ``(17,)``, AUs whose labels the losses may use.
        rng: Source of randomness.
    """
    noise = rng.uniform(-recipe.noise, recipe.noise, own.shape).astype(np.float32)
    if recipe.condition == "absolute":
        condition = _known(others / MAX_INTENSITY) + noise
        return Targets(condition, _known(own / MAX_INTENSITY), np.isfinite(others) & trusted)
    counted = np.isfinite(own) & np.isfinite(others) & trusted
    change = np.where(counted, (others - own) / MAX_INTENSITY + noise, 0).astype(np.float32)
    change = change.clip(-1, 1)
    micro, still = recipe.rows("micro", len(own)), recipe.rows("still", len(own))
    change[:micro] = micro_changes(micro, recipe.micro_intensity, rng)
    change[micro : micro + still] = 0
    # A warp teaches the critic every AU, also those with unreliable labels.
    counted[:micro] = True if recipe.weights.au_pairs else trusted
    counted[micro : micro + still] = False
    return Targets(change, -change, counted)


def micro_changes(count: int, intensity: tuple[float, float], rng: np.random.Generator) -> Floats:
    """Draw changes of micro-expressions: few AUs, small intensities, all increasing.

    Args:
        count: N.
        intensity: Smallest and largest intensity of an AU, 0 to 5, uniform in between.
        rng: Source of randomness.

    Returns:
        ``(N, 17)``, intensity / 5.
    """
    active = rng.choice(len(_HOW_MANY), size=count, p=_HOW_MANY) + 1
    ranks = rng.random((count, AU_COUNT)).argsort(axis=1).argsort(axis=1)
    values = rng.uniform(*intensity, (count, AU_COUNT)) / MAX_INTENSITY
    return np.where(ranks < active[:, None], values, 0).astype(np.float32)


def _known(values: Floats) -> Floats:
    """Return the AUs with 0 where not measured, since such an AU is probably absent."""
    return np.nan_to_num(values, nan=0.0).astype(np.float32)
