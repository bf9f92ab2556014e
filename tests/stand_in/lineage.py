"""Who may be in the stand-in and who may be in training: nobody is in both.

Two rules, of names alone, so that they hold on every machine:

- **Faces.** The textures come from the identities whose hash is among the first 9.5 % (`kept_out`),
  and none of these may be the template of a synthesized sample. The hash is the one by which
  `miex.pipeline.generator_training.split` ranks people with seed 0: they are thus among the
  held-out
  identities of the default split of a GANimation training set as well, so that no generator has
  learnt from them; names that look like one person can shift that split, and the one texture so
  found is not used (`UNSUITABLE` in `make.py`).
- **Action Units.** The 94 subjects of CAS(ME)3 part A fall into two halves. One half drives the
  stand-in, the other may feed a `real_mie` pool of training. A pool of all of them would leak the
  very AU combinations and labels of the test clips, and the guard of the folds could not see it: to
  it the stand-in's subjects are (stand_in, actor01) and so on.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from miex.datasets.base import Rejection
from miex.pipeline.faces.selection import near_pairs
from miex.pipeline.faces.table import SCHEMA, FaceTable, floats, write_face_table

KEPT_OUT_SHARE = 0.095
"""487 of the 5,000 identities of LFW."""

SAME_PERSON = 0.38
"""Distance of dlib's embeddings below which two names may be one person; as in
`miex.pipeline.generator_training.config`."""


def kept_out(identity: str) -> bool:
    """Whether an identity is reserved for the stand-in."""
    rank = hashlib.sha256(f"0 {identity}".encode()).digest()
    return int.from_bytes(rank[:8], "big") / 2**64 < KEPT_OUT_SHARE


def by_rank(identities: Iterable[str]) -> list[str]:
    """Identities in the order of their hash, in which textures are looked for."""
    return sorted(identities, key=lambda name: hashlib.sha256(f"0 {name}".encode()).digest())


def drives_stand_in(subject: str) -> bool:
    """Whether a subject of CAS(ME)3 drives the stand-in; the others may feed training."""
    return hashlib.sha256(subject.encode()).digest()[0] % 2 == 1


def write_face_table_without(source: Path, out: Path) -> dict[str, int]:
    """Writes a face table without the identities that are reserved, nor people who look like them.

    Args:
        source: A face table of `miex faces`.
        out: The new one; what is left out is among its rejections.

    Returns:
        How many faces each reason has removed: ``kept_for_stand_in``, ``looks_like_stand_in``.

    Raises:
        FileNotFoundError: No face table.
        ValueError: A file that is none, or nothing is left.
    """
    opened = FaceTable.open(source)
    table = pq.read_table(source).replace_schema_metadata(None)
    identities = table["identity"].to_pylist()
    reserved = np.array([kept_out(name) for name in identities])
    alike = _alike(floats(table["embedding"]).reshape(-1, 128), reserved)
    left = ~(reserved | alike)
    if not left.any():
        raise ValueError(f"{source}: every face belongs to the stand-in; give a larger table")
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
    """Faces that are not reserved but near one that is."""
    alike = np.zeros(len(embeddings), bool)
    for i, j, _ in near_pairs(embeddings, SAME_PERSON):
        if reserved[i] != reserved[j]:
            alike[[i, j]] = True
    return alike & ~reserved


def _rejections(
    origins: Sequence[str], which: NDArray[np.bool_], reason: str, detail: str
) -> list[Rejection]:
    return [Rejection(origins[row], reason, detail) for row in np.flatnonzero(which)]
