"""Summary statistics of the measurements of one generator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, AU_NAMES
from miex.pipeline.assessment.cases import Case
from miex.pipeline.assessment.measure import Measurements
from miex.pipeline.assessment.realism import measure_realism, paired_kid, standard_error
from miex.pipeline.aus.fidelity import correlation, sample_fidelity

_BOOTSTRAPS = 200
"""Number of bootstrap samples."""


@dataclass(frozen=True, slots=True, eq=False)
class AUFidelity:
    """Fidelity of one AU; values are None where the AU was not measured.

    Attributes:
        au: Name of the AU, such as `AU01`.
        correlation: Pearson's correlation of requested and estimated change over faces and
            intensities, where the AU is requested alone. None also if the estimate never changes.
        specificity: The same over all cases of single AUs; a case of another AU requests a change
            of 0 of this AU.
        micro: The same over the micro-expressions.
        direction: By intensity, share of the faces in which the estimate rises.
        silent: By intensity, share of the faces in which the estimate does not change. Either
            nothing moved, or the estimator reports 0 for both frames. These faces do not count as
            rising.
        change: By intensity, mean estimated change.
        leak: Mean absolute change of the other AUs divided by the requested change.
        faces: Number of faces in which the AU was measured at onset and apex.
    """

    au: str
    correlation: float | None
    specificity: float | None
    micro: float | None
    direction: Mapping[str, float | None]
    silent: Mapping[str, float | None]
    change: Mapping[str, float | None]
    leak: float | None
    faces: int


@dataclass(frozen=True, slots=True, eq=False)
class Fidelity:
    """AU fidelity of a generator, measured by one estimator.

    Attributes:
        aus: Fidelity of each of the 17 AUs.
        leakage: ``float64 (17, 17)``; rows are requested AUs, columns estimated AUs. Mean estimated
            change divided by the requested change, NaN where not measured.
        lost: Share of the cases in which the estimator finds no face.
        sample: Median of `sample_fidelity` over the micro-expressions, comparable with the column
            `au_fidelity` of a dataset.
        sample_defined: Share of the micro-expressions in which `sample_fidelity` is defined.
    """

    aus: Sequence[AUFidelity]
    leakage: NDArray[np.float64]
    lost: float
    sample: float | None
    sample_defined: float

    def mean_correlation(self, chosen: Sequence[str]) -> float:
        """Return the mean correlation over the chosen AUs; an undefined one counts as 0."""
        values = [one.correlation or 0.0 for one in self.aus if one.au in chosen]
        return float(np.mean(values)) if values else float("nan")

    def mean_direction(self, chosen: Sequence[str], lowest: float) -> float:
        """Return the mean share of faces in which the estimate of the requested AU rises.

        Args:
            chosen: Names of the AUs to average over.
            lowest: Lowest intensity to average over.
        """
        values = [
            share
            for one in self.aus
            if one.au in chosen
            for intensity, share in one.direction.items()
            if float(intensity) >= lowest and share is not None
        ]
        return float(np.mean(values)) if values else float("nan")


def fidelity(measured: Measurements, cases: Sequence[Case], estimator: int) -> Fidelity:
    """Return the AU fidelity measured by one estimator.

    Args:
        measured: Measurements of F faces and C cases.
        cases: The cases of one face; single cases are the same for every face.
        estimator: Index of the estimator.
    """
    asked = measured.asked.astype(np.float64)
    found = measured.found[:, :, estimator].astype(np.float64)
    single = np.array([case.kind == "single" for case in cases])
    leakage = np.full((AU_COUNT, AU_COUNT), np.nan)
    aus = []
    for au, name in enumerate(AU_NAMES):
        own = np.array([case.source == name for case in cases]) & single
        leakage[au] = _mean(found[:, own] / asked[:, own, au, None])
        others = np.delete(leakage[au], au)
        seen = np.isfinite(found[:, own, au])
        numbers = [int(number) for number in np.flatnonzero(own)]
        aus.append(
            AUFidelity(
                au=name,
                correlation=_correlation(asked[:, own, au], found[:, own, au]),
                specificity=_correlation(asked[:, single, au], found[:, single, au]),
                micro=_correlation(asked[:, ~single, au], found[:, ~single, au]),
                direction={
                    cases[n].detail: _share(found[:, n, au] > 0, np.isfinite(found[:, n, au]))
                    for n in numbers
                },
                silent={
                    cases[n].detail: _share(found[:, n, au] == 0, np.isfinite(found[:, n, au]))
                    for n in numbers
                },
                change={
                    cases[n].detail: _or_none(_mean(found[:, n : n + 1, au : au + 1])[0])
                    for n in numbers
                },
                leak=_or_none(_mean(np.abs(others)[None, :, None])[0]),
                faces=int(seen.all(axis=1).sum()),
            )
        )
    scores = [
        sample_fidelity(asked[face, case], found[face, case])
        for face in range(len(asked))
        for case in np.flatnonzero(~single)
    ]
    defined = [score for score in scores if score is not None]
    return Fidelity(
        aus=aus,
        leakage=leakage,
        lost=float((~np.isfinite(found)).all(axis=2).mean()),
        sample=float(np.median(defined)) if defined else None,
        sample_defined=len(defined) / max(len(scores), 1),
    )


def fidelity_error(
    measured: Measurements, cases: Sequence[Case], estimator: int, chosen: Sequence[str], seed: int
) -> float:
    """Return the standard error of the mean correlation, by a bootstrap over faces (Efron 1979).

    Args:
        measured: Measurements of F faces and C cases.
        cases: The cases of one face.
        estimator: Index of the estimator.
        chosen: Names of the AUs to average over.
        seed: Seed of the bootstrap.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(3,)))
    means = []
    for _ in range(_BOOTSTRAPS):
        rows = rng.integers(len(measured.asked), size=len(measured.asked))
        means.append(_mean_correlation(measured, cases, estimator, chosen, rows))
    return float(np.std(means, ddof=1))


def fidelity_gain(
    measured: Measurements,
    other: Measurements,
    cases: Sequence[Case],
    estimator: int,
    chosen: Sequence[str],
    seed: int,
) -> tuple[float, float]:
    """Return how much higher the mean correlation of one generator is, and its standard error.

    The bootstrap over faces (Efron 1979) draws the same faces for both, so that what is peculiar
    to a face cancels.

    Args:
        measured: Of the generator.
        other: Of the one that it is compared with, on the same faces and cases.
        cases: Those of one face.
        estimator: Its number.
        chosen: AUs over which the mean is taken.
        seed: Of the bootstrap.
    """
    everybody = np.arange(len(measured.asked))
    value = float(
        _mean_correlation(measured, cases, estimator, chosen, everybody)
        - _mean_correlation(other, cases, estimator, chosen, everybody)
    )
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(3,)))
    differences = []
    for _ in range(_BOOTSTRAPS):
        rows = rng.integers(len(everybody), size=len(everybody))
        first, second = (
            _mean_correlation(one, cases, estimator, chosen, rows) for one in (measured, other)
        )
        differences.append(first - second)
    return value, float(np.std(differences, ddof=1))


def _mean_correlation(
    measured: Measurements,
    cases: Sequence[Case],
    estimator: int,
    chosen: Sequence[str],
    rows: NDArray[np.int64],
) -> float:
    """Mean correlation over AUs on some faces; one that never changes counts as 0."""
    values = []
    for au, name in enumerate(AU_NAMES):
        if name in chosen:
            own = [n for n, one in enumerate(cases) if one.kind == "single" and one.source == name]
            found = measured.found[rows][:, own, estimator, au]
            values.append(_correlation(measured.asked[rows][:, own, au], found) or 0.0)
    return float(np.mean(values)) if values else float("nan")


@dataclass(frozen=True, slots=True)
class Motion:
    """Motion of rendered faces, in pixels of a frame of 128.

    Attributes:
        micro: 5th, 25th, 50th, 75th and 95th percentile over the micro-expressions.
        micro_inside: Share of the micro-expressions inside the target range.
        single: By intensity, median over faces and single AUs.
        nulls: Share of all cases without motion: onset and apex have equal pixels, or the motion
            is below the threshold.
        micro_nulls: Share of the micro-expressions without motion.
        null_aus: Single AUs without motion in more than 10 % of the faces and intensities.
    """

    micro: Sequence[float]
    micro_inside: float
    single: Mapping[str, float]
    nulls: float
    micro_nulls: float
    null_aus: Sequence[str]


def motion(
    measured: Measurements,
    cases: Sequence[Case],
    inside: tuple[float, float],
    threshold: float,
) -> Motion:
    """Return the statistics of the motion of rendered faces.

    Args:
        measured: Measurements of F faces and C cases.
        cases: The cases of one face.
        inside: Target range of micro-expressions, in pixels of a frame of 128.
        threshold: Motion in inter-ocular distances below which a case is without motion.
    """
    null = measured.equal | (measured.motion_iod < threshold)
    micro = np.array([case.kind == "micro" for case in cases])
    small = measured.motion[:, micro].astype(np.float64)
    details = list(dict.fromkeys(case.detail for case in cases if case.kind == "single"))
    by_au = {
        name: float(null[:, [n for n, case in enumerate(cases) if case.source == name]].mean())
        for name in AU_NAMES
    }
    return Motion(
        micro=[float(value) for value in np.quantile(small, (0.05, 0.25, 0.5, 0.75, 0.95))],
        micro_inside=float(((small >= inside[0]) & (small <= inside[1])).mean()),
        single={
            detail: float(
                np.median(
                    measured.motion[
                        :, [n for n, c in enumerate(cases) if not micro[n] and c.detail == detail]
                    ]
                )
            )
            for detail in details
        },
        nulls=float(null.mean()),
        micro_nulls=float(null[:, micro].mean()),
        null_aus=[name for name, share in by_au.items() if share > 0.1],
    )


@dataclass(frozen=True, slots=True, eq=False)
class RealismNumbers:
    """KID and FID with one embedding, over one group of cases.

    Attributes:
        embedding: Name of the embedding.
        cases: Group of cases: `all`, `single` or `micro`.
        kid: Paired KID in thousandths, see `realism.Realism`; its expectation is 0 for frames that
            are distributed like photographs.
        kid_error: Standard error of `kid`.
        halves: KID on random halves, in thousandths.
        halves_error: Standard error of `halves`.
        floor: KID of photographs on the same halves, in thousandths; its expectation is 0.
        floor_error: Standard error of `floor`.
        fid: FID, mean over halves.
        fid_floor: FID of photographs, mean over halves; it is above 0, since FID is biased.
        terms: ``(F, F)`` values of `realism.paired_terms` in thousandths, for the comparison of
            generators.
    """

    embedding: str
    cases: str
    kid: float
    kid_error: float
    halves: float
    halves_error: float
    floor: float
    floor_error: float
    fid: float
    fid_floor: float
    terms: NDArray[np.float64]


def realism(
    measured: Measurements, cases: Sequence[Case], seed: int, splits: int
) -> list[RealismNumbers]:
    """Return KID and FID with every embedding and for every group of cases.

    Args:
        measured: Measurements of F faces and C cases.
        cases: The cases of one face.
        seed: Seed of halves and draws.
        splits: Number of random splits of the identities.
    """
    micro = np.array([case.kind == "micro" for case in cases])[measured.looks]
    rows = []
    for name, rendered in measured.rendered.items():
        groups = {
            "all": np.ones_like(micro),
            "single": ~micro,
            "micro": micro,
        }
        for group, mask in groups.items():
            # `work` chooses the same number of cases of each group for every face.
            chosen = rendered[mask].reshape(len(rendered), int(mask[0].sum()), -1)
            found = measure_realism(
                chosen.astype(np.float64), measured.real[name].astype(np.float64), seed, splits
            )
            terms, own, floor = (1000 * part for part in (found.terms, found.kid, found.floor))
            value, error = paired_kid(terms)
            rows.append(
                RealismNumbers(
                    embedding=name,
                    cases=group,
                    kid=value,
                    kid_error=error,
                    halves=float(own.mean()),
                    halves_error=standard_error(own),
                    floor=float(floor.mean()),
                    floor_error=standard_error(floor),
                    fid=found.fid,
                    fid_floor=found.fid_floor,
                    terms=terms,
                )
            )
    return rows


def _correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float | None:
    x, y = np.ravel(a), np.ravel(b)
    known = np.isfinite(y)
    return correlation(x[known], y[known])


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the finite values over the first two axes; NaN where there is none."""
    known = np.isfinite(values)
    count = known.sum(axis=(0, 1))
    total = np.where(known, values, 0).sum(axis=(0, 1))
    mean: NDArray[np.float64] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def _share(true: NDArray[np.bool_], known: NDArray[np.bool_]) -> float | None:
    return float(true[known].mean()) if known.any() else None


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
