"""Separation of the identities and subjects of the stand-in from those used in training.

Two rules depend on names only, so that they give the same result on every machine:

- **Faces.** The textures come from the identities whose hash is in the lowest 9.5 % (`kept_out`).
  None of these identities may be the template of a synthesized sample. The hash is the one by which
  `miex.pipeline.generator_training.split` ranks identities with seed 0. The identities are
  therefore also held out in the default split of a GANimation training set, and no generator is
  trained on them. Names that look like one person can change that split; the one texture for which
  this happened is not used (`UNSUITABLE` in `make.py`).
- **Action Units.** The 94 subjects of CAS(ME)3 part A are divided into two halves. The AUs of one
  half are rendered in the stand-in; the other half can be used for a `real_mie` pool for training.
  A pool of all subjects would leak the AU combinations and labels of the test clips. The leakage
  check of the folds would not detect this, since the subjects of the stand-in have other names:
  (stand_in, actor01) and so on.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from miex.datasets.base import Rejection
from miex.datasets.image_tables import floats
from miex.pipeline.faces.near import near_pairs
from miex.pipeline.faces.table import FaceTable, write_face_table
from miex.pipeline.faces.table_file import SCHEMA

KEPT_OUT_SHARE = 0.095
"""Share of the identities that is reserved for the stand-in: 487 of the 5,000 of LFW."""

SAME_PERSON = 0.38
"""Distance of dlib's embeddings below which two names may be one person.

The value is the one in `miex.pipeline.generator_training.config`.
"""


def kept_out(identity: str) -> bool:
    """Return whether an identity is reserved for the stand-in."""
    rank = hashlib.sha256(f"0 {identity}".encode()).digest()
    return int.from_bytes(rank[:8], "big") / 2**64 < KEPT_OUT_SHARE


def by_rank(identities: Iterable[str]) -> list[str]:
    """Return the identities in the order of their hash, in which textures are searched."""
    return sorted(identities, key=lambda name: hashlib.sha256(f"0 {name}".encode()).digest())


def drives_stand_in(subject: str) -> bool:
    """Return whether the AUs of a CAS(ME)3 subject are rendered; the others are for training."""
    return hashlib.sha256(subject.encode()).digest()[0] % 2 == 1


def write_face_table_without(source: Path, out: Path) -> dict[str, int]:
    """Write a face table without the reserved identities and without identities that resemble them.

    Args:
        source: A face table of `miex faces`.
        out: The face table to write; the removed faces are listed among its rejections.

    Returns:
        Number of removed faces by reason, ``kept_for_stand_in`` and ``looks_like_stand_in``.

    Raises:
        FileNotFoundError: The face table does not exist.
        ValueError: The file is no face table, or no face is left.
    """
    opened = FaceTable.open(source)
    table = pq.read_table(source).replace_schema_metadata(None)
    identities = table["identity"].to_pylist()
    reserved = np.array([kept_out(name) for name in identities])
    alike = _alike(floats(table["embedding"]).reshape(-1, 128), reserved)
    left = ~(reserved | alike)
    if not left.any():
        raise ValueError(
            f"{source}: every face is reserved for the stand-in; give a larger face table"
        )
    origins = table["origin"].to_pylist()
    removed = [
        *_rejections(origins, reserved, "kept_for_stand_in", "its identity is used in tests alone"),
        *_rejections(
            origins,
            alike & ~reserved,
            "looks_like_stand_in",
            f"nearer than {SAME_PERSON} to a reserved identity: perhaps a second name of it",
        ),
    ]
    rest = table.filter(left).select(SCHEMA.names)
    write_face_table(out, [rest], opened.notes, [*opened.rejections, *removed])
    return {
        "kept_for_stand_in": int(reserved.sum()),
        "looks_like_stand_in": int((alike & ~reserved).sum()),
    }


def _alike(embeddings: NDArray[np.float32], reserved: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which faces are not reserved but resemble a reserved one."""
    alike = np.zeros(len(embeddings), bool)
    for i, j, _ in near_pairs(embeddings, SAME_PERSON):
        if reserved[i] != reserved[j]:
            alike[[i, j]] = True
    return alike & ~reserved


def _rejections(
    origins: Sequence[str], which: NDArray[np.bool_], reason: str, detail: str
) -> list[Rejection]:
    return [Rejection(origins[row], reason, detail) for row in np.flatnonzero(which)]
