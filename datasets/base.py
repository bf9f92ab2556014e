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
        origin: Where it comes from, ``SOURCE:relative/path``, stable across machines.
    """

    identity: str
    path: Path
    origin: str


class FaceSource(Protocol):
    """A reader of photographs of people. One file in `miex/datasets/faces/` each.

    Attributes:
        name: Short name, the first part of every `Photograph.origin`.
        licence: Under which terms the photographs may be used, one line.
    """

    @property
    def name(self) -> str: ...

    @property
    def licence(self) -> str: ...

    def photographs(self) -> Sequence[Photograph]:
        """Every photograph of the source, in an order that never depends on the file system."""
        ...


@dataclass(frozen=True, slots=True)
class FaceQuality:
    """What was measured when the face was prepared; thresholds on these decide what is kept.

    Attributes:
        face_size: Inter-ocular distance in the photograph, pixels.
        sharpness: Variance of the Laplacian of the grey crop (0-255 scale).
        yaw: Head turn, degrees, positive towards the right of the image.
        pitch: Head nod, degrees, positive downwards.
        roll: In-plane rotation, degrees, positive clockwise.
    """

    face_size: float
    sharpness: float
    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True, slots=True)
class Face:
    """A face that is ready for a generator.

    Attributes:
        crop: ``uint8 (S, S, 3)`` RGB, the square cut around the face.
        landmarks: ``float32 (68, 2)``, x and y in pixels of the crop, iBUG 300-W order.
        identity: Who is shown.
        origin: `Photograph.origin` of the source image.
        sha256: Hash of the source image's file, hexadecimal.
        quality: Measurements of the face.
        embedding: ``float32 (128,)`` identity embedding of the photograph, dlib's ResNet;
            two photographs of one person lie closer than 0.6 (Euclidean).
    """

    crop: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    identity: str
    origin: str
    sha256: str
    quality: FaceQuality
    embedding: NDArray[np.float32]
