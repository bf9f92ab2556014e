"""What the generator is asked for in training: which AUs each face of a batch shall show.

Everything is drawn on the CPU by a generator that is given, from numbers alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, MAX_INTENSITY, AUArray
from miex.generators.ganimation.recipe import Recipe

Floats = NDArray[np.float32]

HOW_MANY = (0.4, 0.3, 0.2, 0.1)
"""How often a micro row asks for one, two, three, four AUs. Coded clips of micro-expressions show
1.1 to 1.7 AUs and the expert tables of miex ask for 1.5 to 3.3: 2.0 on average."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What a batch asks for.

    Attributes:
        condition: ``(N, 17)``, what the generator is told: intensity / 5, or its change.
        back: ``(N, 17)``, the condition that leads back to the photograph.
        counted: bool ``(N, 17)``, which AUs of the rendered face the losses may look at.
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
    """Draws what to ask for.

    - `absolute`: the AUs of another photograph, plus noise (the code of Pumarola et al. 2018).
    - `change`: first the micro rows, one to four AUs more; then the still rows, nothing; then the
      wild rows, which lead to the AUs of another photograph, as far as both are known.

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
    # A warp teaches the critic every AU, whatever the labels are worth.
    counted[:micro] = True if recipe.weights.au_pairs else trusted
    counted[micro : micro + still] = False
    return Targets(change, -change, counted)


def micro_changes(count: int, intensity: tuple[float, float], rng: np.random.Generator) -> Floats:
    """Changes as micro-expressions ask for them: few AUs, small intensities, all upwards.

    Args:
        count: N.
        intensity: Least and greatest intensity of an AU, 0 to 5, uniform between.
        rng: Source of randomness.

    Returns:
        ``(N, 17)``, intensity / 5.
    """
    active = rng.choice(len(HOW_MANY), size=count, p=HOW_MANY) + 1
    ranks = rng.random((count, AU_COUNT)).argsort(axis=1).argsort(axis=1)
    values = rng.uniform(*intensity, (count, AU_COUNT)) / MAX_INTENSITY
    return np.where(ranks < active[:, None], values, 0).astype(np.float32)


def _known(values: Floats) -> Floats:
    """Not measured as 0: an AU that nobody saw is most likely absent."""
    return np.nan_to_num(values, nan=0.0).astype(np.float32)
