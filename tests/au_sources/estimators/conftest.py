"""A folder of AU models in OpenFace's layout, with numbers of our own."""

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from miex.au_sources.action_units import AU_NAMES, AU_NUMBERS
from miex.au_sources.face_motion import motion_table

HOG, LANDMARKS = 12 * 12 * 31, 68
JAW_AND_BROWS = [*range(17), *range(26, 16, -1)]
DYNAMIC = (1, 2, 5, 45)


def text_matrix(matrix: np.ndarray, kind: int = 6) -> str:
    rows, columns = matrix.shape
    lines = [" ".join(f"{value:.6f}" for value in row) for row in matrix]
    return "\n".join([str(rows), str(columns), str(kind), *lines]) + "\n"


def binary_matrix(matrix: np.ndarray) -> bytes:
    return struct.pack("<3i", *matrix.shape, 6) + matrix.astype("<f8").tobytes()


def regressor(means: np.ndarray, weights: np.ndarray, bias: float, cutoff: float | None) -> bytes:
    kind = struct.pack("<i", 0) if cutoff is None else struct.pack("<id", 1, cutoff)
    matrices = binary_matrix(means[None]) + binary_matrix(weights[:, None])
    return kind + matrices + struct.pack("<d", bias)


def write_shape_model(path: Path) -> None:
    """ICT-FaceKit's neutral head in millimetres; its modes are the motions of six AUs."""
    table = motion_table()
    motions = [table.motion[AU_NAMES.index(au)] for au in ("AU01", "AU04", "AU12", "AU17", "AU26")]
    modes = np.stack([motion.T.ravel() for motion in motions], axis=1)
    modes = np.linalg.qr(modes)[0]
    variances = np.array([[400.0, 300.0, 100.0, 50.0, 20.0]])
    mean = 63 * table.neutral.T.reshape(-1, 1)
    parts = [text_matrix(matrix) for matrix in (mean, modes, variances)]
    path.write_text("# mean in mm\n" + "# modes\n".join(parts[:2]) + "# variances\n" + parts[2])


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`AU_predictors` with a regressor of each AU, five of them dynamic."""
    folder = tmp_path_factory.mktemp("openface") / "AU_predictors"
    (folder / "svr_x").mkdir(parents=True)
    write_shape_model(folder / "pdm.txt")
    # A fan, which is a triangulation of any convex outline.
    corners = JAW_AND_BROWS
    fan = np.array([(30, a, b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)])
    (folder / "tris.txt").write_text(text_matrix(fan, kind=4))
    rng = np.random.default_rng(0)
    features = HOG + 3 * LANDMARKS + 5
    for variant in ("static", "dynamic"):
        lines = [f"svm_x/AU_{number}.dat AU{number:02d}" for number in AU_NUMBERS]
        for number in AU_NUMBERS:
            dynamic = variant == "dynamic" and number in DYNAMIC
            name = f"svr_x/AU_{number}_{'dynamic' if dynamic else 'static'}.dat"
            weights = rng.normal(0, 0.05, features)
            weights[HOG:] *= 0.2
            cutoff = {True: 0.3 if number != 45 else -1.0, False: None}[dynamic]
            means = rng.uniform(0, 0.1, features)
            (folder / name).write_bytes(regressor(means, weights, 2.0, cutoff))
            lines.append(f"{name} AU{number:02d}")
        (folder / f"au_{variant}.txt").write_text("\n".join(lines))
        (folder / f"main_{variant}_svms.txt").write_text(
            f"AUPredictor au_{variant}.txt\r\nPDM pdm.txt\r\nTriangulation tris.txt"
        )
    return folder


@pytest.fixture
def edited(model_folder: Path, tmp_path: Path) -> Callable[[str, Callable[[bytes], bytes]], Path]:
    """Copies the folder and changes the content of one file."""

    def edit(name: str, change: Callable[[bytes], bytes]) -> Path:
        copy = tmp_path / "AU_predictors"
        shutil.copytree(model_folder, copy)
        (copy / name).write_bytes(change((copy / name).read_bytes()))
        return copy

    return edit


@pytest.fixture
def landmarks() -> np.ndarray:
    """``(4, 68, 2)`` of four faces: neutral, smiling, turned, and with random errors."""
    table = motion_table()
    rng = np.random.default_rng(1)
    smile = table.neutral + 0.6 * table.motion[AU_NAMES.index("AU12")]
    angle = np.radians(20)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    shapes = [table.neutral, smile, table.neutral @ turn.T, table.neutral]
    points = np.stack([80 * shape[:, :2] + (150, 110) for shape in shapes])
    points[3] += rng.normal(0, 1.5, points[3].shape)
    return points


@pytest.fixture
def images() -> list[np.ndarray]:
    """Four smooth pictures of 300 x 260 pixels."""
    rng = np.random.default_rng(2)
    noise = [rng.integers(0, 256, (65, 75, 3), dtype=np.uint8) for _ in range(4)]
    return [cv2.resize(one, (300, 260), interpolation=cv2.INTER_CUBIC) for one in noise]
