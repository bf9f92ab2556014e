import numpy as np
import pytest

from miex.au_sources.action_units import AU_NAMES
from miex.au_sources.face_motion import (
    LEFT_EYE,
    MIXTURES,
    RIGHT_EYE,
    HeadPose,
    fit_pose,
    fit_poses,
    landmark_motion,
    motion_table,
    skin_table,
)

CENTRE = np.array([64.0, 54.0])


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """x right, y down, z towards the viewer; yaw to the right, pitch down, roll clockwise."""
    y, p, r = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    tilt = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return turn @ nod @ tilt


def seen(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, scale: float = 46.0) -> HeadPose:
    return HeadPose(scale, rotation(yaw, pitch, roll), CENTRE)


def frontal() -> np.ndarray:
    return seen().project(motion_table().neutral)


def motion_of(au: str, landmarks: np.ndarray | None = None) -> np.ndarray:
    motion = landmark_motion(frontal() if landmarks is None else landmarks)
    return motion[AU_NAMES.index(au)]


@pytest.mark.parametrize(
    "angles", [(0, 0, 0), (30, 0, 0), (-25, 10, 5), (0, -20, -15), (40, 15, 30), (0, 0, 90)]
)
def test_the_pose_of_turned_landmarks_is_found(angles):
    pose = seen(*angles, scale=37.0)
    found = fit_pose(pose.project(motion_table().neutral))
    assert (found.yaw, found.pitch, found.roll) == pytest.approx(angles, abs=1e-3)
    assert found.scale == pytest.approx(37.0, rel=1e-5)
    assert found.translation == pytest.approx(CENTRE, abs=1e-3)
    assert found.rotation @ found.rotation.T == pytest.approx(np.eye(3), abs=1e-9)


def test_the_pose_says_where_the_nose_points():
    tip, bridge = 30, 27
    right = seen(yaw=20).project(motion_table().neutral)
    down = seen(pitch=20).project(motion_table().neutral)
    assert right[tip, 0] > right[bridge, 0] + 3
    assert down[tip, 1] - down[bridge, 1] > frontal()[tip, 1] - frontal()[bridge, 1]


def test_the_pose_bears_noise_and_landmarks_gone_wrong():
    pose = seen(15, -8, 6)
    landmarks = pose.project(motion_table().neutral)
    landmarks += np.random.default_rng(0).normal(0, 0.7, landmarks.shape)
    landmarks[[5, 20, 50]] += [[25, -10], [-15, 20], [10, 18]]
    found = fit_pose(landmarks)
    assert (found.yaw, found.pitch, found.roll) == pytest.approx((15, -8, 6), abs=2.5)


def test_an_expression_hardly_changes_the_pose():
    landmarks = frontal()
    for au in ("AU12", "AU25", "AU26"):
        landmarks = landmarks + motion_of(au) * 0.6
    found = fit_pose(landmarks)
    assert max(abs(found.yaw), abs(found.roll)) < 0.5
    assert abs(found.pitch) < 3


def test_motion_is_linear_and_finite_in_pixels_of_the_face():
    small = landmark_motion(seen(scale=20.0).project(motion_table().neutral))
    large = landmark_motion(seen(scale=60.0).project(motion_table().neutral))
    assert small.shape == (17, 68, 2)
    assert small.dtype == np.float32
    assert large == pytest.approx(3 * small, abs=1e-3)
    assert np.isfinite(large).all()


def test_motion_turns_with_the_head():
    upright, tilted = motion_of("AU12"), None
    tilted = motion_of("AU12", seen(roll=30).project(motion_table().neutral))
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    assert tilted == pytest.approx(upright @ np.array([[c, s], [-s, c]]), abs=1e-2)


@pytest.mark.parametrize(
    ("au", "landmarks", "axis", "sign"),
    [
        ("AU01", [20, 21, 22, 23], 1, -1),
        ("AU02", [17, 18, 25, 26], 1, -1),
        ("AU04", [19, 20, 23, 24], 1, 1),
        ("AU05", [37, 38, 43, 44], 1, -1),
        ("AU06", [40, 41, 46, 47], 1, -1),
        ("AU07", [40, 41, 46, 47], 1, -1),
        ("AU09", [31, 35, 50, 52], 1, -1),
        ("AU10", [50, 51, 52, 61, 62, 63], 1, -1),
        ("AU12", [48, 54], 1, -1),
        ("AU12", [54], 0, 1),
        ("AU12", [48], 0, -1),
        ("AU14", [54], 0, 1),
        ("AU14", [48], 0, -1),
        ("AU15", [48, 54], 1, 1),
        ("AU17", [8, 57, 66], 1, -1),
        ("AU17", [62], 1, -1),
        ("AU20", [54], 0, 1),
        ("AU20", [48], 0, -1),
        ("AU23", [51], 1, 1),
        ("AU23", [57], 1, -1),
        ("AU23", [54], 0, -1),
        ("AU25", [66, 57], 1, 1),
        ("AU26", [8, 57, 66], 1, 1),
        ("AU45", [37, 38, 43, 44], 1, 1),
    ],
)
def test_each_au_moves_its_landmarks_its_way(au, landmarks, axis, sign):
    moved = sign * motion_of(au)[landmarks, axis]
    assert (moved > 0.2).all(), moved


def test_the_head_stays_still():
    """No AU carries the bridge of the nose or the ears: that would be rigid motion."""
    still = landmark_motion(frontal())[:, [0, 16, 39, 42]]
    assert np.abs(still).max() < 0.05 * 46


def test_motion_is_symmetric():
    left, right = [*range(17, 22), 48, 31], [*range(26, 21, -1), 54, 35]
    motion = landmark_motion(frontal())
    assert motion[:, left, 1] == pytest.approx(motion[:, right, 1], abs=0.1)
    assert motion[:, left, 0] == pytest.approx(-motion[:, right, 0], abs=0.1)


@pytest.mark.parametrize("openness", [0.4, 1.0, 1.6])
def test_a_full_blink_closes_the_eye_that_is_there(openness):
    landmarks = frontal()
    for eye in (LEFT_EYE, RIGHT_EYE):
        middle = landmarks[list(eye), 1].mean()
        landmarks[list(eye), 1] = middle + openness * (landmarks[list(eye), 1] - middle)
    closed = landmarks + motion_of("AU45", landmarks)
    for eye in (LEFT_EYE, RIGHT_EYE):
        _, a, b, _, d, c = eye
        gap = lambda points: np.mean([points[c, 1] - points[a, 1], points[d, 1] - points[b, 1]])  # noqa: B023, E731
        assert abs(gap(closed)) < 0.15 * gap(landmarks)


def test_the_jaw_of_au26_does_not_tear():
    opening = motion_of("AU26")[66, 1] - motion_of("AU26")[62, 1]
    assert 0.15 * 46 < opening < 0.25 * 46


def test_corrections_mix_known_aus():
    assert set(MIXTURES) <= set(AU_NAMES)
    assert {part for mix in MIXTURES.values() for part in mix} <= set(AU_NAMES)


def test_skin_points_lie_between_the_landmarks():
    regions, table = skin_table()
    assert len(regions) == len(table.neutral) == table.motion.shape[1]
    assert {"forehead", "cheek", "chin", "outline"} <= set(regions)
    assert np.abs(table.motion).max() < 0.6
    assert not table.motion.flags.writeable


def test_cheek_and_lip_corner_agree():
    """The skin beside a lip corner is carried along by a smile."""
    regions, table = skin_table()
    smile = table.motion[AU_NAMES.index("AU12")]
    corner = motion_table().neutral[54]
    near = np.argmin(
        np.linalg.norm(table.neutral - corner, axis=1) + 9 * (np.array(regions) != "cheek")
    )
    assert smile[near, 0] > 0.05
    assert smile[near, 1] < -0.05


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (np.zeros((5, 2)), r"shape \(5, 2\), expected \(68, 2\)"),
        (np.zeros((68, 3)), "expected"),
        (np.full((68, 2), 4.0), "one point or on one line"),
        (np.where(np.arange(136).reshape(68, 2) == 6, np.nan, 1.0), r"landmarks \[3\]"),
    ],
)
def test_bad_landmarks_are_refused(landmarks, message):
    with pytest.raises(ValueError, match=message):
        fit_pose(landmarks)
    with pytest.raises(ValueError, match=message):
        landmark_motion(landmarks)


def test_the_pose_of_a_face_does_not_depend_on_the_others():
    rng = np.random.default_rng(0)
    turns = [(0, 0, 0), (30, 5, -3), (-25, 10, 5), (0, -20, -15)]
    faces = [seen(*turn).project(motion_table().neutral) for turn in turns]
    faces = [face + rng.normal(0, 0.5, face.shape) for face in faces]
    together, alone = fit_poses(faces), [fit_pose(face) for face in faces]
    for one, other in zip(together, alone, strict=True):
        assert one.scale == other.scale
        assert np.array_equal(one.rotation, other.rotation)
        assert np.array_equal(one.translation, other.translation)
    assert fit_poses([]) == []
