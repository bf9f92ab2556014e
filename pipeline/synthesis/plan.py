"""The plan: which face makes which expression in sample number i.

The plan is a function, not a list: any sample can be asked for alone, in any order, in any
process, and the answer is the same. Its randomness derives from (seed, index, attempt).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, MAX_INTENSITY, AUArray
from miex.au_sources.base import AUSource
from miex.au_sources.pool import AUPair
from miex.datasets.labels import LABEL_SPACES, LabelSpace
from miex.pipeline.synthesis.config import SequenceConfig, SynthesisConfig

_IDENTITY_STREAM = 0
_SAMPLE_STREAM = 1
_MEASURE_STREAM = 2
_TEMPLATE_STREAM = 3
_FIDELITY_STREAM = 4
_DRIFT_STREAM = 5


@dataclass(frozen=True, slots=True)
class Draw:
    """What one attempt at one sample asks for.

    Attributes:
        index: Number of the sample in the plan.
        attempt: 0 for the first draw, 1 for the first redraw, ...
        face: Row of the template in the face table.
        label: Index of the class in the label space.
        emotion: Name of the class.
        source: Index of the AU source in the config.
        pair: The AUs' origin.
        aus: ``(T, 17)``, the AUs of every frame, FACS intensity 0 to 5, finite.
        apex_index: Index of the apex in `aus`.
    """

    index: int
    attempt: int
    face: int
    label: int
    emotion: str
    source: int
    pair: AUPair
    aus: AUArray
    apex_index: int


class Plan:
    """Spreads samples over identities, classes and AU sources.

    Sample i belongs to identity number ``i * identities // samples``, so the samples of one face
    lie side by side and are rendered together; where the table holds several photographs of it,
    each sample draws one. Its cell, a class and a source that has AUs for
    it, is ``i`` modulo the number of cells: with the default number of samples every identity
    gets every cell once, as in MiE-X, and with any other number the cells still differ by one
    sample at most. A class that a source lacks is no cell; `missing` names it.

    Args:
        config: What to make.
        identities: Identity of every row of the face table.
        sources: The config's AU sources, opened.

    Raises:
        ValueError: More identities are asked for than there are, no source has AUs for a class,
            or a source has none for any.
    """

    def __init__(
        self, config: SynthesisConfig, identities: Sequence[str], sources: Sequence[AUSource]
    ) -> None:
        self._config = config
        self._sources = sources
        self.label_space: LabelSpace = LABEL_SPACES[config.label_space]
        self._templates = self._choose_identities(identities)
        self._cells = self._find_cells()
        self.samples = config.samples or len(self._templates) * len(self._cells)
        if config.au_triplets is not None and config.au_triplets < len(self._cells):
            raise ValueError(
                f"au_triplets: {config.au_triplets} triplets cannot cover {len(self._cells)} "
                "pairs of a class and a source; ask for at least as many"
            )

    def _find_cells(self) -> list[tuple[int, int]]:
        """(source, label) of every cell, the sources in the config's order."""
        classes = self.label_space.classes
        for spec, source in zip(self._config.sources, self._sources, strict=True):
            if not source.classes.intersection(classes):
                raise ValueError(
                    f"AU source {spec!r} has no AUs for any class of label space "
                    f"{self.label_space.name!r} ({', '.join(classes)}); leave it out"
                )
        cells = [
            (number, label)
            for number, source in enumerate(self._sources)
            for label, name in enumerate(classes)
            if name in source.classes
        ]
        covered = {label for _, label in cells}
        absent = [name for label, name in enumerate(classes) if label not in covered]
        if absent:
            raise ValueError(
                f"no AU source has AUs for class {', '.join(absent)} of label space "
                f"{self.label_space.name!r} (sources: {', '.join(self._config.sources)}); add a "
                "source that does, for instance expert:miex"
            )
        return cells

    def _choose_identities(self, identities: Sequence[str]) -> list[list[int]]:
        """Rows of the face table by identity, of the identities that take part."""
        rows: dict[str, list[int]] = {}
        for row, identity in enumerate(identities):
            rows.setdefault(identity, []).append(row)
        available = list(rows.values())
        wanted = self._config.identities
        if wanted is None:
            return available
        if wanted > len(available):
            raise ValueError(
                f"identities: {wanted} are asked for, the face table has {len(available)}; "
                "ask for fewer or prepare more faces"
            )
        rng = self._rng(_IDENTITY_STREAM)
        chosen = np.sort(rng.choice(len(available), size=wanted, replace=False))
        return [available[number] for number in chosen]

    def _template(self, index: int) -> int:
        """The photograph that a sample shows, for every attempt the same."""
        rows = self._templates[index * len(self._templates) // self.samples]
        if len(rows) == 1:
            return rows[0]
        # Drawn, not taken in turn: a turn that divides the cells would tie photographs to classes.
        return rows[int(self._rng(_TEMPLATE_STREAM, index).integers(len(rows)))]

    def drift(self, index: int) -> NDArray[np.float64]:
        """``(4,)`` standard normal draws of a sample, see `drift_transform`; of every attempt."""
        return self._rng(_DRIFT_STREAM, index).standard_normal(4)

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._config.seed, spawn_key=stream))

    @property
    def identities(self) -> int:
        """How many identities take part."""
        return len(self._templates)

    def sample_id(self, index: int) -> str:
        """`NAME-00000042`."""
        return f"{self._config.name}-{index:08d}"

    def index_of(self, sample_id: str) -> int:
        """The index of a sample by its id.

        Raises:
            KeyError: This plan has no such sample.
        """
        name, _, digits = sample_id.rpartition("-")
        if name != self._config.name or not digits.isdigit() or int(digits) >= self.samples:
            raise KeyError(
                f"no sample is called {sample_id!r}; they run from {self.sample_id(0)} to "
                f"{self.sample_id(self.samples - 1)}"
            )
        return int(digits)

    def measures_identity(self, index: int) -> bool:
        """Whether the identity similarity of this sample is measured."""
        share = self._config.quality.identity_share
        return share >= 1 or float(self._rng(_MEASURE_STREAM, index).random()) < share

    def measures_fidelity(self, index: int) -> bool:
        """Whether the AU fidelity of this sample is measured."""
        share = self._config.quality.fidelity_share
        return share >= 1 or float(self._rng(_FIDELITY_STREAM, index).random()) < share

    @property
    def source_specs(self) -> tuple[str, ...]:
        """The AU sources as the config writes them."""
        return self._config.sources

    @property
    def missing(self) -> tuple[tuple[str, str], ...]:
        """(AU source as the config writes it, class) of every pair that is no cell."""
        return tuple(
            (spec, name)
            for spec, source in zip(self._config.sources, self._sources, strict=True)
            for name in self.label_space.classes
            if name not in source.classes
        )

    def source_of(self, index: int) -> int:
        """Index of a sample's AU source in the config."""
        return self._cells[index % len(self._cells)][0]

    def draw(self, index: int, attempt: int) -> Draw:
        """The AUs that one attempt at one sample asks for."""
        occurrence, cell = divmod(index, len(self._cells))
        source, label = self._cells[cell]
        stream = index
        if self._config.au_triplets is not None:
            cells = len(self._cells)
            in_this_cell = (self._config.au_triplets - cell + cells - 1) // cells
            stream = (occurrence % in_this_cell) * cells + cell
        rng = self._rng(_SAMPLE_STREAM, stream, attempt)
        emotion = self.label_space.classes[label]
        pair = self._sources[source].draw(emotion, rng)
        aus, apex_index = expression(pair, self._config.sequence)
        return Draw(
            index=index,
            attempt=attempt,
            face=self._template(index),
            label=label,
            emotion=emotion,
            source=source,
            pair=pair,
            aus=aus,
            apex_index=apex_index,
        )


def ease(progress: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """How far an expression has grown after a share of the time from onset to apex.

    Args:
        progress: Share of the time, 0 to 1, any shape.
        kind: `linear` (MiE-X), `smooth` (cubic 3p^2 - 2p^3, slow at both ends), `early`
            (1 - (1 - p)^2) or `late` (p^2).

    Returns:
        Share of the intensity, 0 at the onset and 1 at the apex.
    """
    match kind:
        case "linear":
            return progress
        case "smooth":
            return progress * progress * (3 - 2 * progress)
        case "early":
            return 1 - (1 - progress) ** 2
        case "late":
            return progress * progress
    raise ValueError(f"no easing is called {kind!r}; there are: linear, smooth, early, late")


def expression(pair: AUPair, sequence: SequenceConfig) -> tuple[AUArray, int]:
    """The AUs of every frame of a sample.

    A pair with a track keeps the course of the track, resampled to the number of frames; any
    other grows from onset to apex by the easing. AUs that a source did not measure are asked for
    at 0 in every frame: what is unknown must not move.

    Args:
        pair: Onset and apex AUs, 0 to 5.
        sequence: Number of frames, easing, way back.

    Returns:
        ``float32 (T, 17)`` and the index of the apex.
    """
    progress = np.linspace(0.0, 1.0, sequence.frames)
    onset, apex = (np.nan_to_num(end).astype(np.float64) for end in (pair.onset, pair.apex))
    unmeasured = np.isnan(pair.onset) | np.isnan(pair.apex)
    if pair.track is not None and sequence.frames > 2:
        track = np.nan_to_num(pair.track)
        time = np.linspace(0.0, 1.0, len(track))
        aus = np.stack([np.interp(progress, time, track[:, au]) for au in range(AU_COUNT)], axis=1)
        aus[0], aus[-1] = onset, apex
    else:
        aus = onset + ease(progress, sequence.easing)[:, None] * (apex - onset)
    aus[:, unmeasured] = 0.0
    if sequence.back_to_offset:
        aus = np.concatenate([aus, aus[-2::-1]])
    return np.clip(aus, 0.0, MAX_INTENSITY).astype(np.float32), sequence.frames - 1
