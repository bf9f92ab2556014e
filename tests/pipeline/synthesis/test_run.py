import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from miex.datasets.dataset_format import SCHEMA, DatasetFolder, decode_frames
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.make_dataset import synthesize
from miex.pipeline.synthesis import inputs, job
from miex.pipeline.synthesis import manifest as manifests
from miex.pipeline.synthesis.config import QualityConfig, SequenceConfig, SynthesisConfig
from miex.pipeline.synthesis.inputs import Inputs
from miex.pipeline.synthesis.job import start
from miex.pipeline.synthesis.records import pending
from miex.pipeline.synthesis.run import redraw, render_shard
from miex.pipeline.synthesis.verify import verify


def small(table: Path, **changes: object) -> SynthesisConfig:
    settings: dict[str, object] = {
        "faces": str(table),
        "identities": 3,
        "rows_per_shard": 6,
        "seed": 7,
        "quality": QualityConfig(identity_share=0.1),
    }
    return SynthesisConfig(**(settings | changes))  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, str]:
    """Return the hashes of all files that must be equal for equal configs."""
    files = [*folder.glob("data/*"), folder / "manifest.json", folder / "README.md"]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
    }


@pytest.fixture(scope="module")
def made(sample_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "dataset"
    synthesize(small(sample_table), out, workers=1)
    return out


def test_the_folder_holds_what_was_planned(made: Path) -> None:
    dataset = DatasetFolder.open(made)
    counts = dataset.manifest["counts"]
    assert counts["planned"] == 27
    assert counts["written"] + counts["rejected"] == 27
    assert counts["by_class"].keys() == {"negative", "positive", "surprise"}
    assert counts["identities"] == 3
    assert len(dataset.shards) == 5
    assert pq.read_schema(dataset.shards[0]).remove_metadata().equals(SCHEMA)
    for name in ("README.md", "sheet.png", "report/index.html", "run.json"):
        assert (made / name).stat().st_size > 0
    assert not (made / ".miex").exists()


def test_verify_finds_nothing(made: Path) -> None:
    rows = []
    assert verify(made, on_rows=rows.append) == []
    assert sum(rows) == len(DatasetFolder.open(made))


def test_onset_shows_the_template_and_the_apex_moves(made: Path) -> None:
    for row in DatasetFolder.open(made).rows():
        frames = decode_frames(row)
        assert not np.array_equal(frames[0], frames[row["apex_index"]])
        assert row["motion"] > 0
        assert row["aus"][0] == [0] * 17
        assert len(row["landmarks"]) == 68


def test_another_number_of_workers_gives_the_same_bytes(
    made: Path, sample_table: Path, tmp_path: Path
) -> None:
    done: list[int] = []
    synthesize(small(sample_table), tmp_path / "two", workers=2, on_samples=done.append)
    assert content(tmp_path / "two") == content(made)
    assert sum(done) == 27


def test_any_row_can_be_made_again_alone(made: Path) -> None:
    dataset = DatasetFolder.open(made)
    rows = {row["sample_id"]: row for row in dataset.rows()}
    for sample_id in ("miex-00000000", "miex-00000014", max(rows)):
        again = redraw(made, sample_id)
        assert isinstance(again, dict)
        kept = rows[sample_id]
        assert pa.Table.from_pylist([again], schema=SCHEMA).to_pylist() == [kept]
    with pytest.raises(KeyError, match="no sample is called"):
        redraw(made, "miex-00000099")


def test_a_row_can_be_made_again_without_the_photographs(
    made: Path, sample_table: Path, tmp_path: Path
) -> None:
    photographs, out = tmp_path / "photographs", tmp_path / "dataset"
    for face in FaceTable.open(sample_table).load([0, 1]):
        photographs.mkdir(exist_ok=True)
        large = cv2.resize(face.crop, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(photographs / f"{face.identity}.png"), large[..., ::-1])
    lenient = FaceConfig(min_sharpness=0, max_outside=1, max_yaw=90)
    config = SynthesisConfig(faces=f"folder:{photographs}", face_preparation=lenient, samples=4)
    synthesize(config, out, workers=1)
    shutil.rmtree(photographs)
    before = content(out)
    assert isinstance(redraw(out, "miex-00000003"), dict)
    assert content(out) == before


def test_a_row_is_not_made_again_from_something_else(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {**manifests.versions(), "numpy": "0.1"}
    monkeypatch.setattr(manifests, "versions", lambda: changed)
    with pytest.raises(
        ValueError,
        match=r"versions\.numpy \('.*' in the manifest, '0\.1' now\).*inputs and versions",
    ):
        redraw(made, "miex-00000000")


def test_equal_datasets_in_one_process_read_their_own_faces(
    sample_table: Path, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        own = tmp_path / name / "faces.parquet"
        own.parent.mkdir()
        shutil.copy(sample_table, own)
        config = SynthesisConfig(identities=1)
        table = FaceTable.open(own)
        one = job._identify(own.parent, own, Path.cwd(), Inputs.open(config, own, Path.cwd()))[0]
        assert table.path == one.faces
        render_shard(one, 0)
        own.unlink()


def test_verify_compares_every_count_and_the_folder(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    shutil.copytree(made, out)
    shutil.copy(out / "data" / "train-00000-of-00005.parquet", out / "data" / "copy.parquet")
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["counts"]["identities"] += 1
    manifest["counts"]["by_emotion"]["anger"] += 1
    manifest["counts"]["by_au_source"]["expert"] -= 1
    manifest["rejections"].append({})
    (out / "manifest.json").write_text(json.dumps(manifest))
    found = {problem.what.partition(" is ")[0] for problem in verify(out)}
    assert found == {
        "is not listed in the manifest, but readers of the folder load it",
        "identities",
        "emotion anger",
        "kind of source expert",
        "rejected",
        "rejections differ from those that the shards state",
    }


def test_what_a_killed_run_left_half_written_goes(sample_table: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    start(small(sample_table), out)
    (out / "data").mkdir(exist_ok=True)
    for name in (".manifest.json.1-2.partial", "data/.train.3-4.partial"):
        (out / name).touch()
    start(small(sample_table), out)
    assert not list(out.rglob("*.partial"))


def test_a_finished_dataset_is_left_as_it_is(made: Path, sample_table: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.glob("data/*")}
    done: list[int] = []
    synthesize(small(sample_table), made, workers=1, on_samples=done.append)
    assert {path: path.stat().st_mtime_ns for path in made.glob("data/*")} == before
    assert sum(done) == 27


def test_a_damaged_or_lost_shard_is_made_again(
    made: Path, sample_table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    config = small(sample_table)
    synthesize(config, out, workers=1)
    shards = DatasetFolder.open(out).shards
    shards[0].unlink()
    damaged = bytearray(shards[1].read_bytes())
    damaged[len(damaged) // 3] ^= 255
    shards[1].write_bytes(damaged)
    assert {Path(problem.where).name for problem in verify(out)} >= {
        shards[0].name,
        shards[1].name,
    }
    assert pending(start(config, out)) == [0, 1]
    synthesize(config, out, workers=1)
    assert content(out) == content(made)


def test_a_shard_that_was_not_recorded_yet_is_recognised(
    sample_table: Path, tmp_path: Path
) -> None:
    job = start(small(sample_table), tmp_path / "dataset")
    render_shard(job, 2)
    (tmp_path / "dataset" / ".miex" / "shard-00002.json").unlink()
    assert pending(job) == [0, 1, 3, 4]


def test_another_dataset_in_the_folder_is_refused(made: Path, sample_table: Path) -> None:
    before = content(made)
    with pytest.raises(
        ValueError, match=r"holds another dataset.*config.seed \(7 in the folder, 8 req"
    ):
        synthesize(small(sample_table, seed=8), made)
    assert content(made) == before


def test_long_differences_are_shortened(made: Path, sample_table: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.sources .*inputs\.sources ") as refused:
        synthesize(small(sample_table, sources=("expert:casme3",)), made)
    assert len(str(refused.value)) < 800


def test_a_folder_of_something_else_is_refused(sample_table: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="not empty and holds no miex dataset"):
        synthesize(small(sample_table), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_tilde_is_the_home_folder(
    tmp_path: Path, sample_table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(sample_table.parent))
    config = SynthesisConfig(faces=f"~/{sample_table.name}", identities=2, samples=2)
    synthesize(config, tmp_path / "out", workers=1)
    assert len(DatasetFolder.open(tmp_path / "out")) == 2


def test_a_missing_face_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.parquet"):
        synthesize(SynthesisConfig(faces=str(tmp_path / "nowhere.parquet")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rejections_are_counted_with_their_reason(sample_table: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    strict = QualityConfig(min_motion_iod=0.03, max_attempts=2, identity_share=0)
    manifest = synthesize(small(sample_table, quality=strict), out, workers=1)
    counts = manifest["counts"]
    assert counts["rejected"] > 0
    assert counts["redrawn"] > 0
    assert counts["written"] + counts["rejected"] == counts["planned"] == 27
    assert {entry["reason"] for entry in manifest["rejections"]} == {"too_little_motion"}
    assert {entry["attempts"] for entry in manifest["rejections"]} == {2}
    assert verify(out) == []


def test_a_dataset_without_one_sample_is_an_error(sample_table: Path, tmp_path: Path) -> None:
    strict = QualityConfig(min_motion_iod=5, max_attempts=1, identity_share=0)
    with pytest.raises(ValueError, match="every sample was rejected"):
        synthesize(small(sample_table, quality=strict), tmp_path / "out", workers=1)


def test_n_frames_from_onset_to_apex_and_back(sample_table: Path, tmp_path: Path) -> None:
    sequence = SequenceConfig(frames=5, easing="smooth", back_to_offset=True)
    out = tmp_path / "dataset"
    synthesize(small(sample_table, sequence=sequence, samples=9, identities=1), out, workers=1)
    for row in DatasetFolder.open(out).rows():
        frames = decode_frames(row)
        assert len(frames) == 9
        assert row["apex_index"] == 4
        assert np.array_equal(frames[0], frames[8])
        distances = [np.abs(frames[0].astype(int) - frame).sum() for frame in frames[:5]]
        assert distances == sorted(distances)


def test_hugging_face_opens_the_result(made: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(made), cache_dir=str(tmp_path), split="train")
    first = next(DatasetFolder.open(made).rows())
    assert len(loaded) == len(DatasetFolder.open(made))
    assert np.array_equal(np.asarray(loaded[0]["frames"][1]), decode_frames(first)[1])
    assert np.array_equal(loaded[0]["aus"], first["aus"])
    label = loaded.features["label"]
    assert isinstance(label, datasets.ClassLabel)
    assert label.int2str(first["label"]) == first["emotion"]


RUN = """
import sys
from pathlib import Path
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.make_dataset import synthesize
if __name__ == "__main__":
    synthesize(SynthesisConfig.from_yaml(Path(sys.argv[1])), Path(sys.argv[2]), workers=2)
"""


@pytest.mark.slow
def test_ten_kills_change_nothing(sample_table: Path, tmp_path: Path) -> None:
    config = small(sample_table, samples=400, rows_per_shard=16)
    (tmp_path / "config.yaml").write_text(json.dumps(config.model_dump(mode="json")))
    (tmp_path / "run.py").write_text(RUN)
    peace, war = tmp_path / "peace", tmp_path / "war"
    synthesize(config, peace, workers=1)
    rng = random.Random(0)
    killed = 0
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "run.py", "config.yaml", str(war)],
            cwd=tmp_path,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        before = len(list(war.glob("data/train-*")))
        while process.poll() is None and time.monotonic() < deadline:
            if len(list(war.glob("data/train-*"))) > before:
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    subprocess.run([sys.executable, "run.py", "config.yaml", str(war)], cwd=tmp_path, check=True)
    assert killed >= 5
    assert content(war) == content(peace)
    assert not list(war.glob("data/.*"))


def test_inputs_are_opened_once(
    sample_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that a whole run opens the face table, each AU source, plan and generator once."""
    opened: Counter[str] = Counter()

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            opened[name] += 1
            return call(*arguments, **options)

        return wrapper

    monkeypatch.setattr(job, "create_generator", counted("generator", job.create_generator))
    monkeypatch.setattr(inputs, "create_generator", counted("generator", inputs.create_generator))
    monkeypatch.setattr(inputs, "open_source", counted("source", inputs.open_source))
    monkeypatch.setattr(inputs, "Plan", counted("plan", inputs.Plan))
    table = counted("faces", inputs.FaceTable.open)
    monkeypatch.setattr(inputs, "FaceTable", SimpleNamespace(open=table))
    config = small(sample_table, sources=("expert:miex", "expert:du2014"), identities=1)
    synthesize(config, tmp_path / "dataset", workers=1)
    assert opened == {"generator": 1, "source": 2, "plan": 1, "faces": 1}
