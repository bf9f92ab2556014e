"""Faces for the assessment of a generator: one photograph of each held-out identity."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from miex.datasets.base import Face, FaceQuality
from miex.datasets.files import sha256_file
from miex.datasets.given_files import require_file
from miex.generators.ganimation.training_set import FORMAT as TRAINING_FORMAT
from miex.generators.ganimation.training_set import Split, TrainingSet
from miex.pipeline.faces.crop import eye_centre_distance
from miex.pipeline.faces.table import FaceTable

_SPLIT: Split = "held_out"


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutFaces:
    """Photographs for an assessment, one per identity.

    Attributes:
        faces: Faces in the order of the file.
        origin: Name of the file, and of its split if it is a training set.
        sha256: SHA-256 of the file, hexadecimal.
        available: Number of identities in the file or split.
        labelled_by: Estimator that made the labels, if the file is a training set, else None.
    """

    faces: Sequence[Face]
    origin: str
    sha256: str
    available: int
    labelled_by: str | None


def open_held_out(path: Path, identities: int | None = None, seed: int = 0) -> HeldOutFaces:
    """Read one face per identity from the held-out split of a training set, or from a face table.

    Args:
        path: A training set or face table (.parquet).
        identities: Number of identities, drawn at random; all by default.
        seed: Seed of the draw.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is neither a training set nor a face table, is damaged, or has fewer
            identities.
    """
    if _is_training_set(path):
        table = TrainingSet.open(path)
        found = table.faces(_SPLIT)
        if not len(found):
            raise ValueError(
                f"{path}: the split {_SPLIT} of the training set is empty; make it again with "
                "held-out identities"
            )
        rows = _choose(found.identities, identities, seed, path)
        faces = [
            _bare_face(
                found.images[row], found.landmarks[row], found.identities[row], found.origins[row]
            )
            for row in rows
        ]
        origin = f"{path.name}, split {_SPLIT}"
        people = len(set(found.identities))
        return HeldOutFaces(faces, origin, table.sha256, people, table.notes.estimator)
    faces_of = FaceTable.open(path)
    rows = _choose(faces_of.identities, identities, seed, path)
    people = len(set(faces_of.identities))
    return HeldOutFaces(faces_of.load(rows), path.name, sha256_file(path), people, None)


def _is_training_set(path: Path) -> bool:
    require_file(path, "face table or training set", "`miex faces` makes a face table")
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return TRAINING_FORMAT.encode() in metadata.get(b"miex", b"")


def _choose(names: Sequence[str], wanted: int | None, seed: int, path: Path) -> list[int]:
    """Return the first row of each identity that was drawn."""
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        first.setdefault(name, row)
    rows = np.array(list(first.values()))
    if wanted is None:
        return [int(row) for row in rows]
    if wanted > len(rows):
        raise ValueError(
            f"identities: {wanted} requested, but {path} has {len(rows)}; request fewer"
        )
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    return [int(row) for row in np.sort(rng.choice(rows, size=wanted, replace=False))]


def _bare_face(crop: np.ndarray, landmarks: np.ndarray, identity: str, origin: str) -> Face:
    """Return a face with NaN for everything that a training set does not store."""
    nothing = float("nan")
    quality = FaceQuality(eye_centre_distance(landmarks), nothing, nothing, nothing, nothing)
    embedding = np.full(128, np.nan, np.float32)
    return Face(crop, landmarks, identity, origin, "", quality, embedding)
