"""Draw AUs from expert knowledge: an AU is active with the probability that a table gives.

The third AU source of MiE-X (Liu et al., ECCV 2022, section 4.2), with one
correction: a draw without any active AU would be a label without motion, and does not occur here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, AU_NUMBERS, MAX_INTENSITY, AUArray
from miex.au_sources.emotion_choice import EmotionChoice
from miex.au_sources.expert_table import ExpertTable
from miex.au_sources.pool import AUPair
from miex.au_sources.pool_file import AUSourceName
from miex.datasets.labels import LABEL_SPACES, Emotion, LabelSpace

MICRO_INTENSITY = (0.5, 1.5)
"""Range of the AUs' intensities in MiE-X: 1/10 to 3/10 of a macro-expression's 5."""


@dataclass(frozen=True, slots=True)
class _Odds:
    """How the AUs of one emotion are drawn.

    Attributes:
        later: ``(17,)`` probability of each AU once another is on.
        first: ``(17,)`` probability of each AU while all before it are off, given that at least
            one of it and its successors will be on.
        low: ``(17,)`` lower end of the intensities.
        high: ``(17,)`` upper end of the intensities.
    """

    later: NDArray[np.float64]
    first: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class ExpertSource:
    """Draw AU pairs from an expert table: from a neutral face to a few AUs of one emotion.

    Args:
        table: Probabilities of the AUs.
        label_space: The classes that are asked for.
        intensity: Each active AU is uniform in it, FACS intensity 0 to 5, unless the table gives
            the AU a range of its own.
        emotion_weights: Weights of the fine emotions within their class; 1 where none is given,
            so that they are equally likely as in MiE-X. Emotions that the table lacks are
            passed over.

    Attributes:
        name: `expert`.
        classes: Classes of the label space that the table has an emotion of.
        sha256: Hash of the table's figures.
        description: The table with its version and the beginning of its hash.
        citation: Publication of the table.
        licence: Terms of the table.
        measured_on: Databases that the table was counted on.
        tracked: 0, since a table has no AUs of the frames between.

    Raises:
        ValueError: The intensities are not ``0 <= low <= high <= 5`` with ``high > 0``, a weight
            is negative, or the table has no emotion of the label space.
    """

    def __init__(
        self,
        table: ExpertTable,
        label_space: LabelSpace = LABEL_SPACES["three_class"],
        intensity: tuple[float, float] = MICRO_INTENSITY,
        emotion_weights: Mapping[Emotion, float] | None = None,
    ) -> None:
        low, high = intensity
        if not (0 <= low <= high <= MAX_INTENSITY and high > 0):
            raise ValueError(
                f"intensity: ({low}, {high}), expected 0 <= low <= high <= {MAX_INTENSITY:g} with "
                "high above 0"
            )
        self.name: AUSourceName = "expert"
        self.table = table
        self.label_space = label_space
        self.sha256 = table.sha256
        self.description = f"table {table.name} {table.version} (sha256 {self.sha256[:12]})"
        self.citation = table.citation
        self.licence = table.licence
        self.measured_on = table.measured_on
        self.tracked = 0.0
        given = emotion_weights or {}
        weights = {emotion: given.get(emotion, 1.0) for emotion in table.emotions}
        self._emotions = EmotionChoice(weights, label_space, f"table {table.name!r}")
        self.classes = self._emotions.classes
        self._odds = {emotion: _odds(table, emotion, intensity) for emotion in table.emotions}
        self._neutral = np.zeros(AU_COUNT, dtype=np.float32)

    def draw(self, emotion_class: str, rng: np.random.Generator) -> AUPair:
        """Draw an AU pair of a class; always take 35 numbers from the generator.

        Raises:
            ValueError: The table has no emotion of that class.
        """
        emotion = self._emotions.draw(emotion_class, rng)
        return AUPair(
            onset=self._neutral,
            apex=self.draw_apex(emotion, rng),
            emotion=emotion,
            source=self.name,
            estimator=self.description,
        )

    def draw_apex(self, emotion: Emotion, rng: np.random.Generator) -> AUArray:
        """Draw the apex of one fine emotion.

        The AUs are independent, under the condition that at least one is on: exactly what drawing
        again until one is on converges to, in one pass. Going through the AUs in order, the first
        one on has probability ``p_i / (1 - prod_{j >= i} (1 - p_j))``; those after it are free.

        Returns:
            ``(17,)``, 0 to 5, at least one above 0.

        Raises:
            ValueError: The table does not have the emotion.
        """
        if emotion not in self._odds:
            raise ValueError(
                f"table {self.table.name!r} has no AUs for {emotion}; it has: "
                f"{', '.join(self._odds)}"
            )
        odds = self._odds[emotion]
        uniform, position = rng.random((2, AU_COUNT))
        if emotion in self.table.combinations:
            active = _combination(self.table.combinations[emotion], float(uniform[0]))
            intensity = odds.high - position * (odds.high - odds.low)
            return np.where(active, intensity, 0.0).astype(np.float32)
        first = int(np.argmax(uniform < odds.first))
        active = uniform < odds.later
        active[:first] = False
        active[first] = True
        # Measured from the upper end, so that an intensity of exactly 0 cannot be drawn.
        intensity = odds.high - position * (odds.high - odds.low)
        return np.where(active, intensity, 0.0).astype(np.float32)


def _combination(sets: Mapping[tuple[int, ...], float], uniform: float) -> NDArray[np.bool_]:
    """Return the active AUs ``(17,)`` of the combination at a place, 0 to 1 of the weights."""
    ends = np.cumsum(list(sets.values()))
    chosen = list(sets)[min(int(np.searchsorted(ends, uniform, side="right")), len(sets) - 1)]
    return np.isin(AU_NUMBERS, chosen)


def _odds(table: ExpertTable, emotion: Emotion, intensity: tuple[float, float]) -> _Odds:
    p = table.probabilities(emotion)
    with np.errstate(divide="ignore"):
        log_off = np.cumsum(np.log1p(-p)[::-1])[::-1]
    any_left = -np.expm1(log_off)
    first = np.divide(p, any_left, out=np.zeros(AU_COUNT), where=any_left > 0)
    first[np.flatnonzero(p)[-1]] = 1.0
    low, high = table.intensities(emotion, intensity).T
    return _Odds(later=p, first=first, low=low, high=high)
