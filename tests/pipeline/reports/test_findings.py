"""Faults that a test plants, and that the findings must name; and none where none were planted."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from changed_shards import replace_shard

from miex.au_sources.expert import ExpertSource
from miex.au_sources.expert_table import load_table
from miex.datasets.dataset_format import MANIFEST, DatasetFolder
from miex.pipeline.reports.evidence import Evidence, Finding
from miex.pipeline.reports.face_statistics import read_faces
from miex.pipeline.reports.findings import CHECKS, find
from miex.pipeline.reports.references import real_databases
from miex.pipeline.reports.report import examine, write_report
from miex.pipeline.reports.samples import Samples, open_target
from miex.pipeline.reports.statistics import cover, describe_groups
from miex.pipeline.reports.suspects import doubt_labels, shared_by

CLASSES = ("negative", "positive", "surprise")
FAULTS = {"null_pairs", "swapped_labels", "always_on", "duplicated_faces", "foreign_frames"}
ROWS = 900
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def sound(make_dataset, tmp_path_factory) -> tuple[Path, Rows]:
    """A dataset whose 50 drawn people can be told apart, and its rows."""
    folder = make_dataset(
        tmp_path_factory.mktemp("sound") / "d", identities=50, per_identity=18, image_format="png"
    )
    rows = [row for path in shards(folder) for row in pq.read_table(path).to_pylist()]
    masks = {
        name: skin(number) for number, name in enumerate(sorted({r["identity"] for r in rows}))
    }
    for row in rows:
        for frame in row["frames"]:
            frame["bytes"] = painted(frame["bytes"], masks[row["identity"]])
    save(folder, rows)
    return folder, rows


def shards(folder: Path) -> list[Path]:
    return sorted((folder / "data").iterdir())


def skin(identity: int) -> np.ndarray:
    """Smooth light and shade of one person, ``float32 (64, 64, 1)`` around 1."""
    coarse = np.random.default_rng(identity).uniform(0.5, 1.0, (6, 6)).astype(np.float32)
    return cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)[..., None]


def painted(encoded: bytes, mask: np.ndarray) -> bytes:
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".png", np.clip(image * mask, 0, 255).astype(np.uint8))[1].tobytes()


def save(folder: Path, rows: Rows) -> None:
    start = 0
    for path in shards(folder):
        file = pq.read_table(path)
        part = rows[start : start + len(file)]
        table = pa.Table.from_pylist(part, schema=file.schema)
        replace_shard(path, table, row_group_size=64)
        start += len(part)


def null_pairs(rows: Rows) -> None:
    for row in rows[5:805:8]:
        row["frames"][row["apex_index"]] = row["frames"][0]


def swapped_labels(rows: Rows) -> None:
    fine = {"negative": "anger", "positive": "happiness", "surprise": "surprise"}
    for row in rows[3:803:8]:
        row["label"] = (row["label"] + 1) % 3
        row["emotion"] = CLASSES[row["label"]]
        row["fine_emotion"] = fine[row["emotion"]]


def always_on(rows: Rows) -> None:
    for row in rows:
        row["aus"][row["apex_index"]][14] = 1.0


def duplicated_faces(rows: Rows) -> None:
    for row in rows:
        number = int(row["identity"].removeprefix("person_"))
        if 10 <= number < 15 and int(row["sample_id"][-8:]) % 2:
            row["identity"] = f"copy_{number}"


def foreign_frames(rows: Rows) -> None:
    apexes = [row["frames"][row["apex_index"]] for row in rows]
    for number in range(2, 802, 16):
        rows[number]["frames"][rows[number]["apex_index"]] = apexes[(number + 400) % ROWS]


PLANTED: dict[str, Callable[[Rows], None]] = {
    "null_pairs": null_pairs,
    "swapped_labels": swapped_labels,
    "always_on": always_on,
    "duplicated_faces": duplicated_faces,
    "foreign_frames": foreign_frames,
}


def faults(folder: Path) -> dict[str, Finding]:
    return {f.key: f for f in examine([folder]).findings if f.severity == "fault"}


def copy(sound: tuple[Path, Rows], folder: Path) -> Rows:
    source, rows = sound
    (folder / "data").mkdir(parents=True)
    (folder / MANIFEST).write_bytes((source / MANIFEST).read_bytes())
    for path in shards(source):
        (folder / "data" / path.name).write_bytes(path.read_bytes())
    return json_copy(rows)


def json_copy(rows: Rows) -> Rows:
    return [
        {**row, "aus": [list(v) for v in row["aus"]], "frames": [dict(f) for f in row["frames"]]}
        for row in rows
    ]


def test_a_sound_dataset_has_no_fault(sound):
    folder, _ = sound
    report = examine([folder])
    assert {f.key for f in report.findings if f.severity == "fault"} == set()
    good = {f.key for f in report.findings if f.severity == "good"}
    assert FAULTS - {"always_on"} <= good


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_one_planted_fault_is_named_and_no_other(sound, tmp_path, fault):
    rows = copy(sound, tmp_path / "d")
    PLANTED[fault](rows)
    save(tmp_path / "d", rows)
    assert set(faults(tmp_path / "d")) == {fault}


def test_five_faults_at_once_are_all_named_with_their_numbers(sound, tmp_path):
    folder = tmp_path / "d"
    rows = copy(sound, folder)
    for plant in PLANTED.values():
        plant(rows)
    save(folder, rows)
    found = faults(folder)
    assert set(found) == FAULTS
    assert found["null_pairs"].number == 100
    assert found["swapped_labels"].number == 100
    assert found["always_on"].number == 1.0
    assert "AU25" in found["always_on"].text
    assert found["duplicated_faces"].number == 10
    assert found["foreign_frames"].number == 50
    text = write_report(folder).read_text(encoding="utf-8")
    for finding in found.values():
        assert f'data-key="{finding.key}"' in text
        assert f'id="{finding.link}"' in text
    numbers = json.loads((folder / "report" / "numbers.json").read_text(encoding="utf-8"))
    assert {f["key"] for f in numbers["findings"] if f["severity"] == "fault"} == FAULTS
    first = rows[5]["sample_id"]
    assert first in next(f for f in numbers["findings"] if f["key"] == "null_pairs")["examples"]


def test_a_class_that_contradicts_its_fine_emotion_is_swapped(sound, tmp_path):
    rows = copy(sound, tmp_path / "d")
    rows[0]["emotion"], rows[0]["label"] = "positive", 1
    rows[1]["label"] = 0
    save(tmp_path / "d", rows)
    assert faults(tmp_path / "d")["swapped_labels"].number == 2


def test_aus_that_an_expert_table_cannot_draw_are_swapped(sound):
    """The table that a row names decides, even where other rows are too few to tell."""
    samples = open_target(sound[0])
    source = ExpertSource(load_table("miex"))
    rng = np.random.default_rng(0)
    pairs = [source.draw(name, rng) for name in samples.emotion]
    manifest = json.loads(json.dumps(samples.dataset.manifest))
    manifest["inputs"]["sources"] = [{"description": source.description}]
    drawn = dataclasses.replace(
        samples,
        onset=np.array([pair.onset for pair in pairs]),
        apex=np.array([pair.apex for pair in pairs]),
        fine=[str(pair.emotion) for pair in pairs],
        source=["expert table miex"] * len(pairs),
        dataset=DatasetFolder(samples.dataset.folder, manifest),
    )
    assert doubt_labels(drawn).rows.size == 0
    # Surprise always has AU01 and AU02, happiness never: the apexes of two rows change places.
    apex = drawn.apex.copy()
    a, b = samples.emotion.index("positive"), samples.emotion.index("surprise")
    apex[[a, b]] = apex[[b, a]]
    doubts = doubt_labels(dataclasses.replace(drawn, apex=apex))
    assert doubts.impossible.tolist() == sorted([a, b])
    # An AU that is always on must not make every row impossible.
    constant = drawn.apex.copy()
    constant[:, 16] = 1
    constant = dataclasses.replace(drawn, apex=constant)
    assert doubt_labels(constant).rows.size == ROWS
    assert doubt_labels(constant, always_on=[16]).rows.size == 0


def test_chance_does_not_make_labels_look_swapped():
    """Classes that overlap, as in real micro-expressions, are in doubt only as often as drawn."""
    rng = np.random.default_rng(4)
    emotion = rng.choice(CLASSES, 3000)
    odds = np.full((3, 17), 0.03)
    odds[0, 2], odds[1, 8], odds[2, [0, 1]] = 0.6, 0.5, 0.5
    on = rng.random((3000, 17)) < odds[[CLASSES.index(name) for name in emotion]]
    doubts = doubt_labels(_pool_like(on.astype(np.float32), emotion.tolist()))
    assert doubts.judged == 3000
    assert doubts.unlikely.size <= 2 * doubts.expected + 5
    assert doubts.rows.size == 0


def _pool_like(apex: np.ndarray, emotion: list[str]) -> Samples:
    count = len(apex)
    return Samples(
        name="pool",
        onset=np.zeros_like(apex),
        apex=apex,
        sample_id=[str(row) for row in range(count)],
        source=["real micro-expressions of casme2"] * count,
        emotion=emotion,
        fine=[None] * count,
        classes=CLASSES,
        label=np.full(count, -1),
        identity=[""] * count,
        template=[""] * count,
        attempt=np.zeros(count, np.int64),
    )


def test_shared_keys_name_their_owners():
    assert shared_by([1, 1, 2, 1], ["b", "a", "c", "a"]) == [["a", "b"]]


def test_every_check_says_what_it_looks_for():
    assert all(check.__doc__ for check in CHECKS)
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS)


def test_a_published_sheet_is_not_called_faulty():
    """Labels of human coders that fit another class better are possible doubts, not faults."""
    rng = np.random.default_rng(1)
    emotion = np.repeat(CLASSES, 200)
    odds = np.full((3, 17), 0.02)
    odds[0, 2], odds[1, 8], odds[2, [0, 1]] = 0.95, 0.95, 0.95
    on = rng.random((600, 17)) < odds[np.repeat([0, 1, 2], 200)]
    labels = emotion.tolist()
    for row in range(10):
        labels[row], labels[row + 200] = labels[row + 200], labels[row]
    samples = _pool_like(on.astype(np.float32), labels)
    evidence = Evidence(
        samples=samples,
        groups=describe_groups(samples),
        coverage=cover(samples),
        pixels=None,
        faces=read_faces(samples),
        real=real_databases(),
    )
    found = {each.key: each for each in find(evidence)}
    doubt = found["swapped_labels"]
    assert doubt.severity == "warning"
    assert "possibly" in doubt.text
    assert 15 <= doubt.number <= 30
    assert not [each for each in found.values() if each.severity == "fault"]
