import csv
from pathlib import Path

import numpy as np
import pytest

from miex.au_sources.action_units import AU_NAMES, AU_NUMBERS
from miex.au_sources.estimators.base import VideoEstimator, create_estimator, estimate_video
from miex.au_sources.estimators.landmarks import (
    UNSEEN_AUS,
    LandmarkEstimator,
    neutral_offset,
    upright,
)
from miex.au_sources.face_motion import landmark_motion, motion_table

SEEN = [au for au, number in enumerate(AU_NUMBERS) if number not in UNSEEN_AUS]
UNSEEN = [AU_NUMBERS.index(number) for number in UNSEEN_AUS]
AU12 = AU_NAMES.index("AU12")


def head(turn: float = 0.0, roll: float = 0.0, size: float = 80.0, seed: int = 0) -> np.ndarray:
    """A face at rest, of somebody whose shape is his own."""
    angle, tilt = np.radians([turn, roll])
    yaw = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    plane = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    shape = motion_table().neutral @ np.array(yaw).T
    own = np.random.default_rng(seed).normal(0, 0.02, (68, 2))
    return size * (shape[:, :2] + neutral_offset() + own) @ np.array(plane).T + (200, 150)


def blank(count: int) -> list[np.ndarray]:
    return [np.zeros((4, 4, 3), np.uint8)] * count


def moved(face: np.ndarray, au: int, intensity: float) -> np.ndarray:
    return face + intensity / 5 * landmark_motion(face)[au]


@pytest.mark.parametrize(("turn", "roll"), [(0, 0), (20, -15)])
def test_planted_aus_are_recovered_against_the_own_rest(turn, roll):
    rest = head(turn, roll)
    estimator = LandmarkEstimator(rest)
    faces = np.stack([moved(rest, au, 2.5) for au in SEEN])
    found = estimator.estimate(blank(len(faces)), faces).aus
    assert [SEEN[row] for row in np.nanargmax(found[:, SEEN], axis=1)] == SEEN
    own = found[np.arange(len(SEEN)), SEEN]
    assert (own > 0.9).all()
    assert (own <= 2.6).all()
    assert np.median(own) > 1.8
    assert found[SEEN.index(AU12), AU12] > 2


def test_intensity_grows_with_the_motion():
    rest = head()
    faces = np.stack([moved(rest, AU12, level) for level in (0, 1, 2, 3, 4, 5)])
    found = LandmarkEstimator(rest).estimate(blank(6), faces).aus[:, AU12]
    assert found[0] == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(np.diff(found), 0.9, atol=0.15)


def test_the_mean_face_serves_where_no_rest_is_known():
    neutral, smile = head(), moved(head(), AU12, 3)
    found = LandmarkEstimator().estimate(blank(2), np.stack([neutral, smile])).aus
    assert found[1, AU12] > 1.2
    assert found[0, AU12] < 0.4


def test_pose_and_size_do_not_matter():
    small = moved(head(size=40), AU12, 3)
    large = moved(head(size=200, roll=25), AU12, 3) + np.array([500, 300])
    found = LandmarkEstimator().estimate(blank(2), np.stack([small, large])).aus
    np.testing.assert_allclose(found[0, SEEN], found[1, SEEN], atol=0.02)


def test_what_landmarks_cannot_see_stays_missing():
    estimator = LandmarkEstimator()
    found = estimator.estimate(blank(1), head()[None])
    assert np.isnan(found.aus[:, UNSEEN]).all()
    assert np.isfinite(found.aus[:, SEEN]).all()
    assert estimator.aus == tuple(AU_NUMBERS[au] for au in SEEN)
    assert estimator.scale == "uncalibrated"


def test_rows_without_a_face_are_kept():
    rng = np.random.default_rng(0)
    points = np.stack(
        [
            np.full((68, 2), np.nan),
            np.zeros((68, 2)),
            rng.uniform(0, 200, (68, 2)),
            np.full((68, 2), 1e300),
            head(),
        ]
    )
    found = LandmarkEstimator().estimate(blank(5), points)
    assert found.valid.tolist() == [False, False, False, False, True]
    assert len(LandmarkEstimator().estimate([], np.zeros((0, 68, 2)))) == 0


def test_a_row_depends_on_its_image_alone():
    faces = np.stack([moved(head(), au, 3) for au in SEEN[:5]])
    together = LandmarkEstimator().estimate(blank(5), faces).aus
    alone = LandmarkEstimator().estimate(blank(1), faces[3:4]).aus
    np.testing.assert_allclose(together[3], alone[0], atol=1e-5)


def test_a_video_is_held_against_its_own_rest():
    rest = head(seed=3)
    levels = np.concatenate([np.zeros(4), np.linspace(0, 3, 10), np.full(20, 3.0)])
    noise = np.random.default_rng(1).normal(0, 0.3, (len(levels), 68, 2))
    track = [moved(rest, AU12, level) + one for level, one in zip(levels, noise, strict=True)]
    track[5] = None
    estimator = create_estimator("landmarks", person_calibration=True)
    assert isinstance(estimator, VideoEstimator)
    points = iter(track)
    found = estimate_video(estimator, blank(len(track)), lambda _: next(points), batch_size=7)
    assert not found.valid[5]
    assert found.valid.sum() == len(track) - 1
    known = found.valid
    assert np.corrcoef(found.aus[known, AU12], levels[known])[0, 1] > 0.99
    assert found.aus[-1, AU12] == pytest.approx(3, abs=0.6)
    assert np.nanmax(found.aus[:4, AU12]) < 0.3
    nobody = estimate_video(estimator, blank(3), lambda _: None)
    assert nobody.valid.tolist() == [False] * 3
    assert len(estimate_video(estimator, [], lambda _: None)) == 0


def test_versions_tell_the_two_measures_apart():
    single, personal = (create_estimator("landmarks", person_calibration=p) for p in (False, True))
    assert "mean face" in single.version
    assert "person's rest" in personal.version
    assert single.version.split()[-1] != personal.version.split()[-1]


def test_errors():
    with pytest.raises(ValueError, match="landmarks needs the 68 landmarks"):
        LandmarkEstimator().estimate(blank(1))
    with pytest.raises(ValueError, match="landmarks needs the 68 landmarks"):
        create_estimator("landmarks", person_calibration=True).estimate_video(blank(1))
    with pytest.raises(ValueError, match="takes no model"):
        create_estimator("landmarks:x")
    with pytest.raises(ValueError, match="not finite"):
        LandmarkEstimator(np.full((68, 2), np.nan))


def test_smiles_of_real_faces(shared: Path):
    """Landmarks of photographs that students labelled, against the mean face."""
    cv2 = pytest.importorskip("cv2")
    from miex.pipeline.faces.config import FaceConfig
    from miex.pipeline.faces.detection import DlibDetector

    with (shared / "data/lfw_emotion_labels/legend.csv").open() as file:
        labels = {row["image"]: row["emotion"].lower() for row in csv.DictReader(file)}
    detector = DlibDetector(FaceConfig(cnn=False))
    means = []
    for emotion in ("happiness", "neutral"):
        points: list[np.ndarray] = []
        for path in sorted((shared / "data/lfw").glob("[AB]*/*_0001.jpg")):
            if len(points) == 8:
                break
            if labels.get(path.name) == emotion:
                image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
                if boxes := detector.find(image):
                    points.append(detector.landmarks(image, boxes[0]))
        assert len(points) == 8
        means.append(LandmarkEstimator().estimate(blank(8), np.stack(points)).aus[:, AU12].mean())
    assert means[0] > 3 * means[1]


def test_upright_faces_have_no_roll():
    straight, tilted = upright(np.stack([head(), head(roll=30)])).residuals
    np.testing.assert_allclose(straight, tilted, atol=0.003)
