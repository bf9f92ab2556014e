import importlib.metadata
from types import SimpleNamespace

import numpy as np
import pytest

from miex.au_sources.action_units import AU_NAMES, BLENDSHAPES, from_blendshapes
from miex.au_sources.estimators import mediapipe as module
from miex.au_sources.estimators.base import create_estimator
from miex.au_sources.estimators.mediapipe import MediaPipeEstimator

NAMES = [name for names in BLENDSHAPES.values() for name in names]


class Landmarker:
    """Stands in for MediaPipe: sees a face in all that is not black and remembers its size."""

    def __init__(self):
        self.sizes = []
        self.closed = False

    def detect(self, image):
        self.sizes.append(image.data.shape[:2])
        if not image.data.any():
            return SimpleNamespace(face_blendshapes=[])
        score = float(image.data.max()) / 255
        categories = [SimpleNamespace(category_name=name, score=score) for name in NAMES]
        return SimpleNamespace(face_blendshapes=[categories])

    def close(self):
        self.closed = True


@pytest.fixture
def landmarker(monkeypatch) -> Landmarker:
    stand_in = Landmarker()
    library = SimpleNamespace(
        Image=lambda image_format, data: SimpleNamespace(data=data),
        ImageFormat=SimpleNamespace(SRGB=1),
    )
    monkeypatch.setattr(module, "_open", lambda model, content: (library, stand_in))
    monkeypatch.setattr(module.importlib.metadata, "version", lambda name: "9.9")
    return stand_in


@pytest.fixture
def estimator(landmarker, tmp_path) -> MediaPipeEstimator:
    (tmp_path / "face_landmarker.task").write_bytes(b"weights")
    return MediaPipeEstimator(tmp_path / "face_landmarker.task")


def frames(*values):
    return [np.full((40, 60, 3), value, np.uint8) for value in values]


def test_scores_become_aus(estimator):
    found = estimator.estimate(frames(51, 0, 255))
    assert found.valid.tolist() == [True, False, True]
    expected = from_blendshapes(dict.fromkeys(NAMES, 0.2))
    expected[[AU_NAMES.index("AU06"), AU_NAMES.index("AU09")]] = np.nan
    np.testing.assert_allclose(found.aus[0], expected, rtol=1e-5)
    assert np.isnan(found.aus[1]).all()
    unseen = {name for name, value in zip(AU_NAMES, found.aus[2], strict=True) if np.isnan(value)}
    assert unseen == {"AU06", "AU09", "AU23", "AU25"}
    assert set(estimator.aus) == {1, 2, 4, 5, 7, 10, 12, 14, 15, 17, 20, 26, 45}


def test_landmarks_say_which_face(estimator, landmarker):
    points = np.full((3, 68, 2), np.nan)
    points[0] = np.random.default_rng(0).uniform(20, 30, (68, 2))
    points[2] = 500.0, 500.0  # outside
    estimator.estimate(frames(9, 9, 9), points)
    close, whole, corner = landmarker.sizes
    assert 18 <= close[0] <= 24
    assert 18 <= close[1] <= 24
    assert whole == (40, 60)
    assert min(corner) >= 1


def test_the_version_names_package_and_model(estimator):
    assert estimator.version.startswith("mediapipe 9.9, ")
    assert len(estimator.version.split(", ")[1]) == 12


def test_it_closes_what_it_opened(estimator, landmarker, tmp_path):
    other = MediaPipeEstimator(tmp_path / "face_landmarker.task")
    del other
    assert landmarker.closed


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(module.importlib.metadata, "version", absent)
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'miex\[mediapipe\]'"):
            create_estimator("mediapipe")
    monkeypatch.setattr(module.importlib.metadata, "version", lambda name: "9.9")
    with pytest.raises(FileNotFoundError, match=r"no model of MediaPipe at .*x\.task.*Google"):
        create_estimator(f"mediapipe:{tmp_path / 'x.task'}")


def test_the_real_one(shared, tmp_path):
    try:
        importlib.metadata.version("mediapipe")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("mediapipe is not installed")
    import cv2

    estimator = create_estimator(f"mediapipe:{shared / 'data/mediapipe/face_landmarker.task'}")
    photographs = sorted((shared / "data/lfw").glob("A*/*_0001.jpg"))[:3]
    images = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in photographs]
    found = estimator.estimate([*images, np.zeros((200, 200, 3), np.uint8)])
    assert found.valid.tolist() == [True, True, True, False]
    assert np.isfinite(found.aus[:3]).sum() == 3 * len(estimator.aus)
    (tmp_path / "bad.task").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"bad\.task: MediaPipe cannot read"):
        create_estimator(f"mediapipe:{tmp_path / 'bad.task'}")
