"""Photographs near rest, and faces of bystanders in the crop."""

from pathlib import Path

import fake_faces as fakes
import numpy as np
import pytest

from miex.au_sources.action_units import AU_NUMBERS
from miex.au_sources.estimators.landmarks import neutral_offset
from miex.au_sources.face_motion import motion_table
from miex.datasets.base import Face, Rejection
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.preparation import prepare_face
from miex.pipeline.faces.rest import expressions_of, strongest
from miex.pipeline.synthesis.config import SynthesisConfig

AU12, AU45 = AU_NUMBERS.index(12), AU_NUMBERS.index(45)


def face_with(au: int, intensity: float) -> np.ndarray:
    """Landmarks ``(68, 2)`` of a mean face with one AU, 60 pixels between the eyes."""
    table = motion_table()
    shape = table.neutral + table.motion[au] * intensity / 5
    return (shape[:, :2] + neutral_offset()) * 60 + 120


def test_a_smile_is_measured_and_a_face_at_rest_is_not() -> None:
    aus = expressions_of(np.stack([face_with(AU12, 0), face_with(AU12, 5)]))
    intensities, names = strongest(aus)
    assert intensities[0] < 1.5 < intensities[1]
    assert names[1] == "AU12"


def test_closed_eyes_are_no_expression() -> None:
    aus = np.zeros((2, 17), np.float32)
    aus[0, AU45], aus[1] = 5, np.nan
    assert strongest(aus)[0].tolist() == [0, 0]


def test_no_faces_have_no_expressions() -> None:
    assert expressions_of(np.zeros((0, 68, 2))).shape == (0, 17)
    assert strongest(np.zeros((0, 17), np.float32))[1] == []


class SmilingDetector(fakes.FakeDetector):
    """Finds a smile in every face of even width."""

    def landmarks(self, image, box):
        left, top, right, bottom = box
        smile = (right - left) % 2 == 0
        shape = face_with(AU12, 5 if smile else 0) - 120
        centre = np.array([(left + right) / 2, top + 0.35 * (bottom - top)])
        return (centre + 0.45 / 60 * (right - left) * shape).astype(np.float32)


def prepared(tmp_path: Path, faces, detector=SmilingDetector, **settings) -> Face | Rejection:
    image = fakes.draw_photograph(1, 1, faces=faces)
    fakes.save(image, tmp_path / "a.png")
    config = FaceConfig(min_sharpness=0, max_misfit=9, **settings)
    photograph = fakes.Photograph(path=tmp_path / "a.png", identity="a", origin="a")
    return prepare_face(photograph, config, detector(config))


@pytest.mark.parametrize(("side", "kept"), [(120, False), (121, True)])
def test_an_expressive_face_is_left_out_on_request(tmp_path: Path, side: int, kept: bool) -> None:
    faces = ((60, 50, side),)
    assert isinstance(prepared(tmp_path, faces), Face)
    found = prepared(tmp_path, faces, max_expression=1.5)
    assert isinstance(found, Face) == kept
    if isinstance(found, Rejection):
        assert found.reason == "not_at_rest"
        assert "by landmarks, at most 1.5" in found.detail


@pytest.mark.parametrize("left", [176, 20])
def test_a_bystander_in_the_crop_is_found(tmp_path: Path, left: int) -> None:
    faces = ((70, 50, 100), (left, 70, 45))
    found = prepared(tmp_path, faces, fakes.FakeDetector)
    assert isinstance(found, Rejection)
    assert found.reason == "bystander"
    assert "of the crop, at most 2.0%" in found.detail
    assert isinstance(prepared(tmp_path, faces, fakes.FakeDetector, max_bystander=1), Face)


def test_later_fields_change_no_hash_until_they_are_used() -> None:
    assert "max_expression" not in FaceConfig().record()
    assert FaceConfig(max_expression=1).record()["max_expression"] == 1
    used = SynthesisConfig(face_preparation=FaceConfig(rest_weight=1))
    assert used.record()["face_preparation"]["rest_weight"] == 1
    assert used.sha256() != SynthesisConfig().sha256()
    assert "rest_weight" not in SynthesisConfig().record()["face_preparation"]
