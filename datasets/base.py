"""Records that readers return, and the interface of a reader of faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Photograph:
    """Image file that may show a face, before detection.

    Attributes:
        identity: Person who is shown; the same for all photographs of that person.
        path: The image file.
        origin: ``SOURCE:relative/path``, the same on every machine and unique in its source.
        region: Part of the image that is searched for the face, (left, top, right, bottom) in
            pixels of the upright image; None for the whole image. For pictures of several people.
        licence: Terms of this photograph where they differ from its source's.
    """

    identity: str
    path: Path
    origin: str
    region: tuple[int, int, int, int] | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """Item that was left out, with the reason. Nothing is dropped without one.

    Attributes:
        origin: `Photograph.origin`, or the same for a file that is no photograph.
        reason: Short reason by which rejections are counted, as ``no_face``.
        detail: Measured and expected value.
    """

    origin: str
    reason: str
    detail: str


class FaceSource(Protocol):
    """Reader of photographs of people; one file in `datasets/faces/` each.

    Attributes:
        name: Short name, the first part of every `Photograph.origin`.
        licence: Terms of use of the photographs, one line.
    """

    @property
    def name(self) -> str:
        """Short name."""
        ...

    @property
    def licence(self) -> str:
        """Terms of use, one line."""
        ...

    def photographs(self) -> Sequence[Photograph]:
        """Return all photographs of the source, in an order independent of the file system."""
        ...

    def skipped(self) -> Sequence[Rejection]:
        """Return what was found but left out: files that are no images, rows without a file."""
        ...


@dataclass(frozen=True, slots=True)
class FaceQuality:
    """Measurements of a prepared face; thresholds on them decide whether it is kept.

    Attributes:
        face_size: Distance between the eye centres in the photograph, in pixels.
        sharpness: Variance of the Laplacian of the face in a grey crop of 128 pixels (0-255
            scale), independent of the size of the face's own crop.
        yaw: Head turn, degrees, positive towards the right of the image.
        pitch: Head nod, degrees, positive downwards.
        roll: In-plane rotation in the photograph, degrees, positive clockwise. The crop itself
            is upright.
        outside: Share of the crop outside the photograph (filled by reflection), 0-1.
        mouth_opening: Distance between the inner lips, in distances between the eye centres.
        misfit: Root mean square distance between the landmarks and a neutral head in the fitted
            pose, in distances between the eye centres; large where the landmarks are wrong.
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
    """Face that is ready for a generator.

    Attributes:
        crop: ``uint8 (S, S, 3)`` RGB square around the face with level eyes, by the convention of
            `miex.pipeline.faces.crop`.
        landmarks: ``float32 (68, 2)``, x and y in pixels of the crop, iBUG 300-W order.
        identity: Person who is shown.
        origin: `Photograph.origin` of the source image.
        sha256: Hash of the source image's file, hexadecimal.
        quality: Measurements of the face.
        embedding: ``float32 (128,)`` identity embedding of the photograph, dlib's ResNet;
            the Euclidean distance of two photographs of one person is below 0.6.
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
