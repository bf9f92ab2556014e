"""A small training set of synthetic faces moved by `warp`, so that every AU is known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from miex.au_sources.action_units import AU_COUNT, AU_NAMES
from miex.datasets.base import Face
from miex.generators.ganimation.training_notes import AUAgreement, TrainingNotes
from miex.generators.ganimation.training_set import TrainingRow, write_training_set
from miex.generators.warp import WarpGenerator

UNTRUSTED = ("AU14", "AU45")


def tint(face: Face, seed: int) -> Face:
    """Return the face with another brightness, as another identity."""
    rng = np.random.default_rng(seed)
    gain = rng.uniform(0.6, 1.1) * rng.uniform(0.85, 1.15, 3)
    return replace(face, crop=np.clip(face.crop * gain, 0, 255).astype(np.uint8))


def write_drawn_set(
    path: Path,
    face_of: Callable[..., Face],
    size: int = 64,
    counts: tuple[int, int, int] = (24, 8, 8),
    intensity: float = 4.0,
) -> Path:
    """Write a training set of identities with individual AUs; AU10 is NaN for every third."""
    warp = WarpGenerator(torch.device("cpu"))
    rng = np.random.default_rng(0)
    rows, number = [], 0
    for split, count in zip(("train", "validation", "held_out"), counts, strict=True):
        for _ in range(count):
            face = tint(face_of(max(size, 64), number, float(rng.uniform(-12, 12))), number)
            aus = np.where(rng.random(AU_COUNT) < 0.25, rng.uniform(0, intensity, AU_COUNT), 0)
            aus = aus.astype(np.float32)
            image = warp.render([warp.prepare(face)], aus[None])[0]
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
            landmarks = face.landmarks * np.float32(size / face.crop.shape[0])
            if number % 3 == 0:
                aus[AU_NAMES.index("AU10")] = np.nan
            data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
            name = f"drawn:{number}.png"
            rows.append(TrainingRow(data, "png", landmarks, aus, f"person {number}", name, split))
            number += 1
    agreement = tuple(AUAgreement(au, au not in UNTRUSTED, "drawn") for au in AU_NAMES)
    notes = TrainingNotes(size, "drawn faces", "warp", "1", agreement, {"drawn": "free"})
    write_training_set(path, rows, notes)
    return path
