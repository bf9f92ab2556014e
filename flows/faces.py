"""Define the Prefect flow `faces`: from photographs to a face table.

python flows/faces.py run -p photographs=samples -p out=faces.parquet
python flows/faces.py serve                                # then, in another shell:
prefect deployment run faces/local -p photographs=celeba:/data/celeba --watch
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact

from miex.datasets.config import build
from miex.datasets.faces.base import open_face_source
from miex.datasets.quantity import quantity
from miex.datasets.storage import absolute, address_of
from miex.flows.artifacts import ProgressArtifact
from miex.flows.entry import retried, run_or_serve, telling_failures
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.prepare import prepare_faces
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.synthesis.manifest import write_json


@flow(name="faces", log_prints=True)
@telling_failures()
def faces(
    photographs: str = "samples",
    out: Path = Path("faces.parquet"),
    workers: int | None = None,
    settings: dict[str, Any] | None = None,
) -> str:
    """Detect, align, crop and filter faces into a table; resume if interrupted.

    Args:
        photographs: A folder, samples, celeba:PATH or emotionnet:PATH.
        out: The face table (.parquet).
        workers: Number of processes; one per core by default.
        settings: Fields of the face preparation: {"size": 256, "max_yaw": 20}.

    Returns:
        The face table.
    """
    table = prepare(photographs, absolute(out), build(FaceConfig, settings), workers)
    rows = [{"what": "kept", "count": len(table)}]
    rows += [
        {"what": f"left out: {reason}", "count": count}
        for reason, count in table.rejection_counts.items()
    ]
    create_table_artifact(key="faces-left-out", table=rows, description=str(out))
    return address_of(absolute(out))


@retried
def prepare(photographs: str, out: Path, config: FaceConfig, workers: int | None) -> FaceTable:
    """Prepare the face table, and write an account of every photograph that was left out."""
    progress = ProgressArtifact("photographs", "Photographs examined")
    table = prepare_faces(
        open_face_source(photographs),
        out,
        config,
        workers=workers,
        on_progress=lambda done, total, _: progress.update(done, total),
    )
    left_out = [asdict(rejection) for rejection in table.rejections]
    write_json(out.with_suffix(".json"), {"left_out": left_out})
    print(f"{quantity(len(table), 'face')} of {quantity(len(table.people), 'identity')}: {out}")
    return table


if __name__ == "__main__":
    run_or_serve(faces)
