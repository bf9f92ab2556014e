"""Draw AU pairs from a pool of pairs that were measured on real faces."""

from collections.abc import Hashable, Mapping

import numpy as np

from miex.au_sources.emotion_choice import EmotionChoice
from miex.au_sources.pool import AUPair, AUPool
from miex.au_sources.pool_file import AUSourceName
from miex.datasets.labels import LABEL_SPACES, Emotion, LabelSpace


class PoolSource:
    """Draw the pairs of an `AUPool`, with replacement.

    A clip is drawn first and then one of its pairs, so that a clip with a long window of early
    frames is not more frequent than one with a short window.

    Args:
        pool: The pairs, all of one source (`real_mie`, `early_mae` or `expert`).
        label_space: The classes that are asked for.
        emotion_weights: Without, every clip of a class is equally likely. With, the fine emotion
            is drawn first, by these weights (1 where none is given), then one of its clips.
        origin: Where the pool comes from, for messages and the description.

    Attributes:
        name: The source of the pairs.
        classes: Classes of the label space that the pool has moving pairs of.
        sha256: Hash of the pool's content.
        description: The pool with its size, databases and the beginning of its hash.
        citation: What the pool asks to cite.
        licence: Terms of the pool.
        measured_on: Nothing: each pair names the person whose AUs it has.
        null_pairs: How many pairs of the pool are never drawn because no AU that was measured
            at both ends differs between onset and apex.
        tracked: Share of the drawn pairs that have the AUs of the frames between.

    Raises:
        ValueError: The pool is empty or mixes sources, a weight is negative, or no pair that moves
            belongs to the label space.
    """

    def __init__(
        self,
        pool: AUPool,
        label_space: LabelSpace = LABEL_SPACES["three_class"],
        emotion_weights: Mapping[Emotion, float] | None = None,
        origin: str = "in memory",
    ) -> None:
        names = sorted(set(pool.sources))
        if len(names) != 1:
            raise ValueError(
                f"pool {origin}: expected pairs of one source, found {', '.join(names) or 'none'}; "
                "write one pool for each with AUPool.filter(sources=[...])"
            )
        self.name: AUSourceName = names[0]
        self.pool = pool
        self.label_space = label_space
        moves = pool.moves
        self.null_pairs = int(np.count_nonzero(~moves))
        self.tracked = float(pool.has_track[moves].mean()) if moves.any() else 0.0
        self._clips = _clips_by_emotion(pool)
        weights = {
            emotion: float(len(clips))
            if emotion_weights is None
            else emotion_weights.get(emotion, 1.0)
            for emotion, clips in self._clips.items()
        }
        self._emotions = EmotionChoice(weights, label_space, f"pool {origin}")
        self.classes = self._emotions.classes
        self.sha256 = pool.sha256
        self.citation = pool.citation
        self.licence = pool.licence
        self.measured_on: tuple[str, ...] = ()
        databases = ", ".join(sorted({key[0] for key in pool.subjects if key})) or "nobody"
        self.description = (
            f"pool {origin}, {len(pool)} pairs ({pool.distinct} distinct, {self.null_pairs} "
            f"without motion) from {databases} (sha256 {self.sha256[:12]})"
        )

    def draw(self, emotion_class: str, rng: np.random.Generator) -> AUPair:
        """Draw a pair of a class.

        Raises:
            ValueError: The pool has no pair of that class that moves.
        """
        clips = self._clips[self._emotions.draw(emotion_class, rng)]
        rows = clips[int(rng.integers(len(clips)))]
        return self.pool[rows[int(rng.integers(len(rows)))] if len(rows) > 1 else rows[0]]


def _clips_by_emotion(pool: AUPool) -> dict[Emotion, list[list[int]]]:
    """Return the rows of the moving pairs of each emotion, grouped by clip."""
    clips: dict[Emotion, dict[Hashable, list[int]]] = {}
    for row in np.flatnonzero(pool.moves).tolist():
        of_emotion = clips.setdefault(pool.emotions[row], {})
        of_emotion.setdefault(pool.clips[row] or row, []).append(row)
    return {emotion: list(groups.values()) for emotion, groups in clips.items()}
