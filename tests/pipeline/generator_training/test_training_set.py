"""Tests of training sets: labels, agreement of estimators, and the split by identity."""

from collections.abc import Sequence
from pathlib import Path

import fake_faces as fakes
import numpy as np
import pytest
from numpy.typing import ArrayLike
from typer.testing import CliRunner

from miex.au_sources.action_units import AU_NAMES, AU_NUMBERS
from miex.au_sources.estimators.base import Estimates, Frame, create_estimator
from miex.datasets.base import Photograph
from miex.flows.cli import app
from miex.generators.ganimation.training_set import SPLITS, TrainingSet
from miex.pipeline.aus.agreement import (
    Confirmation,
    agreement,
    measured_confirmation,
    shipped_confirmations,
)
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.prepare import prepare_faces
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.generator_training import training_set as module
from miex.pipeline.generator_training.config import TrainingSetConfig, training_face_config
from miex.pipeline.generator_training.split import same_person_groups, split_identities
from miex.pipeline.generator_training.training_set import make_training_set

PEOPLE = 12


class TextureEstimator:
    """An estimator that reads all AUs except AU45 from the blue channel, and none of p11."""

    name, version, scale, needs_landmarks = "fake", "fake abc", "intensity", True
    aus = AU_NUMBERS[:-1]

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def estimate(self, images: Sequence[Frame], landmarks: ArrayLike | None = None) -> Estimates:
        assert np.shape(landmarks) == (len(images), 68, 2)
        rows = np.stack([np.resize(image[20:60:8, 20:60:8, 2] / 51.0, 17) for image in images])
        rng = np.random.default_rng(len(images))
        rows = np.clip(rows + self.noise * rng.normal(size=rows.shape), 0, 5).astype(np.float32)
        rows[:, -1] = np.nan
        blind = np.array(
            [image[len(image) // 2, len(image) // 2, 1] // 16 == 11 for image in images]
        )
        rows[blind] = np.nan
        return Estimates(rows, ~blind)


def confirm_all(estimator) -> list[Confirmation]:
    """Return agreements in which AU01 is weak, AU02 is missing and all others are good."""
    correlations = {name: 0.2 if name == "AU01" else 0.8 for name in AU_NAMES if name != "AU02"}
    return [Confirmation("a table", correlations, dict.fromkeys(correlations, 500))]


@pytest.fixture(autouse=True)
def fake_estimators(monkeypatch):
    monkeypatch.setattr(module, "create_calibrated_estimator", lambda *_, **__: TextureEstimator())
    monkeypatch.setattr(module, "create_estimator", lambda *_, **__: TextureEstimator(noise=0.5))
    monkeypatch.setattr(module, "shipped_confirmations", confirm_all)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Prepare two photographs of each of 12 people, and one more of p3 under the name `twin`.

    No AU can be measured on p11.
    """
    folder = tmp_path_factory.mktemp("faces")
    source = fakes.drawn_source(folder, PEOPLE, each=2)
    photographs = [
        *source.photographs(),
        Photograph(
            "twin", fakes.save(fakes.draw_photograph(3, 9), folder / "twin.png"), "list:twin.png"
        ),
        Photograph(
            "blank",
            fakes.save(fakes.draw_photograph(4, 9, faces=()), folder / "blank.png"),
            "list:blank.png",
        ),
    ]
    out = folder / "faces.parquet"
    prepare_faces(
        fakes.ListSource(photographs),
        out,
        training_face_config(128),
        workers=1,
        detector=fakes.FakeDetector,
    )
    return out


def test_every_photograph_is_in_or_counted(table, tmp_path):
    told = []
    made = make_training_set(
        table, tmp_path / "t.parquet", on_progress=lambda *args: told.append(args)
    )
    assert len(made) == 2 * PEOPLE + 1 - 2
    assert made.notes.rejections == {"no_aus": 2, "no_face": 1}
    assert made.notes.counts == {
        split: {
            "photographs": made.count(split),
            "identities": len(set(made.faces(split).identities)),
        }
        for split in SPLITS
    }
    assert made.notes.licences == {"list": "none needed"}
    assert made.notes.detector == "fake 1"
    assert made.notes.estimator_version == "fake abc"
    assert ("AUs", 25, 25) in told
    assert told[-1] == ("crops", 23, 23)


def test_labels_and_landmarks_belong_to_their_photograph(table, tmp_path):
    config = TrainingSetConfig(image_format="webp", source="drawn people", licence="free")
    made = make_training_set(table, tmp_path / "t.parquet", config)
    assert made.notes.psnr is None
    assert made.notes.licences == {"drawn people": "free"}
    source = FaceTable.open(table)
    by_origin = {face.origin: face for face in source.load(range(len(source)))}
    for split in SPLITS:
        faces = made.faces(split)
        for number, origin in enumerate(faces.origins):
            face = by_origin[origin]
            np.testing.assert_array_equal(faces.images[number], face.crop)
            np.testing.assert_allclose(faces.landmarks[number], face.landmarks, atol=1 / 128)
            expected = TextureEstimator().estimate([face.crop], face.landmarks[None]).aus[0]
            np.testing.assert_array_equal(faces.aus[number], expected)
            assert faces.identities[number] == face.identity


def test_jpeg_loses_little(table, tmp_path):
    made = make_training_set(table, tmp_path / "t.parquet")
    fine = make_training_set(table, tmp_path / "w.parquet", TrainingSetConfig(image_format="webp"))
    difference = np.abs(
        made.faces("train").images.astype(int) - fine.faces("train").images.astype(int)
    )
    assert 0 < difference.mean() < 3
    assert made.notes.psnr == pytest.approx(10 * np.log10(255**2 / (difference**2).mean()), abs=1.5)
    assert made.notes.encoding == "jpeg, quality 95, 4:4:4"


def test_nobody_is_on_two_sides(table, tmp_path):
    sides = {}
    for seed in range(6):
        path = tmp_path / f"{seed}.parquet"
        made = make_training_set(
            table, path, TrainingSetConfig(seed=seed, held_out_share=0.3, validation_share=0.2)
        )
        people = {split: frozenset(made.faces(split).identities) for split in SPLITS}
        assert not people["train"] & people["held_out"]
        assert not people["train"] & people["validation"]
        assert not people["validation"] & people["held_out"]
        assert {"p3", "twin"} <= next(one for one in people.values() if "twin" in one)
        assert len(people["held_out"]) in (3, 4)
        sides[seed] = people["held_out"]
    assert made.notes.same_person == (("p3", "twin"),)
    assert len(set(sides.values())) > 1


def test_what_a_second_estimator_does_not_confirm_is_not_trusted(table, tmp_path):
    made = make_training_set(table, tmp_path / "t.parquet")
    reasons = {one.au: one.reason for one in made.notes.agreement}
    untrusted = {name for name, ok in zip(AU_NAMES, made.trusted, strict=True) if not ok}
    assert untrusted == {"AU01", "AU02", "AU45"}
    assert reasons["AU01"] == "correlation 0.20 with a table, is below 0.3"
    assert reasons["AU02"] == "no second estimator measures it"
    assert reasons["AU45"] == "not measured"
    assert np.isfinite(made.aus("train")[:, 0]).all()  # kept, though not trusted

    config = TrainingSetConfig(min_agreement=0)
    free = make_training_set(table, tmp_path / "free.parquet", config)
    assert free.trusted.sum() == 16


def test_without_any_confirmation_it_says_what_to_do(table, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "shipped_confirmations", lambda estimator: [])
    with pytest.raises(ValueError, match="name a second estimator with --check"):
        make_training_set(table, tmp_path / "t.parquet")
    assert not (tmp_path / "t.parquet").exists()


def test_a_second_estimator_on_the_same_photographs():
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 5, (300, 17)).astype(np.float32)
    second = np.sqrt(5 * labels)  # another scale, the same order
    second[:, 3] = rng.permutation(second[:, 3])
    second[:, 5] = np.nan
    labeller = TextureEstimator()
    names = [f"p{number // 3}" for number in range(300)]
    found = measured_confirmation(labels, names, labeller, second, labeller)
    judged = {one.au: one for one in agreement(labels, [found], 0.4)}
    assert not judged["AU05"].trusted
    assert not judged["AU07"].trusted
    assert judged["AU07"].correlation is None
    assert sum(one.trusted for one in judged.values()) == 15
    assert judged["AU12"].correlation > 0.97
    assert judged["AU12"].photographs == 300


def test_the_best_confirmation_counts():
    labels = np.random.default_rng(0).uniform(0, 5, (20, 17)).astype(np.float32)
    weak = Confirmation("one", {"AU12": 0.2}, {"AU12": 9})
    good = Confirmation("two", {"AU12": 0.9}, {"AU12": 7})
    found = agreement(labels, [weak, good], 0.4)[AU_NAMES.index("AU12")]
    assert (found.trusted, found.against, found.photographs) == (True, "two", 7)
    constant = np.ones_like(labels)
    assert "is 1 on every photograph" in agreement(constant, [good], 0.4)[8].reason


def test_tables_of_miex_speak_for_both_sides_of_a_calibration(shared):
    by_table = shipped_confirmations(
        create_estimator(f"openface-models:{shared / 'data' / 'openface_au'}")
    )
    assert [one.against.split()[0] for one in by_table] == ["landmarks", "mediapipe"]
    assert by_table[0].correlations["AU12"] > 0.85
    own = shipped_confirmations(create_estimator("landmarks"))
    assert [one.against.split()[0] for one in own] == ["openface-models"]
    assert shipped_confirmations(TextureEstimator()) == []


def test_the_same_again_is_opened_and_another_refused(table, tmp_path):
    out = tmp_path / "t.parquet"
    first = make_training_set(table, out)
    content, written = out.read_bytes(), out.stat().st_mtime_ns
    assert make_training_set(table, out).notes == first.notes
    assert out.stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="give another path, or delete"):
        make_training_set(table, out, TrainingSetConfig(seed=1))
    out.unlink()
    make_training_set(table, out)
    assert out.read_bytes() == content


def test_larger_crops_are_shrunk_with_their_landmarks(table, tmp_path):
    usual = make_training_set(table, tmp_path / "128.parquet").faces("train")
    config = TrainingSetConfig(size=64)
    small = make_training_set(table, tmp_path / "64.parquet", config).faces("train")
    assert small.images.shape[1:] == (64, 64, 3)
    expected = (usual.landmarks + 0.5) / 2 - 0.5
    np.testing.assert_allclose(small.landmarks, expected, atol=1 / 64)
    with pytest.raises(ValueError, match="crops of 128 pixels, expected 256"):
        make_training_set(table, tmp_path / "256.parquet", TrainingSetConfig(size=256))


def test_the_output_is_named_rightly(table, tmp_path):
    with pytest.raises(ValueError, match=r"end in \.parquet"):
        make_training_set(table, tmp_path / "t.png")


def test_every_photograph_of_a_person_is_prepared():
    config = training_face_config(64)
    assert config.size == 64
    assert config.templates_per_identity > 1000
    assert config.max_yaw == FaceConfig().max_yaw


def test_groups_join_over_a_third_name():
    embeddings = np.zeros((5, 4), np.float32)
    embeddings[:, 0] = [0.0, 0.3, 0.6, 5.0, 5.0]
    found = same_person_groups(["c", "b", "a", "d", "d"], embeddings, 0.35)
    assert found == (("a", "b", "c"),)


def test_a_split_depends_on_seed_and_names_alone():
    names = [f"n{number}" for number in range(400)]
    sizes = {"held_out": 50, "validation": 20}
    split = split_identities(names, [("n1", "n2")], sizes, "train", 0)
    assert split == split_identities(reversed(names), [("n1", "n2")], sizes, "train", 0)
    assert [list(split.values()).count(name) for name in ("held_out", "validation")] == [50, 20]
    assert split["n1"] == split["n2"]
    grown = split_identities([*names, "new"], [("n1", "n2")], sizes, "train", 0)
    assert sum(grown[name] != split[name] for name in names) <= 3
    with pytest.raises(ValueError, match="photographs of more people"):
        split_identities(names[:60], [], sizes, "train", 0)


def test_the_command_says_what_is_in_it(table, tmp_path):
    out = tmp_path / "t.parquet"
    words = [
        "training-set",
        str(table),
        "-o",
        str(out),
        "--set",
        "seed=3",
        "--set",
        "image_format=webp",
    ]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    assert "23 photographs" in answer.output
    assert "not measured" in answer.output
    assert "no_aus" in answer.output
    assert (tmp_path / "t.png").stat().st_size > 10_000
    assert TrainingSet.open(out).notes.config["seed"] == 3

    wrong = CliRunner().invoke(
        app, ["training-set", str(table), "-o", str(out), "--set", "shape=3"]
    )
    assert wrong.exit_code == 2
    assert "shape: there is no such field; there are: size, source" in wrong.stderr
