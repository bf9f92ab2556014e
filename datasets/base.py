"""Records that readers hand out, and what a reader of faces is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Photograph:
    """One image file that may show a face, before anything was detected in it.

    Attributes:
        identity: Who is shown. Two photographs of one person share it.
        path: The image file.
        origin: Where it comes from, ``SOURCE:relative/path``, stable across machines and unique
            in its source.
        region: The part in which to look for the face, (left, top, right, bottom) in pixels of
            the upright image; None for all of it. For pictures of several people.
        licence: Terms of this photograph where they differ from its source's.
    """

    identity: str
    path: Path
    origin: str
    region: tuple[int, int, int, int] | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """Something that was left out, and why. Nothing is dropped without one.

    Attributes:
        origin: `Photograph.origin`, or the like for a file that is no photograph.
        reason: One of few words, to count by, for instance ``no_face``.
        detail: What was measured and what was expected.
    """

    origin: str
    reason: str
    detail: str


class FaceSource(Protocol):
    """A reader of photographs of people. One file in `miex/datasets/faces/` each.

    Attributes:
        name: Short name, the first part of every `Photograph.origin`.
        licence: Under which terms the photographs may be used, one line.
    """

    @property
    def name(self) -> str:
        """Short name."""
        ...

    @property
    def licence(self) -> str:
        """Terms, one line."""
        ...

    def photographs(self) -> Sequence[Photograph]:
        """Every photograph of the source, in an order that never depends on the file system."""
        ...

    def skipped(self) -> Sequence[Rejection]:
        """What the reader found but left out: files that are no images, rows without a file."""
        ...


@dataclass(frozen=True, slots=True)
class FaceQuality:
    """What was measured when the face was prepared; thresholds on these decide what is kept.

    Attributes:
        face_size: Distance of the eye centres in the photograph, pixels.
        sharpness: Variance of the Laplacian of the face in a grey crop of 128 pixels (0-255
            scale), whatever the size of the face's own crop.
        yaw: Head turn, degrees, positive towards the right of the image.
        pitch: Head nod, degrees, positive downwards.
        roll: In-plane rotation in the photograph, degrees, positive clockwise. The crop itself
            is upright.
        outside: Share of the crop that lies outside the photograph (and is its reflection), 0-1.
        mouth_opening: Gap between the inner lips in distances of the eye centres.
        misfit: Distance of the landmarks from a neutral head in the fitted pose, root mean
            square, in distances of the eye centres; large where the landmarks are wrong.
    """

    face_size: float
    sharpness: float
    yaw: float
    pitch: float
    roll: float
    outside: float = 0.0
    mouth_opening: float = 0.0
    misfit: float = 0.0


@dataclass(frozen=True, slots=True)
class Face:
    """A face that is ready for a generator.

    Attributes:
        crop: ``uint8 (S, S, 3)`` RGB, the square cut around the face, eyes level, by the
            convention of `miex.pipeline.faces.crop`.
        landmarks: ``float32 (68, 2)``, x and y in pixels of the crop, iBUG 300-W order.
        identity: Who is shown.
        origin: `Photograph.origin` of the source image.
        sha256: Hash of the source image's file, hexadecimal.
        quality: Measurements of the face.
        embedding: ``float32 (128,)`` identity embedding of the photograph, dlib's ResNet;
            two photographs of one person lie closer than 0.6 (Euclidean).
        transform: ``float64 (2, 3)`` matrix M with ``crop point = M @ (x, y, 1)`` for a point of
            the upright photograph at its own size; pixel centres have integer coordinates. None
            where it is not known.
    """

    crop: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    identity: str
    origin: str
    sha256: str
    quality: FaceQuality
    embedding: NDArray[np.float32]
    transform: NDArray[np.float64] | None = None
