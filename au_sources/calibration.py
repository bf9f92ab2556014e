"""Map an estimator's scale onto FACS intensity, 0 to 5, as OpenFace measures it.

Each AU gets a monotone piecewise linear map, fitted to estimates of both on the same images:
averages over quantile bins, made monotone by pool adjacent violators (Ayer, Brunk, Ewing, Reid and
Silverman: An empirical distribution function for sampling with incomplete information, 1955). It
gives the mean reference intensity at each estimate, so a weak relation gives a flat map. An AU that
the estimator does not measure stays NaN.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from miex.au_sources.action_units import (
    AU_COUNT,
    AU_NAMES,
    AU_NUMBERS,
    MAX_INTENSITY,
    AUArray,
    require_aus,
)
from miex.datasets.documents import read_document, write_document
from miex.datasets.given_files import require_file

_Array: TypeAlias = NDArray[np.float64]

FORMAT = "miex-calibration-1"

_REMEDY = (
    "it is no calibration of miex: expected a file that `Calibration.write` wrote; write it again"
    " with `miex calibrate`"
)

SHIPPED = Path(__file__).parent / "tables"

_MIN_PAIRS = 100
"""Fewest pairs of estimates that an AU's map is fitted to."""

WEAK_CORRELATION = 0.4
"""Cross-validated correlation with the reference below which an AU's map is weak: it explains less
than a sixth of the variance."""

FOLDS = 10

_QUANTILES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)
"""Edges of the bins; finer at the top, where the strong expressions are."""

_SMALLEST_BIN = 15
"""Pairs."""

_CLOSEST_KNOTS = 1e-3
"""Knots are written with four digits."""


@dataclass(frozen=True, slots=True)
class AUMap:
    """The map of one AU.

    Attributes:
        knots: (estimate, intensity) pairs, both increasing; the map is linear between them and
            flat outside.
        lowest: Smallest estimate among the pairs, where the valid range begins.
        highest: Largest estimate among the pairs, where it ends.
        pairs: Number of pairs.
        correlation: Pearson's, between mapped estimates and reference, cross-validated.
        r2: Share of the reference's variance that the map explains, cross-validated; below 0 if
            the mean explains more.
        mae: Mean absolute error, intensity, cross-validated.
    """

    knots: tuple[tuple[float, float], ...]
    lowest: float
    highest: float
    pairs: int
    correlation: float
    r2: float
    mae: float

    def __post_init__(self) -> None:
        points = np.asarray(self.knots, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise ValueError(f"knots {self.knots!r}, expected pairs of estimate and intensity")
        steps = np.diff(points, axis=0)
        if (steps[:, 0] <= 0).any() or (steps[:, 1] < 0).any():
            raise ValueError(f"knots {self.knots!r} do not increase")
        if points.min() < 0 or points.max() > MAX_INTENSITY or not 0 <= self.lowest < self.highest:
            raise ValueError(f"knots {self.knots!r} lie outside 0 to {MAX_INTENSITY:g}")

    @property
    def weak(self) -> bool:
        """Return whether the correlation is below `WEAK_CORRELATION`."""
        return not self.correlation >= WEAK_CORRELATION

    def __call__(self, estimates: ArrayLike) -> _Array:
        """Return intensities of estimates of any shape; NaN stays."""
        inputs, outputs = np.transpose(self.knots)
        mapped: _Array = np.interp(np.asarray(estimates, dtype=np.float64), inputs, outputs)
        return mapped

    def outside(self, estimates: ArrayLike) -> NDArray[np.bool_]:
        """Return which estimates lie outside the valid range, and are mapped like its end."""
        values = np.asarray(estimates, dtype=np.float64)
        return (values < self.lowest) | (values > self.highest)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Maps of an estimator's AUs onto a reference's.

    Attributes:
        estimator: Name of the estimator.
        estimator_version: Its version; other versions may have another scale.
        reference: Name of the estimator whose scale is aimed at.
        reference_version: Its version.
        data: The images, for people.
        groups: Number of identities among them; folds never share one.
        maps: By AU name, `AU01`, ...
        left_out: AUs without a map, and why.
    """

    estimator: str
    estimator_version: str
    reference: str
    reference_version: str
    data: str
    groups: int
    maps: Mapping[str, AUMap]
    left_out: Mapping[str, str]

    @classmethod
    def fit(
        cls,
        estimates: ArrayLike,
        reference: ArrayLike,
        groups: Sequence[Any] | NDArray[Any],
        *,
        estimator: tuple[str, str],
        reference_name: tuple[str, str],
        data: str,
        folds: int = FOLDS,
        seed: int = 0,
    ) -> Self:
        """Fit a map for each AU that both measure.

        Args:
            estimates: ``(N, 17)``, 0 to 5, on any scale that grows with the AU; NaN where not
                measured.
            reference: ``(N, 17)`` intensities of the same images, NaN where not measured.
            groups: N identities.
            estimator: Name and version.
            reference_name: Name and version.
            data: The images, for people.
            folds: Of the cross-validation.
            seed: Of the assignment of groups to folds.

        Raises:
            ValueError: Shapes that do not agree, fewer groups than folds, or no AU with enough
                pairs.
        """
        given = require_aus(estimates, "estimates", allow_missing=True)
        wanted = require_aus(reference, "reference", allow_missing=True)
        names, members = np.unique(np.asarray(groups), return_inverse=True)
        if given.ndim != 2 or given.shape != wanted.shape or members.shape != given.shape[:1]:
            raise ValueError(
                f"estimates of shape {given.shape}, reference {wanted.shape} and {len(members)} "
                f"groups, expected (N, {AU_COUNT}), (N, {AU_COUNT}) and N"
            )
        if folds < 2 or len(names) < folds:
            raise ValueError(
                f"{len(names)} identities cannot be cross-validated in {folds} folds; expected at "
                "least 2 folds and an identity for each"
            )
        fold = (np.random.default_rng(seed).permutation(len(names)) % folds)[members]
        maps: dict[str, AUMap] = {}
        left_out: dict[str, str] = {}
        for au, name in enumerate(AU_NAMES):
            known = ~np.isnan(given[:, au]) & ~np.isnan(wanted[:, au])
            x, y = given[known, au].astype(np.float64), wanted[known, au].astype(np.float64)
            reason = _unfit(given[:, au], wanted[:, au], x)
            if reason:
                left_out[name] = reason
            else:
                maps[name] = _fit_au(x, y, fold[known])
        if not maps:
            names_by_reason: dict[str, list[str]] = {}
            for name, reason in left_out.items():
                names_by_reason.setdefault(reason, []).append(name)
            reasons = "; ".join(
                f"{reason} ({', '.join(alike)})" for reason, alike in names_by_reason.items()
            )
            raise ValueError(f"no AU of {estimator[0]} can be calibrated: {reasons}")
        return cls(*estimator, *reference_name, data, len(names), maps, left_out)

    @property
    def identity(self) -> str:
        """Return the reference and a hash of the knots, for provenance."""
        knots = json.dumps({name: one.knots for name, one in self.maps.items()}, sort_keys=True)
        digest = hashlib.sha256(knots.encode()).hexdigest()[:12]
        return f"calibrated to {self.reference} with {digest}"

    @property
    def aus(self) -> tuple[int, ...]:
        """Return FACS numbers of the AUs that have a map."""
        return tuple(number for number in AU_NUMBERS if f"AU{number:02d}" in self.maps)

    @property
    def weak(self) -> tuple[int, ...]:
        """Return FACS numbers of the AUs whose map is weak."""
        return tuple(number for number in self.aus if self.maps[f"AU{number:02d}"].weak)

    def without_weak(self) -> "Calibration":
        """Return the calibration without weak maps; those AUs are then not measured."""
        kept = {name: one for name, one in self.maps.items() if not one.weak}
        dropped = {
            name: f"weak: correlation {one.correlation:.2f}, threshold {WEAK_CORRELATION:g}"
            for name, one in self.maps.items()
            if one.weak
        }
        return Calibration(
            self.estimator,
            self.estimator_version,
            self.reference,
            self.reference_version,
            self.data,
            self.groups,
            kept,
            {**self.left_out, **dropped},
        )

    def apply(self, aus: ArrayLike) -> AUArray:
        """Return intensities of estimates.

        Args:
            aus: ``(..., 17)`` estimates, 0 to 5; NaN where not measured. Estimates outside a
                map's valid range are mapped like its end, see `outside`.

        Returns:
            ``(..., 17)``, 0 to 5; NaN where not measured or without a map.

        Raises:
            ValueError: Not estimates.
        """
        given = require_aus(aus, "estimates", allow_missing=True)
        mapped = np.full_like(given, np.nan)
        for au, name in enumerate(AU_NAMES):
            if name in self.maps:
                mapped[..., au] = self.maps[name](given[..., au])
        return mapped

    def outside(self, aus: ArrayLike) -> NDArray[np.int64]:
        """Return ``(17,)``: how many estimates of each AU lie outside its map's valid range.

        Args:
            aus: As for `apply`.
        """
        given = require_aus(aus, "estimates", allow_missing=True)
        return np.array(
            [
                int(self.maps[name].outside(given[..., au]).sum()) if name in self.maps else 0
                for au, name in enumerate(AU_NAMES)
            ]
        )

    def write(self, path: Path) -> None:
        """Write the maps as JSON."""
        write_document(path, {"format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            FileNotFoundError: No such file.
            ValueError: The file holds something else.
        """
        require_file(path, "calibration", "`miex calibrate` writes one")
        # What comes with miex is protected by the package's own checksums.
        shipped = path.parent == SHIPPED
        document = read_document(
            path,
            "calibration",
            _REMEDY,
            must_be_sealed=not shipped,
            check=lambda content: cls._parse(path, content),
        )
        return cls._parse(path, document)

    @classmethod
    def _parse(cls, path: Path, document: dict[str, Any]) -> Self:
        try:
            if document.pop("format") != FORMAT:
                raise ValueError(f"expected the format {FORMAT}")
            maps = {name: _read_map(entry) for name, entry in document.pop("maps").items()}
            unknown = sorted(set(maps) - set(AU_NAMES))
            if unknown:
                raise ValueError(f"unknown AUs {', '.join(unknown)}")
            return cls(maps=maps, **document)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path} ({error}): {_REMEDY}") from None


def shipped_calibration(estimator: str) -> Calibration | None:
    """Return the calibration that comes with miex for an estimator, if there is one."""
    path = SHIPPED / f"calibration_{estimator}.json"
    return Calibration.read(path) if path.is_file() else None


def _read_map(entry: Mapping[str, Any]) -> AUMap:
    knots = tuple((float(x), float(y)) for x, y in entry["knots"])
    return AUMap(**{**entry, "knots": knots})


def _unfit(estimates: NDArray[Any], reference: NDArray[Any], paired: _Array) -> str | None:
    """Return why an AU cannot be calibrated."""
    if np.isnan(estimates).all():
        return "not measured by the estimator"
    if np.isnan(reference).all():
        return "not measured by the reference"
    if len(paired) < _MIN_PAIRS:
        return f"{len(paired)} pairs, at least {_MIN_PAIRS} are needed"
    if np.ptp(paired) == 0:
        return f"the estimate is always {paired[0]:g}"
    return None


def _fit_au(x: _Array, y: _Array, fold: NDArray[np.int64]) -> AUMap:
    predicted = np.full_like(y, np.nan)
    for held_out in np.unique(fold):
        inputs, outputs = _knots(x[fold != held_out], y[fold != held_out])
        predicted[fold == held_out] = np.interp(x[fold == held_out], inputs, outputs)
    varies = predicted.std() > 0 and y.std() > 0
    errors = predicted - y
    inputs, outputs = _knots(x, y)
    return AUMap(
        knots=tuple(zip(inputs.round(4).tolist(), outputs.round(4).tolist(), strict=True)),
        lowest=round(float(x.min()), 4),
        highest=round(float(x.max()), 4),
        pairs=len(x),
        correlation=round(float(np.corrcoef(predicted, y)[0, 1]), 4) if varies else 0.0,
        r2=round(1 - float((errors**2).mean() / max(y.var(), 1e-12)), 4),
        mae=round(float(np.abs(errors).mean()), 4),
    )


def _knots(x: _Array, y: _Array) -> tuple[_Array, _Array]:
    """Return means over quantile bins of x; the means of y are made monotone."""
    edges = np.unique(np.quantile(x, _QUANTILES))
    bins = np.searchsorted(edges[1:-1], x, side="right")
    sums = np.stack([np.bincount(bins, weights=column) for column in (x, y, np.ones_like(x))])
    merged = [sums[:, 0]]
    for column in sums[:, 1:].T:
        if merged[-1][2] < _SMALLEST_BIN:
            merged[-1] = merged[-1] + column
        else:
            merged.append(column)
    if len(merged) > 1 and merged[-1][2] < _SMALLEST_BIN:
        merged[-2:] = [merged[-2] + merged[-1]]
    totals = np.array(merged)
    counts = totals[:, 2]
    inputs, outputs = totals[:, 0] / counts, totals[:, 1] / counts
    apart = np.concatenate([[True], np.diff(inputs) > _CLOSEST_KNOTS])
    return inputs[apart], isotonic(outputs[apart], counts[apart])


def isotonic(values: Iterable[float], weights: Iterable[float]) -> _Array:
    """Return the nearest non-decreasing sequence (weighted squares, pool adjacent violators)."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        block = (value, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, mass, length = blocks.pop()
            total = mass + block[1]
            block = ((mean * mass + block[0] * block[1]) / total, total, length + block[2])
        blocks.append(block)
    means, _, lengths = zip(*blocks, strict=True)
    return np.repeat(np.array(means), lengths)
