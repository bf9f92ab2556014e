"""Summarise the faces of a dataset: the measurements of their table, and their origin."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from miex.datasets.dataset_format import DatasetFolder
from miex.pipeline.faces.near import near_pairs
from miex.pipeline.faces.table import FaceTable, has_face_table
from miex.pipeline.faces.table_file import QUALITIES
from miex.pipeline.reports.samples import Samples

_OWN_TABLE = "faces.parquet"
"""Where a run keeps the face table that it prepared itself, inside the dataset folder."""


@dataclass(frozen=True, slots=True)
class Faces:
    """The faces of a dataset.

    Attributes:
        samples_of: Number of samples of each identity.
        table: The face table, None where it is not found or not the one that was used.
        note: Why there is no table, or empty.
        faces: How many faces the table has.
        qualities: What it measured, ``(faces,)`` each, by name.
        embedding: ``float32 (faces, 128)``, or None.
        identity: Of each face in the table.
        sources: How many faces come from each source.
    """

    samples_of: Mapping[str, int]
    table: Path | None
    note: str
    faces: int
    qualities: Mapping[str, NDArray[np.float64]]
    embedding: NDArray[np.float32] | None
    identity: list[str]
    sources: Mapping[str, int]


def read_faces(samples: Samples) -> Faces:
    """Read the face table that the manifest names, if it is there and unchanged."""
    count = Counter(samples.identity)
    if samples.dataset is None:
        return Faces(count, None, "AU pools show no faces.", 0, {}, None, [], {})
    found, note = _locate(samples.dataset)
    if found is None:
        return Faces(count, None, note, 0, {}, None, [], {})
    columns = ["identity", "origin", "embedding", *QUALITIES]
    try:
        table = pq.read_table(found.parts[0].path, columns=columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        return Faces(count, None, f"{found.path} cannot be read: {error}", 0, {}, None, [], {})
    vectors = table["embedding"].combine_chunks().flatten()
    return Faces(
        samples_of=count,
        table=found.path,
        note="",
        faces=len(table),
        qualities={name: np.array(table[name].to_pylist(), dtype=np.float64) for name in QUALITIES},
        embedding=np.array(np.from_dlpack(vectors)).reshape(len(table), -1),
        identity=table["identity"].to_pylist(),
        sources=Counter(str(origin).partition(":")[0] for origin in table["origin"].to_pylist()),
    )


def _locate(dataset: DatasetFolder) -> tuple[FaceTable | None, str]:
    """Return the face table of a dataset, or None and the reason why it is not used."""
    recorded = dataset.manifest["inputs"]["faces"]
    named = Path(str(recorded.get("table", "")))
    for path in (dataset.folder / _OWN_TABLE, named):
        if path.suffix != ".parquet" or not has_face_table(path):
            continue
        try:
            table = FaceTable.open(path)
        except (ValueError, OSError) as error:
            return None, str(error)
        if len(table.parts) > 1:
            return None, (
                f"The {len(table):,} faces of {path} are in {len(table.parts)} files; pose, size "
                "and sharpness are shown for tables of one file."
            )
        if recorded.get("sha256") == table.sha256:
            return table, ""
    return None, (
        f"The face table {named} is not here, or it is not the one that was used (its hash "
        "differs), so pose, size and sharpness of the faces are not shown."
    )


def alike_faces(faces: Faces, distance: float) -> list[tuple[str, str, float]]:
    """Return pairs of identities whose embeddings are closer than a distance, closest first."""
    if faces.embedding is None:
        return []
    names = faces.identity
    pairs = near_pairs(faces.embedding, distance)
    found = [(names[i], names[j], gap) for i, j, gap in pairs if names[i] != names[j]]
    return sorted(found, key=lambda pair: pair[2])
