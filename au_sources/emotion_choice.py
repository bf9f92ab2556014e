"""Draw a fine emotion of a coarse class, in the same way for every AU source."""

import math
from collections.abc import Mapping

import numpy as np

from miex.datasets.labels import Emotion, LabelSpace


class EmotionChoice:
    """Draw the emotion of a sample whose class is given.

    Args:
        weights: Weight of every emotion that the source has AUs for; within a class, emotions are
            drawn in proportion to them. 0 excludes an emotion.
        label_space: The classes.
        owner: What the emotions belong to, for messages: `table du2014`, `pool x.parquet`.

    Attributes:
        classes: Names of the classes that can be drawn.

    Raises:
        ValueError: A weight is negative or not a number, or no class can be drawn at all.
    """

    def __init__(
        self, weights: Mapping[Emotion, float], label_space: LabelSpace, owner: str
    ) -> None:
        for emotion, weight in weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(
                    f"emotion_weights.{emotion}: {weight!r}, expected a number from 0 (never drawn)"
                )
        self._owner = owner
        self._label_space = label_space
        self._odds: dict[str, tuple[list[Emotion], list[float]]] = {}
        for name in label_space.classes:
            members = [e for e in Emotion if label_space.merge[e] == name and weights.get(e, 0) > 0]
            if members:
                largest = max(weights[e] for e in members)
                ends = np.cumsum([weights[e] / largest for e in members])
                self._odds[name] = (members, (ends / ends[-1]).tolist())
        self.classes = frozenset(self._odds)
        if not self.classes:
            raise ValueError(
                f"{owner} has no emotion of label space {label_space.name!r} "
                f"({', '.join(label_space.classes)}) with a weight above 0; it has: "
                f"{', '.join(weights) or 'none'}"
            )

    def draw(self, emotion_class: str, rng: np.random.Generator) -> Emotion:
        """Draw an emotion of a class; take one number from the generator.

        Raises:
            ValueError: The source has no emotion of that class.
        """
        if emotion_class not in self._odds:
            raise ValueError(
                f"{self._owner} has no emotion of class {emotion_class!r} (label space "
                f"{self._label_space.name!r}); it has: "
                f"{', '.join(c for c in self._label_space.classes if c in self.classes)}"
            )
        members, ends = self._odds[emotion_class]
        uniform = rng.random()
        return next(e for e, end in zip(members, ends, strict=True) if uniform < end)
