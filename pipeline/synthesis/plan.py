"""The plan of a dataset, which assigns a face and an expression to every sample index.

All randomness derives from (seed, index, attempt). The draw of a sample is therefore the same
whatever was drawn before, in whichever process.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, MAX_INTENSITY, AUArray
from miex.au_sources.base import AUSource
from miex.au_sources.pool import AUPair
from miex.datasets.labels import LABEL_SPACES, LabelSpace
from miex.pipeline.faces.identities import IdentityRows
from miex.pipeline.synthesis.config import SequenceConfig, SynthesisConfig

_IDENTITY_STREAM = 0
_SAMPLE_STREAM = 1
_MEASURE_STREAM = 2
_TEMPLATE_STREAM = 3
_FIDELITY_STREAM = 4
_DRIFT_STREAM = 5
_SIDE_STREAM = 6
_SENSOR_STREAM = 7

_DRAWN_AT_ONCE = 1_000_000
"""Most identities of a face table from which those of a dataset are drawn together."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One attempt at one sample: the template and the requested AUs.

    Attributes:
        index: Index of the sample in the plan.
        attempt: 0 for the first draw, 1 for the first redraw, and so on.
        face: Row of the template in the face table.
        label: Index of the class in the label space.
        emotion: Name of the class.
        source: Index of the AU source in the config.
        pair: The AU pair from which the AUs were derived.
        aus: ``float32 (T, 17)`` requested AUs of every frame, FACS intensity 0 to 5, finite.
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
    """Distributes the samples over identities, classes and AU sources.

    The plan is a function of the index of a sample: it holds no list of samples, and of a large
    face table no list of identities.

    Sample i shows identity number ``i * identities // samples``, so that the samples of one
    identity are adjacent and are rendered together. If the table holds several photographs of the
    identity, each sample draws one of them.

    A cell is a combination of a class and an AU source that has AUs for the class. Sample i belongs
    to cell ``i`` modulo the number of cells. With the default number of samples every identity has
    one sample in every cell, as in MiE-X; with any other number the sizes of the cells differ by
    at most one. `missing` lists the combinations that are no cell.

    Args:
        config: Config of the dataset.
        people: The identities of the face table.
        sources: The opened AU sources of the config, in its order.

    Raises:
        ValueError: The face table has too few identities, no source has AUs for a class, a source
            has AUs for no class, or there are fewer AU triplets than cells.
    """

    def __init__(
        self, config: SynthesisConfig, people: IdentityRows, sources: Sequence[AUSource]
    ) -> None:
        self._config = config
        self._sources = sources
        self.label_space: LabelSpace = LABEL_SPACES[config.label_space]
        self._people = people
        self._chosen = self._choose_identities()
        self._cells = self._find_cells()
        self.samples = config.samples or self.identities * len(self._cells)
        if config.au_triplets is not None and config.au_triplets < len(self._cells):
            raise ValueError(
                f"au_triplets: {config.au_triplets} triplets cannot cover the {len(self._cells)} "
                f"combinations of a class and a source; set it to at least {len(self._cells)}"
            )

    def _find_cells(self) -> list[tuple[int, int]]:
        """Return (index of the source, label) of every cell, in the order of the config."""
        classes = self.label_space.classes
        for spec, source in zip(self._config.sources, self._sources, strict=True):
            if not source.classes.intersection(classes):
                raise ValueError(
                    f"AU source {spec!r} has no AUs for any class of label space "
                    f"{self.label_space.name!r} ({', '.join(classes)}); remove it from sources"
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
                "source that has some, for example expert:miex"
            )
        return cells

    def _choose_identities(self) -> NDArray[np.int64] | None:
        """Return the number of each identity that is used, or None where `_identity` computes it.

        Up to `_DRAWN_AT_ONCE` identities are drawn from at once, which takes 8 bytes for each.
        """
        available, wanted = len(self._people), self._config.identities
        if wanted is None or wanted <= available:
            if wanted is None or available > _DRAWN_AT_ONCE:
                return None
            rng = self._rng(_IDENTITY_STREAM)
            return np.sort(rng.choice(available, size=wanted, replace=False))
        raise ValueError(
            f"identities: {wanted} requested, but the face table has {available}; request "
            "fewer or prepare more faces"
        )

    def _identity(self, place: int) -> int:
        """Return the number, in the face table, of the identity at a place of the dataset.

        Of a large table, each place draws from a range of its own, so that the draw of one place
        needs no other.
        """
        if self._chosen is not None:
            return int(self._chosen[place])
        available, used = len(self._people), self.identities
        if used == available:
            return place
        first, end = place * available // used, (place + 1) * available // used
        return first + int(self._rng(_IDENTITY_STREAM, place).integers(end - first))

    def _template(self, index: int) -> int:
        """Return the row of the template of a sample, the same for every attempt."""
        rows = self._people.rows_of(self._identity(index * self.identities // self.samples))
        if len(rows) == 1:
            return rows[0]
        # Cycling through the rows would couple templates to classes where their numbers match.
        return rows[int(self._rng(_TEMPLATE_STREAM, index).integers(len(rows)))]

    def drift(self, index: int) -> NDArray[np.float64]:
        """Return the draws of the head motion of a sample, the same for every attempt.

        Returns:
            ``float64 (4,)`` standard normal draws, see `drift_transform`.
        """
        return self._rng(_DRIFT_STREAM, index).standard_normal(4)

    def asymmetry(self, index: int) -> float:
        """Return the asymmetry of the expression of a sample, the same for every attempt.

        Returns:
            A value from -1 to 1: 0 for a symmetric expression, -0.7 if the side on the left of the
            image shows 30 % of the intensity, 0.7 if the side on the right does.
        """
        config = self._config.asymmetry
        if not config.share:
            return 0.0
        happens, side, position = self._rng(_SIDE_STREAM, index).random(3)
        if happens >= config.share:
            return 0.0
        missing = 1 - (config.weakest + position * (config.strongest - config.weakest))
        return float(missing if side < 0.5 else -missing)

    def sensor_rng(self, index: int, frame: int) -> np.random.Generator:
        """Return the random generator for the noise of one frame of a sample."""
        return self._rng(_SENSOR_STREAM, index, frame)

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._config.seed, spawn_key=stream))

    @property
    def identities(self) -> int:
        """Number of identities that are used."""
        return self._config.identities or len(self._people)

    def sample_id(self, index: int) -> str:
        """Return the id of a sample, such as `NAME-00000042`."""
        return f"{self._config.name}-{index:08d}"

    def index_of(self, sample_id: str) -> int:
        """Return the index of the sample with an id.

        Raises:
            KeyError: The plan has no such sample.
        """
        name, _, digits = sample_id.rpartition("-")
        if name != self._config.name or not digits.isdigit() or int(digits) >= self.samples:
            raise KeyError(
                f"no sample is called {sample_id!r}; ids range from {self.sample_id(0)} to "
                f"{self.sample_id(self.samples - 1)}"
            )
        return int(digits)

    def measures_identity(self, index: int) -> bool:
        """Return whether the identity similarity of a sample is measured."""
        share = self._config.quality.identity_share
        return share >= 1 or float(self._rng(_MEASURE_STREAM, index).random()) < share

    def measures_fidelity(self, index: int) -> bool:
        """Return whether the AU fidelity of a sample is measured."""
        share = self._config.quality.fidelity_share
        return share >= 1 or float(self._rng(_FIDELITY_STREAM, index).random()) < share

    @property
    def source_specs(self) -> tuple[str, ...]:
        """Specs of the AU sources, as in the config."""
        return self._config.sources

    @property
    def missing(self) -> tuple[tuple[str, str], ...]:
        """Pairs (spec of the AU source, class) for which the source has no AUs."""
        return tuple(
            (spec, name)
            for spec, source in zip(self._config.sources, self._sources, strict=True)
            for name in self.label_space.classes
            if name not in source.classes
        )

    def source_of(self, index: int) -> int:
        """Return the index, in the config, of the AU source of a sample."""
        return self._cells[index % len(self._cells)][0]

    def spec_of(self, sample_id: str) -> str:
        """Return the spec of the AU source of a sample, by its id."""
        return self.source_specs[self.source_of(self.index_of(sample_id))]

    def draw(self, index: int, attempt: int) -> Draw:
        """Return the template and the requested AUs of one attempt at one sample."""
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
    """Return the share of the apex intensity at a share p of the time from onset to apex.

    Args:
        progress: Share of the time, 0 to 1, any shape.
        kind: `linear` (p, as in MiE-X), `smooth` (3p^2 - 2p^3), `early` (1 - (1 - p)^2) or
            `late` (p^2).

    Returns:
        Share of the intensity, 0 at the onset and 1 at the apex, in the shape of `progress`.

    Raises:
        ValueError: The easing does not exist.
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


def frames_between(tracked: float, sequence: SequenceConfig) -> str:
    """Return where the AUs of the frames between onset and apex come from, for card and manifest.

    Args:
        tracked: Share of the pairs of the source that have a track.
        sequence: Number of frames and easing.
    """
    interpolated = f"{sequence.easing} interpolation from onset to apex"
    if not tracked:
        return interpolated
    if tracked == 1:
        return "measured in the frames of the clip"
    return f"measured in the frames of the clip for {tracked:.1%} of the pairs, else {interpolated}"


def expression(pair: AUPair, sequence: SequenceConfig) -> tuple[AUArray, int]:
    """Return the requested AUs of every frame of a sample.

    If the pair has a track and the sample has more than two frames, the track is resampled to the
    number of frames. Otherwise the intensities are interpolated from onset to apex by the easing.
    AUs that the source did not measure are 0 in every frame, so that they do not move.

    Args:
        pair: Onset and apex AUs, 0 to 5, and an optional track.
        sequence: Number of frames, easing, and whether the frames back to the offset follow.

    Returns:
        ``float32 (T, 17)`` intensities, 0 to 5, and the index of the apex.
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
