"""Find rows that look wrong: labels that contradict the AUs, frames of another person."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT
from miex.au_sources.expert import ExpertSource
from miex.au_sources.expert_table import load_table, table_names
from miex.datasets.labels import LABEL_SPACES, Emotion, LabelSpace
from miex.pipeline.reports.pixels import Pixels
from miex.pipeline.reports.samples import Samples
from miex.pipeline.reports.statistics import active_aus

_Rows = NDArray[np.intp]

_LIKELIHOOD_RATIO = 50.0
"""The AUs of a row contradict its class if another class of the same source makes them so many
times as likely."""

_LEAST_ROWS = 30
"""Rows of a class and source that it takes to estimate how likely AUs are in it."""

_ALIKE = 0.93
"""Onset and apex correlate (grey, 32 by 32 pixels) at least so much if they show one person. In
45,000 samples of `warp` on LFW the least is .952; 97 % of the pairs of two different people
in aligned LFW crops are below .8."""

_OUTLYING = 8.0
"""... and a foreign face must be so many standard deviations from the rest, too: where frames
differ more throughout (strong expressions, a restless generator), that is no foreign face."""

_SAME_PICTURE = 0.9985
"""Two onsets of 16 by 16 pixels that correlate so much are one photograph, re-encoded or slightly
edited. Of 10,150 pairs of photographs of one person in LFW (middle 130 pixels), two lie above .999,
the next at .986."""


@dataclass(frozen=True, slots=True)
class LabelDoubts:
    """Rows with a doubtful label.

    Attributes:
        inconsistent: Label, class and fine emotion of the row contradict one another.
        impossible: The expert table that the row names never draws its AUs in its class.
        unlikely: Another class makes the AUs `_LIKELIHOOD_RATIO` times as likely, by the dataset's
            own statistics.
        expected: How many of the unlikely ones chance explains.
        judged: How many rows could be judged by a table or by statistics.
    """

    inconsistent: _Rows
    impossible: _Rows
    unlikely: _Rows
    expected: float
    judged: int

    @property
    def rows(self) -> _Rows:
        """Return all doubtful rows; unlikely ones only if chance does not explain their number."""
        parts = [self.inconsistent, self.impossible]
        if len(self.unlikely) > 2 * self.expected + 5:
            parts.append(self.unlikely)
        return np.unique(np.concatenate(parts)).astype(np.intp)


def doubt_labels(samples: Samples, always_on: Sequence[int] = ()) -> LabelDoubts:
    """Look for swapped labels.

    Args:
        samples: What to look at.
        always_on: Columns of AUs to leave out, because they are on whatever the class.
    """
    used = np.setdiff1d(np.arange(AU_COUNT), np.asarray(always_on, dtype=np.int64))
    source = np.array(samples.source, dtype=object)
    emotion = np.array(samples.emotion, dtype=object)
    impossible: list[_Rows] = []
    unlikely: list[_Rows] = []
    expected, judged = 0.0, 0
    space = _label_space(samples)
    rises = np.nan_to_num(samples.rises)[:, used]
    for name in sorted(set(samples.source)):
        rows = np.flatnonzero(source == name)
        table = _expert(samples, rows)
        if table is not None and space is not None:
            # Here every change counts: a table says which AUs it draws, however weakly.
            active = rises[rows] > 0
            wrong = _impossible(samples, rows, active, table, space, used)
            impossible.append(rows[wrong & active.any(axis=1)])
            judged += len(rows)
            continue
        active = active_aus(rises[rows])
        wrong, chance = _unlikely(
            active, emotion[rows], [samples.fine[row] for row in rows.tolist()]
        )
        unlikely.append(rows[wrong])
        expected += chance
        judged += len(rows)
    none = np.empty(0, np.intp)
    return LabelDoubts(
        inconsistent=_inconsistent(samples, space),
        impossible=np.concatenate([none, *impossible]),
        unlikely=np.concatenate([none, *unlikely]),
        expected=expected,
        judged=judged,
    )


def _label_space(samples: Samples) -> LabelSpace | None:
    if samples.dataset is None:
        return LABEL_SPACES["three_class"]
    return LABEL_SPACES.get(samples.dataset.manifest["label_space"].get("name", ""))


def _inconsistent(samples: Samples, space: LabelSpace | None) -> _Rows:
    wrong = []
    known = {str(emotion): emotion for emotion in Emotion}
    for row, (label, emotion, fine) in enumerate(
        zip(samples.label.tolist(), samples.emotion, samples.fine, strict=True)
    ):
        named = label < 0 or (label < len(samples.classes) and samples.classes[label] == emotion)
        inside = fine not in known or space is None or space.merge[known[fine]] in (None, emotion)
        if not (named and inside):
            wrong.append(row)
    return np.array(wrong, dtype=np.intp)


def _expert(samples: Samples, rows: _Rows) -> ExpertSource | None:
    """Return the table that these rows were drawn from, if its hash is that of a known one."""
    if samples.dataset is None or not len(rows):
        return None
    description = samples.source[rows[0]].removeprefix("expert table ")
    recorded = {source["description"] for source in samples.dataset.manifest["inputs"]["sources"]}
    for name in table_names():
        try:
            source = ExpertSource(load_table(name))
        except (ValueError, FileNotFoundError):
            continue  # A broken table of another package; this dataset was not drawn from it.
        if source.description in recorded and source.description.startswith(
            f"table {description} "
        ):
            return source
    return None


def _impossible(
    samples: Samples,
    rows: _Rows,
    active: NDArray[np.bool_],
    source: ExpertSource,
    space: LabelSpace,
    used: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return whether no emotion of a row's class can draw exactly its AUs; ``(len(rows),)``."""
    odds = {e: source.table.probabilities(e)[used] for e in source.table.emotions}
    possible = {
        emotion: ~((active & (p == 0)).any(axis=1) | (~active & (p == 1)).any(axis=1))
        for emotion, p in odds.items()
    }
    of_class = {
        name: np.logical_or.reduce([possible[e] for e in odds if space.merge[e] == name])
        for name in space.classes
        if any(space.merge[e] == name for e in odds)
    }
    wrong = np.zeros(len(rows), bool)
    for position, row in enumerate(rows):
        fine = samples.fine[row]
        found = possible.get(Emotion(fine)) if fine in set(Emotion) else None
        if found is None:
            found = of_class.get(samples.emotion[row])
        wrong[position] = found is not None and not found[position]
    return wrong


def _unlikely(
    active: NDArray[np.bool_], emotion: NDArray[np.object_], fine: Sequence[str | None]
) -> tuple[NDArray[np.bool_], float]:
    """Return rows of one source that another class explains better, and how many chance explains.

    Every fine emotion is a product of Bernoulli variables, a class their mixture. Chance is what
    the same search finds in as many rows drawn from the mixture that fits all rows.
    """
    nothing = np.zeros(len(active), bool)
    classes = [c for c in sorted(set(emotion)) if np.count_nonzero(emotion == c) >= _LEAST_ROWS]
    if len(classes) < 2:
        return nothing, 0.0
    fines = np.array(["" if text is None else text for text in fine], dtype=object)
    some = active.any(axis=1) & np.isin(emotion, classes)
    rng = np.random.default_rng(0)
    drawn = np.zeros_like(active)
    components = np.empty(len(active), dtype=object)
    for name in classes:
        rows = np.flatnonzero(some & (emotion == name))
        weights, odds = _fit(active, fines, some & (emotion == name))
        components[rows] = rng.choice(len(weights), len(rows), p=weights)
        drawn[rows] = rng.random((len(rows), active.shape[1])) < odds[components[rows].astype(int)]
    chance = _search(drawn, emotion, components, some & drawn.any(axis=1), classes)
    return _search(active, emotion, fines, some, classes), float(chance.sum())


def _search(
    active: NDArray[np.bool_],
    emotion: NDArray[np.object_],
    fines: NDArray[np.object_],
    some: NDArray[np.bool_],
    classes: Sequence[str],
) -> NDArray[np.bool_]:
    """Return rows in doubt among `some`.

    They are left out and the mixture is fitted again, so that swapped rows do not vouch for
    themselves.
    """
    doubted = np.zeros(len(active), bool)
    for _ in range(3):
        fitting = some & ~doubted
        models = {name: _fit(active, fines, fitting & (emotion == name)) for name in classes}
        doubted = some & _contradict(active, emotion, models)
    return doubted


_Mixture = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Weights ``(K,)`` and AU probabilities ``(K, AUs)`` of the fine emotions of a class."""


def _fit(
    active: NDArray[np.bool_], fines: NDArray[np.object_], inside: NDArray[np.bool_]
) -> _Mixture:
    members = [inside & (fines == name) for name in sorted(set(fines[inside]))] or [inside]
    counts = np.array([max(int(m.sum()), 1) for m in members], dtype=np.float64)
    # Krichevsky and Trofimov's estimate: no AU is ruled out because it has not been seen yet.
    odds = np.array([(active[m].sum(axis=0) + 0.5) / (m.sum() + 1) for m in members])
    return counts / counts.sum(), odds


def _contradict(
    active: NDArray[np.bool_], emotion: NDArray[np.object_], models: dict[str, _Mixture]
) -> NDArray[np.bool_]:
    likelihood = {}
    for name, (weights, odds) in models.items():
        logs = active @ np.log(odds).T + ~active @ np.log1p(-odds).T
        likelihood[name] = np.log(weights * np.exp(logs.clip(-700)) @ np.ones(len(weights)))
    best = np.max(list(likelihood.values()), axis=0)
    own = np.array(best)
    for name, values in likelihood.items():
        own[emotion == name] = values[emotion == name]
    contradicted: NDArray[np.bool_] = best - own > np.log(_LIKELIHOOD_RATIO)
    return contradicted


def shared_by(keys: Iterable[object], owners: Iterable[str]) -> list[list[str]]:
    """Return owners of every key that has more than one, e.g. identities of one photograph."""
    found: dict[object, set[str]] = defaultdict(set)
    for key, owner in zip(keys, owners, strict=True):
        found[key].add(owner)
    return [sorted(names) for names in found.values() if len(names) > 1]


def same_pictures(samples: Samples, pixels: Pixels) -> list[tuple[str, str]]:
    """Return pairs of identities with the same first onset image, see `_SAME_PICTURE`."""
    first: dict[str, int] = {}
    for row in np.flatnonzero(pixels.decoded).tolist():
        first.setdefault(samples.identity[row], row)
    names, rows = list(first), np.array(list(first.values()), dtype=np.intp)
    vectors = _unit(pixels.onset_small[rows])
    found = []
    for start in range(0, len(rows), 1024):
        alike = vectors[start : start + 1024] @ vectors.T > _SAME_PICTURE
        for a, b in np.argwhere(alike):
            if start + a < b:
                found.append((names[start + a], names[b]))
    return found


def foreign_frames(samples: Samples, pixels: Pixels) -> tuple[_Rows, _Rows]:
    """Return rows that show two people, and rows that show another person than their template.

    Returns:
        Rows whose apex does not look like their onset, and rows whose onset does not look like
        the other onsets of the same template; see `_ALIKE`.
    """
    between = _outliers(pixels.likeness)
    alone = np.full(len(samples), np.nan)
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in np.flatnonzero(pixels.decoded).tolist():
        members[samples.identity[row], samples.template[row]].append(row)
    for rows in members.values():
        # Of two different persons it is unknown which one is wrong.
        if len(rows) >= 3:
            middle = np.median(pixels.onset_small[rows], axis=0)[None]
            alone[rows] = _unit(pixels.onset_small[rows]) @ _unit(middle)[0]
    return between, _outliers(alone)


def _outliers(likeness: NDArray[np.float64]) -> _Rows:
    known = likeness[~np.isnan(likeness)]
    if not known.size:
        return np.empty(0, np.intp)
    middle = np.median(known)
    # 1.4826 makes the median absolute deviation of a normal distribution its standard deviation.
    spread = 1.4826 * float(np.median(np.abs(known - middle)))
    limit = min(_ALIKE, float(middle) - _OUTLYING * spread)
    return np.flatnonzero(np.nan_to_num(likeness, nan=1.0) < limit)


def _unit(images: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return flattened images, centred, of length 1, so that a product is a correlation."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(length, 1e-6), dtype=np.float32)
