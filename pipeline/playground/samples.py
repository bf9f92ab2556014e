"""Samples that were made by hand, kept in one Parquet file with the columns of a dataset."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from miex.datasets.dataset_format import ABSENT, COLUMN_NOTES, FORMAT, SCHEMA
from miex.datasets.encoding import ImageConfig, encode_frame
from miex.datasets.files import whole_file
from miex.datasets.image_tables import hub_features
from miex.datasets.labels import LABEL_SPACES
from miex.datasets.locks import locked
from miex.datasets.seals import SEAL, UNSEALED, check_seal
from miex.pipeline.playground.studio import Shot, emotion_classes

_IMAGE = ImageConfig(format="webp")

_REMEDY = "give another file, or delete this one"


def save_sample(shot: Shot, path: Path, emotion: str = "") -> str:
    """Append an expression to a file of samples.

    The file has the columns of docs/dataset_format.md, so that
    ``load_dataset("parquet", data_files=...)`` opens it. The AUs were set by hand: `au_source` is
    ``expert`` and `au_estimator` ``miex app``.

    Args:
        shot: The expression.
        path: The file (.parquet); created if it does not exist.
        emotion: Emotion of the sample, such as ``happiness``; without one its label is -1.

    Returns:
        Id of the sample.

    Raises:
        ValueError: The file is damaged or holds something else.
        DiskFullError: The disk is full; the file that was there before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        rows = _rows(path)
        sample_id = f"{path.stem}-{len(rows):08d}"
        rows.append(_row(shot, sample_id, emotion))
        schema = SCHEMA.with_metadata(
            {
                "huggingface": json.dumps(hub_features(SCHEMA)),
                "miex.format": FORMAT,
                "miex.columns": json.dumps(COLUMN_NOTES),
                SEAL: UNSEALED,
            }
        )
        with whole_file(path, sealed=True) as temporary:
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)
    return sample_id


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}); {_REMEDY}") from None
    if not table.schema.remove_metadata().equals(SCHEMA):
        raise ValueError(f"{path} holds other columns than samples of miex; {_REMEDY}")
    check_seal(path, _REMEDY)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _row(shot: Shot, sample_id: str, emotion: str) -> dict[str, Any]:
    name = emotion_classes().get(emotion, "")
    classes = LABEL_SPACES["three_class"].classes
    frames = [encode_frame(frame, _IMAGE) for frame in (shot.onset, shot.apex)]
    known: dict[str, Any] = {
        "sample_id": sample_id,
        "identity": shot.face.identity,
        "label": classes.index(name) if name in classes else -1,
        "emotion": name or "none",
        "fine_emotion": emotion,
        "au_source": "expert",
        "aus": [[0.0] * len(shot.aus), shot.aus.tolist()],
        "frames": [
            {"bytes": content, "path": f"{sample_id}_{number:03d}.{_IMAGE.format}"}
            for number, content in enumerate(frames)
        ],
        "apex_index": 1,
        "landmarks": shot.face.landmarks.tolist(),
        "au_estimator": "miex app",
        "template": shot.face.origin,
        "template_sha256": shot.face.sha256,
        "generator": shot.generator,
        "generator_sha256": shot.generator_sha256 or "",
        "seed": 0,
        "attempt": 0,
        "asymmetry": 0.0,
        "motion": shot.motion,
    }
    return {**dict.fromkeys(SCHEMA.names), **ABSENT, **known}
