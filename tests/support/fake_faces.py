"""Synthetic photographs and a detector for them, so that tests need no models.

A "face" is a square whose red is bright; its green says whose face it is, its blue is a texture.
"""

from pathlib import Path

import cv2
import numpy as np

from miex.au_sources.face_motion import motion_table
from miex.datasets.base import Photograph


def draw_photograph(person: int, seed: int, faces=((60, 50, 120),), shape=(240, 240)) -> np.ndarray:
    """Draw a photograph with faces given by (left, top, side)."""
    rng = np.random.default_rng([person, seed])
    image = rng.integers(0, 90, (*shape, 3), dtype=np.uint8)
    for left, top, side in faces:
        coarse = rng.integers(0, 255, (12, 12), dtype=np.uint8)
        texture = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR)
        square = image[top : top + side, left : left + side]
        square[..., 0] = 250
        square[..., 1] = 16 * person + 8
        square[..., 2] = texture
    return image


def save(image: np.ndarray, path: Path, **options) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


class FakeDetector:
    """A deterministic detector; `config` is ignored."""

    name = "fake 1"

    def __init__(self, config) -> None:
        pass

    def find(self, image):
        red = (image[..., 0] > 180).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(red)
        return [
            (float(x), float(y), float(x + w), float(y + h))
            for x, y, w, h, area in stats[1:count]
            if area > 100
        ]

    def landmarks(self, image, box):
        left, top, right, bottom = box
        neutral = motion_table().neutral[:, :2]
        centre = np.array([(left + right) / 2, top + 0.35 * (bottom - top)])
        return (centre + 0.45 * (right - left) * neutral).astype(np.float32)

    def align(self, image, landmarks):
        x, y = landmarks[30].astype(int)
        return image[y - 3 : y + 4, x - 3 : x + 4]

    def embed_all(self, chips):
        people = [int(np.median(chip[..., 1])) // 16 for chip in chips]
        vectors = [np.random.default_rng(person).normal(size=128) for person in people]
        scaled = [vector / np.linalg.norm(vector) for vector in vectors]
        return np.reshape(scaled, (len(chips), 128)).astype(np.float32)


class ListSource:
    """A source of given photographs."""

    name = "list"
    licence = "none needed"

    def __init__(self, photographs, skipped=()) -> None:
        self._photographs = list(photographs)
        self._skipped = list(skipped)

    def photographs(self):
        return self._photographs

    def skipped(self):
        return self._skipped


def drawn_source(folder: Path, people: int, each: int = 1) -> ListSource:
    """Return a source of `people` identities with `each` photographs."""
    photographs = []
    for person in range(people):
        for seed in range(each):
            name = f"p{person}-{seed}.png"
            path = save(draw_photograph(person, seed), folder / name)
            photographs.append(Photograph(f"p{person}", path, f"list:{name}"))
    return ListSource(photographs)
