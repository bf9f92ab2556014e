"""Estimate AUs with the detectors of py-feat (Cheong et al.: Py-Feat, Affective Science 2023).

There are two generations in py-feat 2.1: Detectorv2, one network for all tasks, and Detectorv1,
boosted trees on gradient histograms. Both give the probability that an AU is present, not its
intensity: `miex.au_sources.calibration` maps it onto FACS intensity. Of its 20 AUs the four outside
the 17 are dropped (11, 24, 28, 43); AU45 is not measured: AU43 (closed eyes) is not a blink.
"""

import hashlib
import importlib
import importlib.metadata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from miex.au_sources.action_units import (
    AU_COUNT,
    AU_NUMBERS,
    PYFEAT_AU_NUMBERS,
    from_pyfeat,
)
from miex.au_sources.estimators.base import (
    AUEstimator,
    Estimates,
    EstimatorOptions,
    Frame,
    Scale,
    register_estimator,
    require_images,
    require_landmarks,
)
from miex.datasets.registry import Facts

Generation: TypeAlias = Literal["v1", "v2"]

AU_COLUMNS = tuple(f"AU{number:02d}" for number in PYFEAT_AU_NUMBERS)

_BOX_COLUMNS = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight")

_SCORE_COLUMN = "FaceScore"

_FRAME_COLUMN = "frame"

_BOX_TOLERANCE = 0.5
"""How far the middle of the landmarks may lie from the middle of a face's box, shares of its
longer side."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file on the Hugging Face hub; py-feat takes the first of its names that exists."""

    repository: str
    names: tuple[str, ...]


class PyFeatEstimator:
    """Measure AUs with py-feat.

    It finds the faces by itself; of several it takes the one that given landmarks belong to,
    otherwise the one that its detector is surest of.

    Detectorv1 reads its trees with skops and trusts every type they name, which is py-feat's
    choice; Detectorv2 reads safetensors only.

    Args:
        generation: `v1` or `v2`.
        device: As for `create_estimator`.
        download: Whether absent weights may be fetched from the Hugging Face hub.

    Raises:
        ModuleNotFoundError: py-feat is not installed.
        FileNotFoundError: Weights are absent; the message says which, and how to get them.
        ValueError: No such generation.
    """

    name: ClassVar[str] = "pyfeat"
    aus: ClassVar[tuple[int, ...]] = tuple(
        number for number in AU_NUMBERS if number in PYFEAT_AU_NUMBERS
    )
    scale: ClassVar[Scale] = "probability"
    needs_landmarks: ClassVar[bool] = False

    def __init__(
        self, generation: Generation = "v2", device: str = "auto", download: bool = False
    ) -> None:
        if generation not in ("v1", "v2"):
            raise ValueError(
                f"pyfeat:{generation}: py-feat has the detectors v1 and v2; write `pyfeat:v1` or "
                "`pyfeat:v2`"
            )
        try:
            installed = importlib.metadata.version("py-feat")
        except importlib.metadata.PackageNotFoundError:
            raise ModuleNotFoundError(
                "the estimator `pyfeat` needs py-feat 2.1: `pip install 'py-feat==2.1.*'`"
            ) from None
        files = _locate(_weights(generation), download)
        self._detector = _create(generation, device)
        digest = hashlib.sha256()
        for file in files:
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        self._version = f"py-feat {installed} Detector{generation}, {digest.hexdigest()[:12]}"

    @property
    def version(self) -> str:
        """See `AUEstimator.version`."""
        return self._version

    def estimate(self, images: Sequence[Frame], landmarks: ArrayLike | None = None) -> Estimates:
        """See `AUEstimator.estimate`."""
        frames = require_images(images)
        points = None
        if landmarks is not None:
            points = require_landmarks(landmarks, len(frames), self.name)
        # Batches need images of one size.
        sizes: dict[tuple[int, ...], list[int]] = {}
        for row, frame in enumerate(frames):
            sizes.setdefault(frame.shape, []).append(row)
        aus = np.full((len(frames), AU_COUNT), np.nan, np.float32)
        confidence = np.full(len(frames), np.nan, np.float32)
        for rows in sizes.values():
            table = self._detect(np.stack([frames[row] for row in rows]))
            chosen = None if points is None else points[rows]
            found = from_table(table, len(rows), chosen)
            aus[rows] = found.aus
            if found.confidence is not None:
                confidence[rows] = found.confidence
        return Estimates(aus, ~np.isnan(confidence), confidence)

    def _detect(self, batch: NDArray[np.uint8]) -> Mapping[str, Any]:
        torch = importlib.import_module("torch")
        tensor = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())
        with _offline(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self._detector.detect(
                tensor, data_type="tensor", batch_size=len(batch), progress_bar=False
            )
        return cast(Mapping[str, Any], found)


def from_table(
    table: Mapping[str, Any], count: int, landmarks: NDArray[np.float64] | None = None
) -> Estimates:
    """Return the AUs of a result table of py-feat.

    Args:
        table: A `Fex`, or the columns of its CSV by name: a row for each face. Without a column
            `frame` every row is a frame of its own.
        count: Number of frames N, numbered from 0.
        landmarks: ``(N, 68, 2)`` pixels, of the face that is meant in each frame; NaN or None for
            the face that the detector is surest of.

    Returns:
        A row for every frame; the confidence is py-feat's face score.

    Raises:
        ValueError: A column is absent, a frame beyond N, or a probability outside 0 to 1.
    """
    needed = (*AU_COLUMNS, *_BOX_COLUMNS, _SCORE_COLUMN)
    absent = [name for name in needed if name not in table]
    if absent:
        raise ValueError(f"py-feat's table: columns {', '.join(absent)} absent")
    columns = {name: np.asarray(table[name], dtype=np.float64) for name in needed}
    probabilities = np.stack([columns[name] for name in AU_COLUMNS], axis=-1)
    boxes = np.stack([columns[name] for name in _BOX_COLUMNS], axis=-1)
    faces = len(boxes)
    frames = np.asarray(table[_FRAME_COLUMN] if _FRAME_COLUMN in table else np.arange(faces))
    if faces and not 0 <= frames.min() <= frames.max() < count:
        raise ValueError(
            f"py-feat's table: frames {frames.min():g} to {frames.max():g}, expected 0 to "
            f"{count - 1}"
        )
    aus = np.full((count, AU_COUNT), np.nan, np.float32)
    confidence = np.full(count, np.nan, np.float32)
    known = np.isfinite(boxes).all(axis=1) & ~np.isnan(probabilities).any(axis=1)
    for frame in np.unique(frames[known]).astype(int):
        rows = np.flatnonzero(known & (frames == frame))
        face = landmarks[frame] if landmarks is not None else None
        row = _choose(boxes[rows], columns[_SCORE_COLUMN][rows], face)
        if row is not None:
            aus[frame] = from_pyfeat(probabilities[rows[row]])
            confidence[frame] = np.clip(columns[_SCORE_COLUMN][rows[row]], 0, 1)
    return Estimates(aus, ~np.isnan(confidence), confidence)


def _choose(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], face: NDArray[np.float64] | None
) -> int | None:
    """Return the index of the box (x, y, width, height) of the face that is meant."""
    if face is None or not np.isfinite(face).all():
        return int(np.argmax(scores))
    middles = boxes[:, :2] + boxes[:, 2:] / 2
    wanted = (face.min(axis=0) + face.max(axis=0)) / 2
    distances = np.linalg.norm(middles - wanted, axis=1) / boxes[:, 2:].max(axis=1)
    nearest = int(np.argmin(distances))
    return nearest if distances[nearest] <= _BOX_TOLERANCE else None


def _weights(generation: Generation) -> list[WeightFile]:
    """Return the weights that a detector of this generation loads for AUs (py-feat 2.1)."""
    faces = WeightFile(
        "py-feat/retinaface_r34", ("model.safetensors", "retinaface_r34.safetensors")
    )
    if generation == "v2":
        multitask = importlib.import_module("feat.multitask.inference")
        return [faces, WeightFile(multitask.HF_REPO, (multitask.HF_WEIGHTS_FILE,))]
    trees = ("xgb_au_classifier_v2.skops", "xgb_au_classifier.skops")
    return [
        faces,
        WeightFile("py-feat/mobilefacenet", ("mobilefacenet_model_best.pth.tar",)),
        WeightFile("py-feat/xgb_au", trees),
    ]


def _locate(wanted: Sequence[WeightFile], download: bool) -> list[Path]:
    """Return the paths of weights in py-feat's cache; fetch missing ones if that is allowed."""
    hub = importlib.import_module("huggingface_hub")
    folder = importlib.import_module("feat.utils.io").get_resource_path()
    cached = {
        one: [
            hub.try_to_load_from_cache(one.repository, name, cache_dir=folder) for name in one.names
        ]
        for one in wanted
    }
    found = {
        one: [Path(path) for path in paths if isinstance(path, str)]
        for one, paths in cached.items()
    }
    absent = [one for one in wanted if not found[one]]
    if absent and not download:
        commands = "\n".join(
            f"  hf download {one.repository} {one.names[0]} --cache-dir {folder}" for one in absent
        )
        raise FileNotFoundError(
            "py-feat's weights "
            + ", ".join(f"{one.repository}/{one.names[0]}" for one in absent)
            + f" are absent from {folder}; nothing is fetched unless told: give --download (in "
            f"Python download=True), or fetch them with\n{commands}"
        )
    fetch = importlib.import_module("feat.utils").hf_hub_download_with_fallback
    for one in absent:
        try:
            found[one] = [Path(fetch(one.repository, one.names[0], one.names[-1], folder))]
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"py-feat's weights {one.repository}/{one.names[0]} cannot be fetched: "
                f"{str(error).splitlines()[0]}"
            ) from None
    return [found[one][0] for one in wanted]


def _create(generation: Generation, device: str) -> Any:
    """Create the detector from weights in the cache."""
    torch = importlib.import_module("torch")
    name = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(name)
    except RuntimeError:
        raise ValueError(f"no device is called {device!r}; expected auto, cpu, cuda, ...") from None
    gradients = torch.is_grad_enabled()
    feat = importlib.import_module("feat")
    try:
        with _offline(), warnings.catch_warnings():
            # py-feat warns that RetinaFace gives no head pose, which is not used here.
            warnings.simplefilter("ignore")
            if generation == "v2":
                return feat.Detectorv2(device=place, identity_model=None)
            return feat.Detectorv1(
                device=place, emotion_model=None, identity_model=None, gaze_model=None
            )
    finally:
        # py-feat's RetinaFace switches gradients off for the whole process.
        torch.set_grad_enabled(gradients)


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the Hugging Face hub from using the network, even for newer versions of a file."""
    constants: Any = importlib.import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


_FACTS = Facts(
    about="py-feat's detectors, `pyfeat:v1` or `pyfeat:v2`; needs py-feat's weights, which it "
    "downloads only with `--download`; probability, 16 AUs, not 45",
    title="py-feat",
    written="pyfeat",
)


@register_estimator(PyFeatEstimator.name, _FACTS)
def create_pyfeat(options: EstimatorOptions) -> AUEstimator:
    """Create the estimator; the model is the generation, `v1` or `v2`."""
    generation = cast(Generation, options.model or "v2")
    return PyFeatEstimator(generation, options.device, options.download)
