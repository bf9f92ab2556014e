"""Seeded bit flips in every kind of file that miex keeps: detected, harmless or silent.

A flip is harmless if the reader gives what was written, and silent if it gives anything else.
`python tests/fuzz/test_flipped_bits.py` prints the table.
"""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from miex.au_sources.action_units import AU_NAMES
from miex.au_sources.calibration import shipped_calibration
from miex.datasets.base import Face, FaceQuality, Rejection
from miex.datasets.documents import read_document, write_document
from miex.datasets.files import whole_file
from miex.datasets.seals import SEAL, UNSEALED, check_seal
from miex.generators.ganimation.checkpoint import load_checkpoint, save_checkpoint
from miex.generators.ganimation.network import new_network
from miex.generators.ganimation.run_state import load_state, save_state
from miex.generators.ganimation.training_notes import AUAgreement, TrainingNotes
from miex.generators.ganimation.training_set import TrainingRow, TrainingSet, write_training_set
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.table import FaceTable, write_face_table
from miex.pipeline.faces.table_file import SCHEMA as FACE_SCHEMA
from miex.pipeline.faces.table_file import TableNotes, face_to_row
from miex.pipeline.recognition import checkpoint as recognizers
from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.results import Prediction, Result, write_result
from miex.pipeline.recognition.sample import SampleInfo

SEED = 18
FLIPS = 150

Read = Callable[[Path], object]


def _pixels(rng: np.random.Generator, side: int = 16) -> np.ndarray:
    return rng.integers(0, 255, (side, side, 3), np.uint8)


def recognizer_checkpoint(folder: Path) -> tuple[Path, Read]:
    path = folder / "recognizer.safetensors"
    network = create_recognizer("ststnet", 3, {})
    stage = recognizers.Stage("pretrain", "d", 3, {"expert": 3}, (("casme2", "sub01"),), {}, 0)
    card = recognizers.Card(
        "ststnet", network.config.model_dump(mode="json"), "three_class", "random"
    )
    recognizers.save_checkpoint(path, network, recognizers.replace(card, stages=(stage,)))

    def read(path: Path) -> object:
        found = recognizers.load_checkpoint(path)
        tensors = {name: each.numpy().tobytes() for name, each in found.tensors.items()}
        return asdict(found.card), tensors, found.progress

    return path, read


def generator_checkpoint(folder: Path) -> tuple[Path, Read]:
    path = folder / "generator.safetensors"
    save_checkpoint(new_network(4), path, image_size=64, card={"data": "lfw"})

    def read(path: Path) -> object:
        found = load_checkpoint(path)
        state = {name: each.numpy().tobytes() for name, each in found.network.state_dict().items()}
        return found.image_size, dict(found.card), found.format, state

    return path, read


def training_state(folder: Path) -> tuple[Path, Read]:
    module = torch.nn.Linear(8, 8)
    path = save_state(folder, 7, {"seed": 1}, {"net": module}, {})

    def read(path: Path) -> object:
        fresh = torch.nn.Linear(8, 8)
        step = load_state(path.parent, {"seed": 1}, {"net": fresh}, {})
        return step, fresh.weight.detach().numpy().tobytes(), fresh.bias.detach().numpy().tobytes()

    return path, read


def result(folder: Path) -> tuple[Path, Read]:
    infos = [
        SampleInfo(
            f"k{n}",
            n % 3,
            "x",
            "casme2",
            f"sub{n % 4}",
            frozenset({("casme2", f"sub{n % 4}")}),
            "a",
        )
        for n in range(12)
    ]
    answers = [Prediction(0, "f", f"k{n}", n % 3, (0.1, 0.2, 0.7), 0) for n in range(12)]
    write_result(folder, {"protocol": "megc2019"}, infos, answers, ("a", "b", "c"))
    return folder / "result.json", lambda path: Result.open(path.parent).content


def predictions(folder: Path) -> tuple[Path, Read]:
    result(folder)
    return folder / "predictions.parquet", lambda path: Result.open(
        path.parent
    ).predictions.to_pylist()


def document(name: str, content: dict[str, Any]) -> Callable[[Path], tuple[Path, Read]]:
    def make(folder: Path) -> tuple[Path, Read]:
        write_document(folder / name, content)
        return folder / name, lambda path: read_document(path, "document", "write it again")

    return make


def face_table(folder: Path) -> tuple[Path, Read]:
    rng = np.random.default_rng(SEED)
    faces = [
        Face(
            cv2.GaussianBlur(_pixels(rng), (5, 5), 2),
            rng.uniform(0, 15, (68, 2)).astype(np.float32),
            f"p{n}", f"folder:p{n}.jpg", "0" * 64,
            FaceQuality(5.0, 0.0, 9.0, 0.0, 1.0), rng.normal(size=128).astype(np.float32),
        )
        for n in range(4)
    ]  # fmt: skip
    notes = TableNotes("folder", {"folder": "mine"}, FaceConfig(), "dlib", 5, "f" * 64)
    rows = pa.Table.from_pylist([face_to_row(face) for face in faces], schema=FACE_SCHEMA)
    left_out = [Rejection("folder:x.jpg", "no_face", "none")]
    write_face_table(folder / "faces.parquet", [rows], notes, left_out)

    def read(path: Path) -> object:
        table = FaceTable.open(path)
        loaded = table.load([0, 1, 2, 3])
        pixels = [face.crop.tobytes() + face.landmarks.tobytes() for face in loaded]
        return pixels, table.identities, str(table.notes), table.rejections

    return folder / "faces.parquet", read


def training_set(folder: Path) -> tuple[Path, Read]:
    rng = np.random.default_rng(SEED)
    path = folder / "training.parquet"

    def row(n: int) -> TrainingRow:
        crop = cv2.imencode(".png", cv2.GaussianBlur(_pixels(rng), (5, 5), 2))[1].tobytes()
        points = rng.uniform(0, 15, (68, 2)).astype(np.float32)
        aus = rng.uniform(0, 5, 17).astype(np.float32)
        return TrainingRow(crop, "png", points, aus, f"p{n}", f"lfw:p{n}.jpg", "train")

    agreement = tuple(AUAgreement(au, True, "x", 0.5) for au in AU_NAMES)
    write_training_set(path, map(row, range(4)), TrainingNotes(16, "lfw", "e", "1", agreement))

    def read(path: Path) -> object:
        found = TrainingSet.open(path)
        faces = found.faces("train")
        arrays = [each.tobytes() for each in (faces.images, faces.landmarks, faces.aus)]
        return arrays, faces.identities, faces.origins, str(found.notes)

    return path, read


def calibration(folder: Path) -> tuple[Path, Read]:
    shipped = shipped_calibration("mediapipe") or shipped_calibration("landmarks")
    assert shipped is not None
    shipped.write(folder / "calibration.json")
    return folder / "calibration.json", type(shipped).read


def shard(folder: Path) -> tuple[Path, Read]:
    """A sealed Parquet table as shards and parts of face tables are written."""
    table = pa.table({"label": [0, 1, 2], "subject": ["sub01", "sub02", "sub03"]})
    with whole_file(folder / "shard.parquet", sealed=True) as temporary:
        pq.write_table(table.replace_schema_metadata({SEAL: UNSEALED}), temporary)

    def read(path: Path) -> object:
        check_seal(path, "make it again")
        return pq.read_table(path).to_pylist()

    return folder / "shard.parquet", read


KINDS: dict[str, Callable[[Path], tuple[Path, Read]]] = {
    "recognizer checkpoint": recognizer_checkpoint,
    "generator checkpoint": generator_checkpoint,
    "state of a generator training": training_state,
    "result": result,
    "predictions": predictions,
    "fold": document(
        "fold.json", {"evaluation": "e", "predictions": [{"key": "k", "scores": [1]}]}
    ),
    "evaluation.json": document("evaluation.json", {"config": {"run": {}}, "about": {}, "seed": 1}),
    "inputs of an experiment": document("inputs.json", {"table=x": "0" * 64}),
    "face table": face_table,
    "training set": training_set,
    "calibration": calibration,
    "sealed Parquet": shard,
}


def flip(make: Callable[[Path], tuple[Path, Read]], folder: Path, count: int) -> Counter[str]:
    """Flip bits one at a time, half of them in the metadata at the ends of the file."""
    path, read = make(folder)
    whole = path.read_bytes()
    right = repr(read(path))
    rng = np.random.default_rng(SEED)
    outcome: Counter[str] = Counter()
    for number in range(count):
        content = bytearray(whole)
        span = len(content) if number % 2 else min(len(content), 4096)
        place = int(rng.integers(span))
        place = len(content) - 1 - place if number % 4 == 2 else place
        content[place] ^= 1 << int(rng.integers(8))
        path.unlink()
        path.write_bytes(bytes(content))
        try:
            outcome["harmless" if repr(read(path)) == right else "silent"] += 1
        except (ValueError, OSError) as error:
            outcome["detected" if path.name in str(error) else "nameless"] += 1
        except Exception as error:  # a traceback for a user
            outcome[f"traceback {type(error).__name__}"] += 1
    return outcome


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_is_silent(kind: str, tmp_path: Path) -> None:
    outcome = flip(KINDS[kind], tmp_path, FLIPS)
    assert outcome["detected"] + outcome["harmless"] == FLIPS, outcome
    assert outcome["detected"] >= 0.95 * FLIPS


def main() -> None:
    print(f"{'kind':32} {'flips':>6} {'detected':>9} {'harmless':>9} {'silent':>7}  other")
    for name, make in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = flip(make, Path(folder), int(sys.argv[1]) if sys.argv[1:] else FLIPS)
        named = [found.pop(key, 0) for key in ("detected", "harmless", "silent")]
        total = sum(named) + found.total()
        print(f"{name:32} {total:6} {named[0]:9} {named[1]:9} {named[2]:7}  {json.dumps(found)}")


if __name__ == "__main__":
    main()
