"""Tests of the stand-in (two subjects, two clips each, half size) and of its separation rules."""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from miex.datasets.clips.base import open_clips
from miex.datasets.labels import LABEL_SPACES
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.recognition.clip_samples import clip_blocks

HERE = Path(__file__).parent
SIZE = 160


@pytest.fixture(scope="module")
def modules():
    """Import the scripts in this folder, which import each other by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        import actor
        import face_fit
        import face_model
        import lineage
        import make
        import performance
        import rasterizer
    return {
        module.__name__: module
        for module in (actor, face_fit, face_model, lineage, make, performance, rasterizer)
    }


@pytest.fixture(scope="module")
def model(modules, shared):
    return modules["face_model"].FaceModel.load(shared / "data" / "ict_facekit")


@pytest.fixture(scope="module")
def textures(modules, model, shared):
    return list(modules["make"].find_textures(model, shared, 2))


@pytest.fixture(scope="module")
def render(modules, shared, textures, tmp_path_factory):
    """Render 2 x 2 clips; the search for textures runs once."""

    def run(seed: int) -> Path:
        out = tmp_path_factory.mktemp("stand_in") / "out"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(modules["make"], "find_textures", lambda *_: iter(textures))
            modules["make"].make(shared, out, subjects=2, clips=2, size=SIZE, seed=seed)
        return out

    return run


@pytest.fixture(scope="module")
def rendered(render):
    return render(0)


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.*"))
    }


def lineage_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "lineage.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def frontal(modules, actor, scale: float, size: int = SIZE):
    pose = modules["face_fit"].Pose(scale, np.zeros(3), np.zeros(2))
    eyes = pose.project(actor.eyes[None].astype(float))[0][0]
    return modules["face_fit"].Pose(scale, np.zeros(3), np.array([0.5, 0.42]) * size - eyes)


def test_it_opens_and_becomes_samples(rendered):
    reader = open_clips(f"clip_table:{rendered}?name=stand_in")
    assert reader.name == "stand_in"
    assert [clip.key for clip in reader.clips()] == [
        ("stand_in", f"actor{subject:02}", f"clip{clip:02}")
        for subject in (1, 2)
        for clip in (1, 2)
    ]
    assert reader.report().frames_missing == 0
    blocks, rejections = clip_blocks([reader], LABEL_SPACES["three_class"])
    assert not rejections
    assert [len(block.infos) for block in blocks] == [2, 2]
    assert blocks[0].infos[0].lineage == {("stand_in", "actor01")}


def test_it_never_pretends_to_be_real(rendered):
    note = (rendered / "RENDERED.md").read_text(encoding="utf-8")
    assert note.startswith("# Rendered micro-expressions: a stand-in, not a database")
    assert "were rendered, not recorded" in note


def test_the_face_moves_and_the_background_does_not(rendered):
    for clip in open_clips(f"clip_table:{rendered}").clips():
        onset, apex = (image.astype(float) for image in clip.images([clip.onset, clip.apex]))
        change = np.abs(apex - onset).mean(axis=2)
        corners = np.concatenate(
            [
                change[y, x].ravel()
                for y in (slice(8), slice(-8, None))
                for x in (slice(8), slice(-8, None))
            ]
        )
        face = change[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4]
        # Noise of the sensor and JPEG remain.
        assert corners.mean() < 3
        assert np.percentile(face, 99) > 3 * np.percentile(corners, 90)


def test_the_same_seed_gives_the_same_pixels(render, rendered):
    again, other = contents(render(0)), contents(render(1))
    assert contents(rendered) == again
    assert set(again.values()).isdisjoint(
        digest for name, digest in other.items() if name.endswith(".jpg")
    )


def test_lineage_says_who_is_behind_a_clip(rendered, modules, shared, textures):
    rows = lineage_rows(rendered)
    reader = open_clips(f"casme3:{shared / 'data' / 'casme3'}", frames=False)
    sources = {(clip.subject, clip.clip): clip for clip in reader.clips()}
    for row, clip in zip(rows, open_clips(f"clip_table:{rendered}").clips(), strict=True):
        source = sources[row["au_subject"], row["au_clip"]]
        assert (clip.emotion, clip.aus) == (source.emotion, source.aus)
        assert modules["lineage"].drives_stand_in(row["au_subject"])
        assert json.loads(row["played"])
    assert list(dict.fromkeys(row["texture_identity"] for row in rows)) == [
        texture.identity for texture in textures
    ]
    assert len({row["au_subject"] for row in rows}) == 2


def test_both_halves_of_casme3_share_nobody(rendered):
    halves = [
        (rendered / name).read_text(encoding="utf-8").split()
        for name in ("casme3_stand_in.txt", "casme3_training.txt")
    ]
    assert [len(half) for half in halves] == [45, 49]
    assert not set(halves[0]) & set(halves[1])


def test_textures_are_kept_out_and_the_list_names_them(rendered, modules, textures):
    kept_out = modules["lineage"].kept_out
    listed = set((rendered / "lfw_kept_out.txt").read_text(encoding="utf-8").split())
    assert len(listed) == 487
    assert all(map(kept_out, listed))
    assert {texture.identity for texture in textures} <= listed
    assert not listed & {
        path for path in ("Aaron_Eckhart", "Zurab_Tsereteli") if not kept_out(path)
    }


def test_a_face_table_loses_them_and_their_doubles(modules, sample_table, tmp_path, monkeypatch):
    lineage = modules["lineage"]
    table = FaceTable.open(sample_table)
    gone, double = table.identities[0], table.identities[1]
    monkeypatch.setattr(lineage, "kept_out", lambda name: name == gone)
    monkeypatch.setattr(lineage, "near_pairs", lambda *_: [(0, 1, 0.3)])
    out = tmp_path / "rest.parquet"
    counts = lineage.write_face_table_without(sample_table, out)
    rest = FaceTable.open(out)
    assert not {gone, double} & set(rest.identities)
    assert len(rest) + sum(counts.values()) == len(table)
    assert counts["kept_for_stand_in"] == table.identities.count(gone)
    assert rest.rejection_counts["looks_like_stand_in"] == 1
    face, same = rest.load([0])[0], table.load([table.identities.index(rest.identities[0])])[0]
    assert (face.crop == same.crop).all()
    monkeypatch.setattr(lineage, "kept_out", lambda name: True)
    with pytest.raises(ValueError, match="every face is reserved for the stand-in"):
        lineage.write_face_table_without(sample_table, out)


def test_au12_draws_the_corners_of_the_mouth_up_and_outwards(modules, model, textures):
    one = textures[0]
    actor = modules["actor"].Actor(model, one.fit, one.image, one.landmarks)
    smile = np.zeros(len(model.names))
    smile[[model.shape("mouthSmile_L"), model.shape("mouthSmile_R")]] = 0.5
    pose = frontal(modules, actor, scale=5.0)
    before, after = (actor.landmarks(a, pose) for a in (np.zeros_like(smile), smile))
    left, right = after[48] - before[48], after[54] - before[54]
    assert left[0] < -0.5
    assert right[0] > 0.5
    assert max(left[1], right[1]) < -0.5
    assert np.abs(after[27] - before[27]).max() < 0.1
    light = modules["actor"].Light(np.array([0.0, 0.0, 1.0]), 0.7)
    still, seen = (actor.render(a, pose, pose, light, SIZE) for a in (0 * smile, smile))
    change = np.abs(seen - still).mean(axis=2)
    mouth, brows = before[48:68].mean(axis=0).astype(int), before[17:27].mean(axis=0).astype(int)
    around = {
        name: change[y - 12 : y + 12, x - 20 : x + 20].mean()
        for name, (x, y) in (("mouth", mouth), ("brows", brows))
    }
    assert around["mouth"] > 10 * around["brows"]
    assert change[:10].max() < 0.01


def test_a_performance_is_still_at_the_onset_and_strongest_at_the_apex(modules, model):
    performance = modules["performance"]
    rises = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        person = performance.draw_temperament(rng)
        take = performance.play(model, performance.playable("L12+4"), person, rng)
        smile = take.activation[:, model.shape("mouthSmile_L")]
        assert not take.activation[0].any()
        assert not take.turn[0].any()
        assert smile.argmax() == take.apex
        assert take.activation[take.apex, model.shape("mouthSmile_R")] < 0.3 * smile.max()
        least = performance.LEAST_MOTION[0]
        assert performance.largest_motion(model, take.activation[take.apex]) > 0.9 * least
        rises.append(200 * take.apex / performance.FPS)
    # 25 %, median and 75 % of CASME II in MEGC2019, to the step of 30 frames a second.
    assert np.percentile(rises, [25, 50, 75]) == pytest.approx([23, 33, 43], abs=8)


def test_aus_without_a_shape_are_not_played(modules):
    playable = modules["performance"].playable
    assert playable(None) == []
    assert playable("38") == []
    assert [code.number for code in playable("38+R14")] == [14]


def test_the_rasterizer_shows_the_nearer_triangle(modules):
    points = np.array([[1, 8], [8, 8], [1, 1], [1, 8], [8, 8], [1, 1]], np.float32)
    depth = np.array([0, 0, 0, 1, 1, -1], np.float32)
    triangles = np.array([[0, 1, 2], [3, 4, 5], [2, 1, 0]])
    raster = modules["rasterizer"].rasterize(points, depth, triangles, 10)
    drawn = raster.image(np.column_stack([raster.depth, raster.corners[:, 0]]), fill=-9)
    np.testing.assert_allclose(drawn[8, 1:9, 0], 1, atol=1e-5)
    # Linear along the edge: from -1 at the top to 1 at the bottom; the other is in front above 0.
    expected = np.maximum(-1 + 2 * (np.arange(1, 9) - 1) / 7, 0)
    np.testing.assert_allclose(drawn[1:9, 1, 0], expected, atol=1e-5)
    assert (drawn[0] == -9).all()
    assert (drawn[2, 5] == -9).all()
    assert set(np.unique(drawn[..., 1])) == {-9, 0, 3}


def test_a_face_is_fitted_to_landmarks_that_it_made(modules, model):
    fit = modules["face_fit"]
    rng = np.random.default_rng(3)
    identity = 0.3 * rng.standard_normal(len(model.identity))
    mesh = model.neutral + np.tensordot(identity, model.identity, axes=1)
    pose = fit.Pose(6.5, np.radians([4.0, -8.0, 3.0]), np.array([120.0, 130.0]))
    landmarks = pose.project(mesh[model.landmarks])[0]
    found = fit.fit_face(model, landmarks)
    assert found.error < 0.02
    # A small head seen large is a large head seen small.
    assert found.pose.scale == pytest.approx(6.5, rel=0.1)
    np.testing.assert_allclose(np.degrees(found.pose.turn), [4, -8, 3], atol=4)
    assert found.resting.max() < 0.25
