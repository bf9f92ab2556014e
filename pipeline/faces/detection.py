"""Detection of faces, their 68 landmarks and an identity embedding, with dlib's models.

Models: the frontal HOG detector that is built into dlib, the CNN detector (King 2015,
arXiv:1502.00046), the 68-point shape predictor (Kazemi and Sullivan 2014; trained on iBUG 300-W,
which permits research use only), and the 128-dimensional ResNet embedding (dlib's
`face_recognition_resnet_model_v1`).
"""

import importlib.metadata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.models import (
    CHIP_SIDE,
    CNN_MODEL,
    EMBEDDING_MODEL,
    EMBEDDING_VERSION,
    MODELS,
    SHAPE_MODEL,
    model_file,
)

if TYPE_CHECKING:
    from miex.pipeline.faces.embedding import FaceEmbedding

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge of a face, in pixels."""

_CHIP_PADDING = 0.25
"""Margin around the face in its aligned copy, as in dlib's `compute_face_descriptor`."""

_CNN_SIDE = 320
"""Long side of the image that the CNN detector gets, in pixels.

At this size the CNN takes 0.6 s per image, and the smallest face that it finds is 80 pixels wide.
"""


class FaceDetector(Protocol):
    """Interface of the models that detect and describe faces in an image."""

    @property
    def name(self) -> str:
        """Names and versions of the models, as stored in the face table."""
        ...

    def find(self, image: NDArray[np.uint8]) -> list[Box]:
        """Return the boxes of all faces in an image.

        Args:
            image: ``uint8 (H, W, 3)`` RGB.

        Returns:
            Boxes in pixels of the image; empty where no face was found.
        """
        ...

    def landmarks(self, image: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        """Return the landmarks of the face in a box.

        Args:
            image: ``uint8 (H, W, 3)`` RGB.
            box: The face, in pixels of the image.

        Returns:
            ``float32 (68, 2)`` x and y in pixels of the image, iBUG 300-W order.
        """
        ...

    def align(self, image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the part of an image that `embed_all` takes.

        Args:
            image: ``uint8 (H, W, 3)`` RGB.
            landmarks: ``float32 (68, 2)`` pixels of the image.

        Returns:
            ``uint8 (150, 150, 3)`` RGB, the face in a fixed position.
        """
        ...

    def embed_all(self, chips: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return the identity embeddings of aligned faces; each depends on its face only.

        Args:
            chips: N faces, see `align`.

        Returns:
            ``float32 (N, 128)``; Euclidean distances between embeddings are comparable.
        """
        ...


class DlibDetector:
    """Face detector that tries dlib's models in turn, the fastest first.

    The HOG detector runs first. Where it finds no face, it runs again on the image at double size,
    which finds faces from 40 pixels. Where that finds no face either, the CNN detector runs on a
    small copy of the image; it also finds turned and partly covered faces.

    Args:
        config: Image sizes for detection, and whether the CNN detector is used.

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

    # The models are loaded at first use, since loading takes most of a second and 130 MB.

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
    def _embedding(self) -> "FaceEmbedding":
        # Imported here so that configs and help texts need no PyTorch.
        from miex.pipeline.faces.embedding import read_model

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
        small, scale = _fit(image, _CNN_SIDE)
        return [_box(detection.rect, scale) for detection in self._cnn(small, 0)]

    def landmarks(self, image: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        """See `FaceDetector.landmarks`."""
        shape = self._shape(np.ascontiguousarray(image), self._rectangle(box))
        return np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float32)

    def embed(
        self, image: NDArray[np.uint8], landmarks: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the identity embedding of one face, as `embed_all` within 1e-6.

        Args:
            image: ``uint8 (H, W, 3)`` RGB.
            landmarks: ``float32 (68, 2)`` pixels of the image.

        Returns:
            ``float32 (128,)``.
        """
        return self._embedding.embed(self.align(image, landmarks))

    def embed_all(self, chips: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See `FaceDetector.embed_all`."""
        return self._embedding.embed_all(chips)

    def align(self, image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
        """See `FaceDetector.align`."""
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
        return np.asarray(chip, np.uint8)

    def _rectangle(self, box: Box) -> Any:
        return self._dlib.rectangle(*(round(edge) for edge in box))


def _fit(image: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], float]:
    """Return a contiguous image with at most this long side, and its scale (at most 1)."""
    scale = min(1.0, side / max(image.shape[:2]))
    if scale == 1.0:
        return np.ascontiguousarray(image), scale
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def _box(rectangle: Any, scale: float) -> Box:
    edges = (rectangle.left(), rectangle.top(), rectangle.right(), rectangle.bottom())
    left, top, right, bottom = (edge / scale for edge in edges)
    return left, top, right, bottom
