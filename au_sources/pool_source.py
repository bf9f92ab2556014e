"""Draw AU pairs from a pool of pairs that were measured on real faces."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from miex.au_sources.emotion_choice import EmotionChoice
from miex.au_sources.pool import AUPair, AUPool
from miex.au_sources.pool_file import AUSourceName
from miex.datasets.labels import LABEL_SPACES, Emotion, LabelSpace


class PoolSource:
    """Draw the pairs of an `AUPool`, with replacement.

    Args:
        pool: The pairs, all of one source (`real_mie`, `early_mae` or `expert`).
        label_space: The classes that are asked for.
        emotion_weights: Without, every pair of a class is equally likely. With, the fine emotion
            is drawn first, by these weights (1 where none is given), then one of its pairs.
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
        counts = Counter(e for e, moving in zip(pool.emotions, moves, strict=True) if moving)
        emotions = np.array(pool.emotions)
        self._pairs = {e: np.flatnonzero((emotions == e) & moves) for e in counts}
        weights = {
            emotion: float(count) if emotion_weights is None else emotion_weights.get(emotion, 1.0)
            for emotion, count in counts.items()
        }
        self._emotions = EmotionChoice(weights, label_space, f"pool {origin}")
        self.classes = self._emotions.classes
        self.sha256 = pool.sha256
        self.citation = pool.citation
        self.licence = pool.licence
        self.measured_on: tuple[str, ...] = ()
        databases = ", ".join(sorted({key[0] for key in pool.subjects if key})) or "nobody"
        self.description = (
            f"pool {origin}, {len(pool)} pairs ({self.null_pairs} without motion) from "
            f"{databases} (sha256 {self.sha256[:12]})"
        )

    def draw(self, emotion_class: str, rng: np.random.Generator) -> AUPair:
        """Draw a pair of a class.

        Raises:
            ValueError: The pool has no pair of that class that moves.
        """
        rows = self._pairs[self._emotions.draw(emotion_class, rng)]
        return self.pool[int(rows[rng.integers(len(rows))])]
