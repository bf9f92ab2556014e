"""A small dataset in the format of synthesis, drawn without a generator."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store import bucket, start  # noqa: F401

from miex.datasets.dataset_format import (
    COLUMN_NOTES,
    FORMAT,
    MANIFEST,
    SCHEMA,
)
from miex.datasets.encoding import ImageConfig, encode_frame
from miex.datasets.image_tables import hub_features
from miex.pipeline.synthesis.config import SynthesisConfig

MakeDataset = Callable[..., Path]

CLASSES = ("negative", "positive", "surprise")
FINE = {"negative": ("anger", "contempt"), "positive": ("happiness",), "surprise": ("surprise",)}
ACTIVE = {"anger": (2, 5), "contempt": (9,), "happiness": (4, 8), "surprise": (0, 1, 15)}
"""Indices of the active AUs of each expression: AU04+07, AU14, AU06+12, AU01+02+26."""
TABLES = ("miex", "casme3")


def drawn_face(identity: int, strength: float, size: int = 64) -> np.ndarray:
    """Draw a face whose brows rise and whose mouth widens with `strength`."""
    rng = np.random.default_rng(identity)
    scale, shift = size / 64, 4
    frame = np.full((size, size, 3), rng.integers(60, 110, 3), np.uint8)

    def point(x: float, y: float) -> tuple[int, int]:
        return round(x * scale * 2**shift), round(y * scale * 2**shift)

    def oval(at: tuple[float, float], axes: tuple[float, float], colour: Any) -> None:
        cv2.ellipse(frame, point(*at), point(*axes), 0, 0, 360, colour, -1, cv2.LINE_AA, shift)

    skin = tuple(int(v) for v in rng.integers(150, 230, 3))
    oval((32, 32), (20, 27), skin)
    for x in (24, 40):
        oval((x, 27), (3.2, 1.8), (250, 250, 250))
        oval((x, 27), (1.4, 1.4), (30, 30, 30))
        oval((x, 22 - strength), (4, 0.8), (50, 35, 30))
    oval((32, 46), (7 + strength, 1.6), (150, 50, 60))
    return cv2.GaussianBlur(frame, (0, 0), 0.6)


def sample_row(index: int, identity: int, config: SynthesisConfig, size: int) -> dict[str, Any]:
    """Return row `index`, which determines its class and AU source."""
    label, table = index % 3, TABLES[index // 3 % 2]
    emotion = CLASSES[label]
    fine = FINE[emotion][index // 6 % len(FINE[emotion])]
    sequence = config.sequence.frames
    apex = np.zeros(17, np.float32)
    apex[list(ACTIVE[fine])] = 0.5 + index % 10 / 10
    aus = np.linspace(0, 1, sequence, dtype=np.float32)[:, None] * apex
    sample = f"{config.name}-{index:08d}"
    frames = [drawn_face(identity, 1.5 * grown, size) for grown in np.linspace(0, 1, sequence)]
    return {
        "sample_id": sample,
        "identity": f"person_{identity:02d}",
        "label": label,
        "emotion": emotion,
        "fine_emotion": fine,
        "au_source": "expert",
        "aus": aus.tolist(),
        "frames": [
            {
                "bytes": encode_frame(frame, config.image),
                "path": f"{sample}_{number:03d}.{config.image.format}",
            }
            for number, frame in enumerate(frames)
        ],
        "apex_index": sequence - 1,
        "landmarks": np.zeros((68, 2), np.float32).tolist(),
        "au_estimator": f"table {table} 1 (sha256 {'0' * 12})",
        "template": f"folder:person_{identity:02d}.jpg",
        "template_sha256": hashlib.sha256(str(identity).encode()).hexdigest(),
        "generator": "warp",
        "seed": config.seed,
        "attempt": int(index % 7 == 0),
        "motion": 0.4 + index % 10 / 10,
        "motion_iod": (0.4 + index % 10 / 10) / 30,
        "identity_similarity": 0.97 if index % 5 == 0 else None,
    }


def write_shard(folder: Path, path: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    schema = SCHEMA.with_metadata(
        {
            "huggingface": json.dumps(hub_features(SCHEMA)),
            "miex.format": FORMAT,
            "miex.columns": json.dumps(COLUMN_NOTES),
        }
    )
    complete = [dict.fromkeys(SCHEMA.names) | row for row in rows]
    pq.write_table(pa.Table.from_pylist(complete, schema=schema), file, row_group_size=8)
    content = file.read_bytes()
    return {
        "path": path,
        "rows": len(rows),
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }


def manifest_of(
    config: SynthesisConfig, rows: list[dict[str, Any]], shards: list[dict[str, Any]]
) -> dict[str, Any]:
    rejection = {
        "sample_id": f"{config.name}-{len(rows):08d}",
        "identity": "person_00",
        "reason": "no_motion",
        "attempts": 5,
        "detail": "fear from expert:miex; last draw moved 0.0000 inter-ocular distances",
    }
    return {
        "format": FORMAT,
        "name": config.name,
        "fingerprint": "f" * 64,
        "config": config.model_dump(mode="json"),
        "config_sha256": config.sha256(),
        "inputs": {
            "faces": {
                "table": config.faces,
                "sha256": "a" * 64,
                "identities": len({row["identity"] for row in rows}),
                "licences": {"folder": "drawn by a test, free of rights"},
                "rejections": {"no_face": 3, "too_blurred": 1},
            },
            "sources": [
                {
                    "spec": spec,
                    "name": "expert",
                    "description": f"table {table} 1 (sha256 {'0' * 12})",
                    "sha256": "0" * 64,
                    "citation": f"Somebody et al., On the {table} table, 2022",
                    "licence": "facts from a publication",
                }
                for spec, table in zip(config.sources, TABLES, strict=True)
            ],
            "generator": {
                "name": "warp",
                "sha256": None,
                "max_intensity": 1.5,
                "condition": "change",
            },
        },
        "versions": {"python": "3.11.9", "miex": "0.1.0", "numpy": "2.4.6"},
        "label_space": {"name": "three_class", "classes": list(CLASSES), "citation": "See 2019"},
        "counts": {
            "planned": len(rows) + 1,
            "written": len(rows),
            "rejected": 1,
            "redrawn": sum(bool(row["attempt"]) for row in rows),
            "frames": sum(len(row["frames"]) for row in rows),
            "identities": len({row["identity"] for row in rows}),
            "by_class": {name: sum(row["emotion"] == name for row in rows) for name in CLASSES},
            "by_source": {
                spec: sum(f" {table} " in row["au_estimator"] for row in rows)
                for spec, table in zip(config.sources, TABLES, strict=True)
            },
            "by_emotion": dict(sorted(Counter(row["fine_emotion"] for row in rows).items())),
            "by_au_source": {"expert": len(rows)},
        },
        "shards": shards,
        "rejections": [rejection],
    }


@pytest.fixture(scope="session")
def make_dataset() -> MakeDataset:
    """Return a function that writes a dataset, `make_dataset(folder, identities=4, frames=2)`."""

    def make(
        folder: Path,
        identities: int = 4,
        frames: int = 2,
        image_format: str = "png",
        size: int = 64,
        name: str = "tiny",
        per_identity: int = 6,
    ) -> Path:
        config = SynthesisConfig(
            name=name,
            faces="folder:faces",
            sources=tuple(f"expert:{table}" for table in TABLES),
            sequence={"frames": frames},
            image=ImageConfig(format=image_format),
        )
        rows = [
            sample_row(index, index // per_identity, config, size)
            for index in range(identities * per_identity)
        ]
        half = -(-len(rows) // 2)
        shards = [
            write_shard(folder, f"data/train-{number:05d}-of-00002.parquet", part)
            for number, part in enumerate((rows[:half], rows[half:]))
        ]
        manifest = manifest_of(config, rows, shards)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_dataset(make_dataset: MakeDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a shared dataset of four identities with six samples of two frames each."""
    return make_dataset(tmp_path_factory.mktemp("tiny") / "dataset")
