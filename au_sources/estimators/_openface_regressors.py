"""Read OpenFace's linear support vector regressors of AU intensities from its model folder."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, AU_NAMES
from miex.datasets.given_files import require_file

Array = NDArray[np.float64]

_Variant: TypeAlias = Literal["static", "dynamic"]
"""`static` judges each image alone; `dynamic` is OpenFace's choice for videos: most AUs relative to
the person's median face, the others static."""

_ENTRY_FILES: dict[_Variant, str] = {
    "static": "main_static_svms.txt",
    "dynamic": "main_dynamic_svms.txt",
}

_DOUBLE = 6
"""OpenCV's code of float64 in a matrix header."""

_STATIC_SVR, _DYNAMIC_SVR = 0, 1
_NO_CUTOFF = -1.0


@dataclass(frozen=True, slots=True)
class Regressors:
    """Regressors of the 17 AUs: ``intensity = (features - means - median) @ weights + bias``.

    The median counts only for those that are `relative`.

    Attributes:
        means: ``(17, F)`` mean features of the training set.
        weights: ``(17, F)``.
        biases: ``(17,)``.
        relative: ``(17,)``, which subtract the person's median features.
        cutoffs: ``(17,)``, share of a video's frames in which the AU is absent, learned by
            OpenFace's authors; NaN where there is none.
        shape_model: File of the shape model.
        triangulation: File of the triangles.
        sha256: Hash of all the files.
    """

    means: Array
    weights: Array
    biases: Array
    relative: NDArray[np.bool_]
    cutoffs: Array
    shape_model: Path
    triangulation: Path
    sha256: str

    @classmethod
    def read(cls, folder: Path, variant: _Variant) -> Self:
        """Read OpenFace's folder `AU_predictors`.

        Raises:
            FileNotFoundError: The folder or a file that it names is absent.
            ValueError: A file holds something else, or an AU has no regressor.
        """
        parts = dict(_pairs(_require(folder / _ENTRY_FILES[variant])))
        try:
            predictors, shape_model, triangulation = (
                _require(folder / parts[key]) for key in ("AUPredictor", "PDM", "Triangulation")
            )
        except KeyError as error:
            raise ValueError(
                f"{folder / _ENTRY_FILES[variant]}: no line {error}; expected AUPredictor, PDM and "
                "Triangulation with a file each"
            ) from None
        # Presence classifiers stand in the same list; their files begin with another type.
        files = {
            name: _require(folder / file)
            for file, name in _pairs(predictors)
            if file.startswith("svr")
        }
        absent = [name for name in AU_NAMES if name not in files]
        if absent:
            raise ValueError(f"{predictors}: no regressor (svr_...) of {', '.join(absent)}")
        digest = hashlib.sha256()
        for path in (shape_model, triangulation, *(files[name] for name in AU_NAMES)):
            digest.update(path.read_bytes())
        read = [_read_regressor(files[name]) for name in AU_NAMES]
        lengths = {len(one.weights) for one in read}
        if len(lengths) != 1:
            raise ValueError(f"{predictors}: regressors of {sorted(lengths)} features, mixed")
        return cls(
            np.stack([one.means for one in read]),
            np.stack([one.weights for one in read]),
            np.array([one.bias for one in read]),
            np.array([one.relative for one in read]),
            np.array([one.cutoff for one in read]),
            shape_model,
            triangulation,
            digest.hexdigest(),
        )

    def raw(self, features: NDArray[np.float32]) -> Array:
        """Return unlimited intensities ``(N, 17)`` of features ``(N, F)``, no median subtracted."""
        offset = self.biases - np.einsum("af,af->a", self.means, self.weights)
        intensities: Array = features @ self.weights.T + offset
        return intensities

    def of_median(self, median: Array) -> Array:
        """Return ``(17,)``: the share of `raw` that the median features ``(F,)`` explain."""
        return np.where(self.relative, self.weights @ median, 0.0)

    def resting_level(self, intensities: Array) -> Array:
        """Return ``(17,)``: the intensity up to which an AU counts as absent in a video.

        The order statistic at the learned cutoff (OpenFace's `ExtractAllPredictionsOfflineReg`).

        Args:
            intensities: ``(N, 17)`` of the frames with a face, N at least 1.
        """
        ordered = np.sort(intensities, axis=0)
        shares = np.nan_to_num(self.cutoffs)
        rows = np.minimum((len(ordered) * shares).astype(int), len(ordered) - 1)
        return np.where(np.isnan(self.cutoffs), 0.0, ordered[rows, np.arange(AU_COUNT)])


@dataclass(frozen=True, slots=True)
class _Regressor:
    means: Array
    weights: Array
    bias: float
    relative: bool
    cutoff: float


def _read_regressor(path: Path) -> _Regressor:
    """Read type, cutoff if dynamic, means, weights and bias; little-endian."""
    try:
        with path.open("rb") as file:
            kind = int(_numbers(file, "<i4", 1)[0])
            if kind not in (_STATIC_SVR, _DYNAMIC_SVR):
                raise ValueError(f"type {kind}, expected {_STATIC_SVR} or {_DYNAMIC_SVR}")
            cutoff = float(_numbers(file, "<f8", 1)[0]) if kind == _DYNAMIC_SVR else _NO_CUTOFF
            means, weights = _read_matrix(file), _read_matrix(file)
            bias = float(_numbers(file, "<f8", 1)[0])
            if file.read(1):
                raise ValueError("there is data after the bias")
        if means.shape != (1, weights.size) or weights.shape != (weights.size, 1):
            raise ValueError(f"means {means.shape}, weights {weights.shape}, expected 1 x F, F x 1")
        if cutoff != _NO_CUTOFF and not 0 <= cutoff < 1:
            raise ValueError(f"cutoff {cutoff}, expected a share")
    except ValueError as error:
        raise ValueError(f"{path}: no OpenFace regressor of AU intensity: {error}") from None
    cutoff = np.nan if cutoff == _NO_CUTOFF else cutoff
    return _Regressor(means[0], weights[:, 0], bias, kind == _DYNAMIC_SVR, cutoff)


def _read_matrix(file: BinaryIO) -> Array:
    rows, columns, kind = _numbers(file, "<i4", 3).tolist()
    if kind != _DOUBLE or min(rows, columns) < 1 or rows * columns > 10**7:
        raise ValueError(f"matrix of {rows} x {columns}, type {kind}, expected type {_DOUBLE}")
    return _numbers(file, "<f8", rows * columns).reshape(rows, columns)


def _numbers(file: BinaryIO, kind: str, count: int) -> NDArray[Any]:
    data = file.read(count * np.dtype(kind).itemsize)
    if len(data) != count * np.dtype(kind).itemsize:
        raise ValueError("it is cut off")
    return np.frombuffer(data, kind)


def _pairs(path: Path) -> list[tuple[str, str]]:
    """Return the two words of every line that has two."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [(words[0], words[1]) for words in map(str.split, lines) if len(words) == 2]


def _require(path: Path) -> Path:
    remedy = (
        "give OpenFace's folder `AU_predictors` (in OpenFace 2.2: "
        "lib/local/FaceAnalyser/AU_predictors, and part of its release archives), complete"
    )
    return require_file(path, "file of OpenFace", remedy)
