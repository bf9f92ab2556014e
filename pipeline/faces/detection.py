"""Finds faces, their 68 landmarks and an identity embedding, with dlib's models.

Models: frontal HOG detector (built into dlib), CNN detector (King 2015, arXiv:1502.00046),
68-point shape predictor (Kazemi and Sullivan 2014, trained on iBUG 300-W: research use only), and
the 128-D ResNet embedding (dlib's `face_recognition_resnet_model_v1`).
"""

import importlib.metadata
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.embedding import (
    CHIP_SIDE,
    EMBEDDING_VERSION,
    FaceEmbedding,
    read_model,
)
from miex.pipeline.faces.models import (
    CNN_MODEL,
    EMBEDDING_MODEL,
    MODELS,
    SHAPE_MODEL,
    model_file,
)

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

_CHIP_PADDING = 0.25
"""Share of the face around it in its aligned copy, as dlib's `compute_face_descriptor` has it."""

CNN_SIDE = 320
"""Pixels; the CNN takes 0.6 s for that and its smallest face is a quarter of it."""


class FaceDetector(Protocol):
    """Finds and describes faces in an image.

    Attributes:
        name: Which models in which version; a face table remembers it.
    """

    @property
    def name(self) -> str:
        """Which models in which version."""
        ...

    def find(self, image: NDArray[np.uint8]) -> list[Box]:
        """Boxes of every face.

        Args:
            image: ``uint8 (H, W, 3)`` RGB.
        """
        ...

    def landmarks(self, image: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        """``(68, 2)`` x and y of the landmarks of the face in a box, pixels, iBUG 300-W order."""
        ...

    def embed(
        self, image: NDArray[np.uint8], landmarks: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """``(128,)`` identity embedding of the face with these landmarks."""
        ...


class DlibDetector:
    """dlib's detectors one after the other, from the fastest to the most patient.

    HOG first; where it finds nothing, HOG on the doubled image (faces from 40 pixels); where that
    finds nothing either, the CNN on a small copy (turned and covered faces).

    Args:
        config: Sizes, and whether the CNN may be used.

    Raises:
        FileNotFoundError: A model file is missing.
    """

    def __init__(self, config: FaceConfig) -> None:
        # Imported here so that reading face tables and configs needs no dlib.
        import dlib

        self._dlib: Any = dlib
        self._side = config.detection_side
        self._cnn_allowed = config.cnn
        self._files = {name: str(model_file(name)) for name in MODELS}

    @property
    def name(self) -> str:
        """See `FaceDetector`."""
        models = importlib.metadata.version("face_recognition_models")
        return (
            f"dlib {self._dlib.__version__}, face_recognition_models {models}, "
            f"embedding {EMBEDDING_VERSION}"
        )

    # Models are loaded when first used: they take most of a second and 130 MB.

    @cached_property
    def _hog(self) -> Any:
        return self._dlib.get_frontal_face_detector()

    @cached_property
    def _cnn(self) -> Any:
        return self._dlib.cnn_face_detection_model_v1(self._files[CNN_MODEL])

    @cached_property
    def _shape(self) -> Any:
        return self._dlib.shape_predictor(self._files[SHAPE_MODEL])

    @cached_property
    def _embedding(self) -> FaceEmbedding:
        return read_model(Path(self._files[EMBEDDING_MODEL]))

    def find(self, image: NDArray[np.uint8]) -> list[Box]:
        """See `FaceDetector.find`."""
        small, scale = _fit(image, self._side)
        for upsampling in (0, 1):
            found, _, _ = self._hog.run(small, upsampling, 0.0)
            if found:
                return [_box(rectangle, scale) for rectangle in found]
        if not self._cnn_allowed:
            return []
        small, scale = _fit(image, CNN_SIDE)
        return [_box(detection.rect, scale) for detection in self._cnn(small, 0)]

    def landmarks(self, image: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        """See `FaceDetector.landmarks`."""
        shape = self._shape(np.ascontiguousarray(image), self._rectangle(box))
        return np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float32)

    def embed(
        self, image: NDArray[np.uint8], landmarks: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """See `FaceDetector.embed`."""
        points = self._dlib.points(
            [self._dlib.point(round(float(x)), round(float(y))) for x, y in landmarks]
        )
        left, top = landmarks.min(axis=0)
        right, bottom = landmarks.max(axis=0)
        shape = self._dlib.full_object_detection(
            self._rectangle((float(left), float(top), float(right), float(bottom))), points
        )
        chip = self._dlib.get_face_chip(
            np.ascontiguousarray(image), shape, size=CHIP_SIDE, padding=_CHIP_PADDING
        )
        return self._embedding.embed(chip)

    def _rectangle(self, box: Box) -> Any:
        return self._dlib.rectangle(*(round(edge) for edge in box))


def _fit(image: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], float]:
    """A contiguous copy with at most this long side, and the scale at which it was made."""
    scale = min(1.0, side / max(image.shape[:2]))
    if scale == 1.0:
        return np.ascontiguousarray(image), scale
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def _box(rectangle: Any, scale: float) -> Box:
    edges = (rectangle.left(), rectangle.top(), rectangle.right(), rectangle.bottom())
    left, top, right, bottom = (edge / scale for edge in edges)
    return left, top, right, bottom
