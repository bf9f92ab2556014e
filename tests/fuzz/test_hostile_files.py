"""Seeded fuzz: damaged and hostile files of every kind that miex reads.

An input is right if it is read with the content that was written, or refused by one line that names
the file; a traceback, a hang, changed content that is taken, or a full memory is wrong.

`python tests/fuzz/test_hostile_files.py` prints one row for each class of files.
"""

import inspect
import json
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import psutil
import pytest
import safetensors
import torch
from openpyxl import Workbook
from PIL import Image

from miex.au_sources.calibration import shipped_calibration
from miex.au_sources.estimators.openface import INTENSITY_COLUMNS, read_openface
from miex.au_sources.expert_table import load_table
from miex.au_sources.pool import AUPair, AUPool
from miex.datasets.clips.base import open_clips
from miex.datasets.clips.corrections import read_corrections
from miex.datasets.clips.frames import VideoFrames
from miex.datasets.clips.sheets import read_rows
from miex.datasets.documents import read_document, write_document
from miex.datasets.images import UnusablePhotograph, open_photograph, read_frame
from miex.datasets.lines import read_lines
from miex.pipeline.recognition.block_file import is_whole, read_block, write_block

SEED = 18
MEMORY = 300e6
"""Bytes that one input may take at most."""

SECONDS = 60.0
"""For one input, on a busy machine."""

COLUMNS = {name: (name,) for name in ("subject", "clip", "emotion", "onset", "offset")}


@dataclass
class Outcome:
    """What became of the inputs of a class."""

    inputs: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, kind: str, detail: str) -> None:
        self.counts[kind] += 1
        if kind not in ("refused", "read"):
            self.examples.append(f"{kind}: {detail[:300]}")


def flips(whole: bytes, count: int, seed: int) -> list[bytes]:
    """Return damaged copies: one flipped bit, a cut, a hole of zeros, or inserted noise."""
    rng = np.random.default_rng((SEED, seed))
    damaged = []
    for number in range(count):
        content = bytearray(whole)
        place = int(rng.integers(len(content)))
        match number % 8:
            case 0:
                content = content[:place]
            case 1:
                content[place : place + 64] = bytes(len(content[place : place + 64]))
            case 2:
                content[place:place] = rng.bytes(16)
            case _:
                content[place] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(content))
    return damaged


def judge(path: Path, contents: list[bytes], read: Callable[[Path], object], right: object = None):
    """Read every content, and say what became of it.

    Args:
        path: Where the file is put.
        contents: What it holds, one after the other.
        read: Reads it; a value to compare, or an error.
        right: What an undamaged file gives; None where damage need not be noticed.
    """
    outcome = Outcome(len(contents))
    process = psutil.Process()
    for content in contents:
        path.write_bytes(content)
        began, before = time.monotonic(), process.memory_info().rss
        try:
            found = read(path)
            silent = right is not None and found != right
            outcome.add("silent" if silent else "read", repr(found)[:100])
        except (ValueError, OSError) as error:
            kind = "refused" if path.name in str(error) else "nameless"
            outcome.add(kind, f"{type(error).__name__}: {error}")
        except Exception as error:  # a traceback for a user
            outcome.add("traceback", f"{type(error).__name__}: {error}")
        if time.monotonic() - began > SECONDS:
            outcome.add("hang", path.name)
        if process.memory_info().rss - before > MEMORY:
            outcome.add("memory", path.name)
    return outcome


RECORD: dict[str, Outcome] = {}
"""What became of the inputs so far, by class."""


def assert_right(outcome: Outcome, least: int) -> None:
    name = inspect.stack()[1].function.removeprefix("test_").replace("_", " ")
    kept = RECORD.setdefault(name, Outcome())
    kept.inputs += outcome.inputs
    kept.counts.update(outcome.counts)
    assert outcome.inputs >= least
    assert outcome.examples == []


def pairs() -> AUPool:
    rng = np.random.default_rng(SEED)
    made = [
        AUPair(
            source="real_mie",
            emotion=("happiness", "surprise")[n % 2],
            dataset="casme2",
            subject=f"sub{n:02d}",
            clip=f"EP{n}",
            onset_frame=1,
            apex_frame=9,
            estimator="openface 2.2",
            onset=np.zeros(17, np.float32),
            apex=rng.uniform(0.5, 3, 17).astype(np.float32),
        )
        for n in range(12)
    ]
    return AUPool.from_pairs(made, citation="a paper", licence="research")


@pytest.mark.slow
def test_au_pools(tmp_path):
    pool = pairs()
    pool.write(tmp_path / "pool.parquet")
    whole = (tmp_path / "pool.parquet").read_bytes()

    def read(path: Path) -> object:
        found = AUPool.read(path)
        return found.sha256, found.citation, found.licence

    right = (pool.sha256, pool.citation, pool.licence)
    assert_right(judge(tmp_path / "p.parquet", flips(whole, 400, 1), read, right), 400)


@pytest.mark.slow
def test_documents(tmp_path):
    content = {"format": "x/1", "counts": {"a": 1}, "emotion": "happiness", "subject": "sub01"}
    write_document(tmp_path / "d.json", content)
    whole = (tmp_path / "d.json").read_bytes()

    def read(path: Path) -> object:
        return read_document(path, "document", "write it again")

    assert_right(judge(tmp_path / "e.json", flips(whole, 300, 2), read, content), 300)


@pytest.mark.slow
def test_cached_blocks(tmp_path):
    rng = np.random.default_rng(SEED)
    tensors = {"flow": torch.from_numpy(rng.normal(size=(6, 3, 8, 8)).astype(np.float32))}
    write_block(tmp_path / "block.safetensors", [tensors], 7, {"k": "no face"})
    whole = (tmp_path / "block.safetensors").read_bytes()

    def read(path: Path) -> object:
        if not is_whole(path, 7):
            raise ValueError(f"{path} is computed again")
        found, rejected = read_block(path)
        return found["flow"].clone().numpy().tobytes(), rejected

    right = (tensors["flow"].numpy().tobytes(), {"k": "no face"})
    assert_right(judge(tmp_path / "b.safetensors", flips(whole, 200, 3), read, right), 200)
    assert safetensors.__version__


@pytest.mark.slow
def test_tables(tmp_path):
    header = ["subject", "clip", "emotion", "onset", "apex", "offset"]
    rows = [["006", f"c{n}", "happiness", n, n + 5, n + 9] for n in range(1, 9)]
    book = Workbook()
    for row in (header, *rows):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    text = "\n".join(";".join(map(str, row)) for row in (header, *rows)) + "\n"

    def read(path: Path) -> object:
        found = read_rows(path, COLUMNS, {"apex": ("apex",)})
        for row in found:
            row.emotion(), row.frame("onset"), row.optional_frame("apex"), row.text("subject")
        return len(found)

    excel = flips((tmp_path / "t.xlsx").read_bytes(), 150, 4)
    assert_right(judge(tmp_path / "x.xlsx", excel, read), 150)
    for encoding in ("utf-8", "utf-16", "gbk"):
        content = text.replace("happiness", "happiness").encode(encoding)
        assert_right(judge(tmp_path / "x.csv", flips(content, 50, 5), read), 50)


@pytest.mark.slow
def test_bombs(tmp_path):
    book = Workbook()
    book.active.append(["subject", "clip", "emotion", "onset", "offset"])
    book.active["XFD1048576"] = 1
    book.save(tmp_path / "stray.xlsx")
    contents = [(tmp_path / "stray.xlsx").read_bytes()]
    for part, filling in (
        ("sheet1.xml", b"<!--" + b"x" * (1 << 27) + b"-->"),
        ("styles.xml", b" " * (1 << 27)),
        ("workbook.xml", b"<!--" + b"-" * (1 << 26) + b"-->"),
    ):
        bomb = tmp_path / "bomb.xlsx"
        with (
            zipfile.ZipFile(tmp_path / "stray.xlsx") as old,
            zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new,
        ):
            for name in old.namelist():
                tail = filling if name.endswith(part) else b""
                new.writestr(name, old.read(name) + tail)
        contents.append(bomb.read_bytes())

    def read(path: Path) -> object:
        return len(read_rows(path, COLUMNS))

    outcome = judge(tmp_path / "x.xlsx", contents, read)
    assert_right(outcome, 4)
    assert outcome.counts["refused"] == 4


@pytest.mark.slow
def test_openface_files(tmp_path):
    names = ["frame", "face_id", "timestamp", "confidence", "success", *INTENSITY_COLUMNS]
    rows = [[n, 0, n / 30, 0.98, 1, *[0.5] * 17] for n in range(1, 30)]
    text = "\n".join(", ".join(map(str, row)) for row in (names, *rows)) + "\n"

    def read(path: Path) -> object:
        return len(read_openface(path).frames)

    assert_right(judge(tmp_path / "o.csv", flips(text.encode(), 150, 6), read), 150)


@pytest.mark.slow
def test_yaml_and_calibrations(tmp_path):
    table = Path(load_table.__code__.co_filename).parent / "tables" / "miex.yaml"
    assert_right(
        judge(tmp_path / "t.yaml", flips(table.read_bytes(), 100, 7), lambda p: load_table(p).name),
        100,
    )
    entry = "- {subject: a, clip: b, field: onset, old: 1, new: 2, source: x}\n"
    fixes = flips((entry * 4).encode(), 60, 8)
    assert_right(judge(tmp_path / "c.yaml", fixes, lambda p: len(read_corrections(p))), 60)
    shipped = shipped_calibration("mediapipe") or shipped_calibration("landmarks")
    assert shipped is not None
    shipped.write(tmp_path / "m.json")
    whole = (tmp_path / "m.json").read_bytes()
    outcome = judge(
        tmp_path / "n.json", flips(whole, 100, 9), lambda p: type(shipped).read(p), shipped
    )
    assert_right(outcome, 100)


@pytest.mark.slow
def test_images(tmp_path):
    rng = np.random.default_rng(SEED)
    pixels = rng.integers(0, 255, (48, 64, 3), np.uint8)
    for number, (name, image) in enumerate(
        (
            ("a.jpg", Image.fromarray(pixels)),
            ("a.png", Image.fromarray(pixels)),
            ("b.png", Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)),
            ("a.webp", Image.fromarray(pixels)),
            ("a.tif", Image.fromarray(pixels)),
            ("a.gif", Image.fromarray(pixels).convert("P")),
        )
    ):
        path = tmp_path / name
        image.save(path)
        outcome = Outcome()
        for content in flips(path.read_bytes(), 40, 20 + number):
            path.write_bytes(content)
            for read in (lambda p: open_photograph(p, 50, 2048).pixels, read_frame):
                outcome.inputs += 1
                try:
                    assert read(path).dtype == np.uint8
                    outcome.add("read", name)
                except UnusablePhotograph as error:
                    outcome.add("refused", str(error))
        assert_right(outcome, 80)


@pytest.mark.slow
def test_videos(tmp_path):
    rng = np.random.default_rng(SEED)
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(20):
        writer.write(cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (64, 48)))
    writer.release()

    def read(path: Path) -> object:
        video = VideoFrames.open(path)
        return [image.shape for image in video.images(video.numbers)][:1]

    assert_right(judge(tmp_path / "w.avi", flips(path.read_bytes(), 120, 10), read), 120)


@pytest.mark.slow
def test_lists(tmp_path):
    links = "\n".join(f"http://h/{n}_{m}.jpg\t{n}" for n in range(9) for m in range(9))

    def read(path: Path) -> object:
        return sum(not line.problem for line in read_lines(path, "list", "copy it again"))

    for number, encoding in enumerate(("utf-8", "utf-16", "gbk")):
        damaged = flips(links.encode(encoding), 60, 30 + number)
        assert_right(judge(tmp_path / "l.txt", damaged, read), 60)


@pytest.mark.slow
def test_labels_of_ckplus(tmp_path):
    label = tmp_path / "Emotion/S005/001/S005_001_00000011_emotion.txt"
    label.parent.mkdir(parents=True)
    (tmp_path / "cohn-kanade-images").mkdir()

    def read(path: Path) -> object:
        reader = open_clips(f"ckplus:{tmp_path}", frames=False)
        told = [one.detail for one in reader.report().rejections]
        assert all(path.name in detail for detail in told)
        return len(reader.clips())

    assert_right(judge(label, flips(b"   3.0000000e+00\n", 100, 11), read), 100)


@pytest.mark.slow
def test_nothing_of_a_foreign_file_is_shown(tmp_path):
    secret = "hunter2"
    bodies = [
        f"password: {secret}\n",
        f"a: [{secret}\n",
        f"{secret}: 1\n{secret}: 2\n",
        f"- {secret}\n",
        f"root:{secret}:0:0\n",
        f"&{secret} *{secret}x\n",
        f"name: {secret}\npassword: {secret}\n",
        f"\t{secret}",
        json.dumps({"key": secret}),
    ]
    for body in bodies:
        path = tmp_path / "f.yaml"
        path.write_text(body)
        for read in (load_table, read_corrections):
            with pytest.raises(ValueError, match=r"f\.yaml") as caught:
                read(path)
            assert secret not in str(caught.value)


def test_the_judge_notices(tmp_path):
    silent = judge(tmp_path / "f", [b"x"], lambda path: 2, 1)
    assert silent.counts["silent"] == 1
    error = SimpleNamespace(read=lambda path: {}["missing"])
    assert judge(tmp_path / "f", [b"x"], error.read).counts["traceback"] == 1


def main() -> None:
    """Print what became of the inputs of each class."""
    tests = (
        test_au_pools, test_documents, test_cached_blocks, test_tables, test_openface_files,
        test_yaml_and_calibrations, test_images, test_videos, test_lists, test_labels_of_ckplus,
    )  # fmt: skip
    kinds = ("read", "refused", "nameless", "silent", "traceback", "hang", "memory")
    for test in tests:
        with tempfile.TemporaryDirectory() as folder, suppress(AssertionError):
            test(Path(folder))
    print(f"{'class':24} {'inputs':>7} " + " ".join(f"{kind:>9}" for kind in kinds))
    for name, outcome in RECORD.items():
        counts = " ".join(f"{outcome.counts[kind]:9}" for kind in kinds)
        print(f"{name:24} {outcome.inputs:7} {counts}")


if __name__ == "__main__":
    main()
