import numpy as np
import pytest

from miex.au_sources.estimators.base import (
    Estimates,
    VideoEstimator,
    create_estimator,
    estimate_video,
    estimator_names,
    find_landmarks,
    no_faces,
    register_estimator,
    require_images,
    stream,
)
from miex.au_sources.estimators.openface_models import PersonCalibratedOpenFaceModels

FRAME = np.zeros((8, 8, 3), np.uint8)


class Brightness:
    """AU12 is the brightness of the first pixel; black frames have no face."""

    name = "brightness"
    version = "1"
    aus = (12,)
    scale = "uncalibrated"

    def __init__(self, needs_landmarks: bool = False) -> None:
        self.needs_landmarks = needs_landmarks
        self.batches: list[int] = []

    def estimate(self, images, landmarks=None):
        self.batches.append(len(images))
        values = np.array([image[0, 0, 0] for image in images], float)
        aus = np.full((len(images), 17), np.nan)
        aus[values > 0, 8] = values[values > 0] / 51
        return Estimates(aus, values > 0, (values / 255).astype(np.float32))


def frames(*values):
    return [np.full((4, 4, 3), value, np.uint8) for value in values]


def test_a_stream_holds_one_batch_at_a_time():
    taken = []

    def source():
        for value in range(10):
            taken.append(value)
            yield from frames(value)

    estimator = Brightness()
    parts = stream(estimator, source(), batch_size=4)
    assert taken == []
    next(parts)
    assert len(taken) == 4
    rest = list(parts)
    assert [len(part) for part in rest] == [4, 2]
    assert estimator.batches == [4, 4, 2]


def test_frames_without_a_face_keep_their_row():
    found = estimate_video(Brightness(), iter(frames(0, 51, 0, 255)), batch_size=3)
    assert found.valid.tolist() == [False, True, False, True]
    np.testing.assert_array_equal(found.aus[:, 8], [np.nan, 1, np.nan, 5])
    assert np.isnan(np.delete(found.aus, 8, axis=1)).all()
    np.testing.assert_allclose(found.confidence, [0, 0.2, 0, 1])


def test_a_video_without_frames():
    assert len(estimate_video(Brightness(), [])) == 0


def test_landmarks_are_found_for_those_who_need_them():
    with pytest.raises(ValueError, match="brightness needs the 68 landmarks"):
        list(stream(Brightness(needs_landmarks=True), frames(1)))
    points = np.ones((68, 2), np.float32)
    found = find_landmarks(frames(0, 9), lambda frame: points if frame.any() else None)
    assert np.isnan(found[0]).all()
    assert (found[1] == 1).all()


def test_only_those_with_a_way_of_their_own_are_video_estimators(model_folder):
    assert not isinstance(Brightness(), VideoEstimator)
    assert isinstance(PersonCalibratedOpenFaceModels(model_folder), VideoEstimator)


@pytest.mark.parametrize(
    ("aus", "valid", "confidence", "complaint"),
    [
        (np.zeros((2, 17)), [True], None, r"expected \(N, 17\)"),
        (np.zeros((2, 16)), [True, True], None, "shape"),
        (np.zeros((2, 17)), [True, True], np.zeros(3), r"confidence \(3,\)"),
        (np.zeros((1, 17)), [False], None, "expected NaN"),
        (np.full((1, 17), 6.0), [True], None, "AU01"),
        (np.zeros((1, 17)), True, None, "expected"),
    ],
)
def test_estimates_that_contradict_themselves(aus, valid, confidence, complaint):
    with pytest.raises(ValueError, match=complaint):
        Estimates(aus, valid, confidence)


def test_a_confidence_survives_only_if_all_have_one():
    sure = Estimates(np.zeros((1, 17)), [True], np.ones(1, np.float32))
    assert Estimates.concatenate([sure, sure]).confidence.tolist() == [1, 1]
    joined = Estimates.concatenate([no_faces(2), sure])
    assert joined.confidence is None
    assert joined.valid.tolist() == [False, False, True]


@pytest.mark.parametrize(
    "image",
    [
        FRAME[..., 0],
        FRAME.astype(float),
        FRAME[..., :2],
        FRAME[:0],
        [[1, 2]],
        np.zeros((4, 4, 4), np.uint8),
    ],
)
def test_images_of_another_kind(image):
    with pytest.raises(ValueError, match=r"image 1 .* expected uint8 \(H, W, 3\)"):
        require_images([FRAME, image])


def test_names_are_files_and_unknown_ones_are_refused():
    names = estimator_names()
    assert {"mediapipe", "openface-models"} <= set(names)
    assert not {"base", "openface"} & set(names)
    with pytest.raises(ValueError, match=r"'openface3'; there are: .*mediapipe"):
        create_estimator("openface3:x")
    with pytest.raises(ValueError, match="-e openface:FOLDER` makes a pool of OpenFace's CSVs"):
        create_estimator("openface:x")


def test_a_name_is_registered_once():
    register_estimator("test-only")(lambda options: Brightness())
    assert create_estimator("test-only").name == "brightness"
    with pytest.raises(ValueError, match="registered twice"):
        register_estimator("test-only")(lambda options: Brightness(needs_landmarks=True))
