"""Select faces whose landmarks are like those of chosen faces, as MiE-X selects frontal ones.

Liu et al., ECCV 2022, section 5.3, table 3: for each of ten frontal faces, chosen by hand, 500
faces with similar landmarks. The authors detect five points (MTCNN); here the same five come from
the 68 of a face table: centres of the eyes, tip of the nose, corners of the mouth.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from miex.datasets.base import Rejection
from miex.datasets.config import FrozenConfig
from miex.datasets.image_tables import floats
from miex.pipeline.faces.table import FaceTable, write_face_table
from miex.pipeline.faces.table_file import SCHEMA

UNLIKE = "unlike_queries"
"""Reason of faces that are among the nearest of no query."""


class SimilarConfig(FrozenConfig):
    """Which faces are selected."""

    queries: tuple[str, ...] = Field(
        (), description="identities of the chosen faces; the least turned ones by default"
    )
    count: int = Field(10, ge=1, description="queries, where none are named")
    each: int = Field(500, ge=1, description="faces for each query, the query among them")


def select_similar(table: FaceTable, config: SimilarConfig, out: Path) -> FaceTable:
    """Write a face table with the faces that are most like some queries.

    A face belongs to one query. The queries take turns, each the nearest face that is left, by the
    mean distance of the five points in the aligned crops.

    Args:
        table: Faces to select from; all of one crop geometry.
        config: Queries, and faces for each.
        out: The table to write; faces keep their order.

    Returns:
        The table. Its rejections are those of `table` and every face that was left out.

    Raises:
        ValueError: A query is no identity of the table, or the table has too few faces.
        DiskFullError: The disk is full.
    """
    wanted = config.each * (len(config.queries) or config.count)
    if wanted > len(table):
        raise ValueError(
            f"{table.path} has {len(table)} faces, and {wanted} are to be selected; give fewer"
            " queries or a smaller each"
        )
    content = pq.read_table(table.path, page_checksum_verification=True)
    points = five_points(floats(content["landmarks"]).reshape(-1, 68, 2)).astype(np.float64)
    points /= table.config.size
    queries = _queries(table, content, config)
    distances = np.stack([_distances(points, query) for query in queries])
    chosen, nearest = _take_turns(distances, queries, config.each)
    notes = table.notes
    left_out = [
        Rejection(
            content["origin"][row].as_py(),
            UNLIKE,
            f"mean distance of five points to the nearest query: {nearest[row]:.4f} of the side",
        )
        for row in range(len(table))
        if row not in chosen
    ]
    kept = content.take(pa.array(sorted(chosen))).select(SCHEMA.names).cast(SCHEMA)
    write_face_table(out, [kept], notes, [*table.rejections, *left_out], len(kept))
    return FaceTable.open(out)


def five_points(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return centres of the eyes, tip of the nose and corners of the mouth.

    Args:
        landmarks: ``(N, 68, 2)``, iBUG 300-W order.

    Returns:
        ``(N, 5, 2)``.
    """
    return np.stack(
        [
            landmarks[:, 36:42].mean(1),
            landmarks[:, 42:48].mean(1),
            landmarks[:, 30],
            landmarks[:, 48],
            landmarks[:, 54],
        ],
        axis=1,
    )


def _queries(table: FaceTable, content: pa.Table, config: SimilarConfig) -> list[int]:
    if not config.queries:
        turned = np.hypot(*(np.asarray(content[name], float) for name in ("yaw", "pitch")))
        return [int(row) for row in np.argsort(turned, kind="stable")[: config.count]]
    for name in config.queries:
        if name not in table.identities:
            raise ValueError(
                f"query {name!r} is no identity of {table.path}; there are: "
                f"{', '.join(table.identities[:5])}, ..."
            )
    return [table.identities.index(name) for name in dict.fromkeys(config.queries)]


def _distances(points: NDArray[np.float64], query: int) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = np.linalg.norm(points - points[query], axis=2).mean(1)
    return distances


def _take_turns(
    distances: NDArray[np.float64], queries: Sequence[int], each: int
) -> tuple[set[int], NDArray[np.float64]]:
    """Return the rows that the queries take, and the distance of every row to its nearest query."""
    orders = [iter(np.argsort(row, kind="stable").tolist()) for row in distances]
    chosen = set(queries)
    for _ in range(each - 1):
        for order in orders:
            chosen.add(next(row for row in order if row not in chosen))
    return chosen, distances.min(0)
