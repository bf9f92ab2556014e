"""GANimation's generator once more, slowly, from the facts, for the tests to compare with.

It computes with the tensors of a public state dict under their public names.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from miex.datasets.base import Face, FaceQuality

KEYS: dict[str, dict[str, list[int]]] = {
    name: keys
    for name, keys in json.loads((Path(__file__).parent / "keys.json").read_text()).items()
    if name != "about"
}
NAMES = {
    "pumarola": ("main", "main", "img_reg.0", "attetion_reg.0"),
    "donydchen": ("model", "conv_block", "color_top.0", "au_top.0"),
}


def _public_state(layout: str, seed: int) -> dict[str, Tensor]:
    """Random weights under the public names; norms and biases unlike 1 and 0."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in KEYS[layout].items():
        state[key] = torch.randn(shape, generator=generator) * (0.02 if len(shape) == 4 else 0.1)
        if layout == "pumarola" and len(shape) == 1 and key.endswith("weight"):
            state[key] += 1
    return state


def _slow_forward(
    state: dict[str, Tensor], layout: str, image: Tensor, aus: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Image, colour and attention of GANimation for AU intensities 0 to 5."""
    main, inner, colour_name, attention_name = NAMES[layout]

    def layer(x: Tensor, name: str, norm: str, *, stride: int, padding: int, up: bool) -> Tensor:
        convolve = F.conv_transpose2d if up else F.conv2d
        bias = state.get(f"{name}.bias")
        x = convolve(x, state[f"{name}.weight"], bias, stride=stride, padding=padding)
        x = x - x.mean((2, 3), keepdim=True)
        x = x / torch.sqrt((x * x).mean((2, 3), keepdim=True) + 1e-5)
        if layout == "pumarola":
            x = x * state[f"{norm}.weight"][:, None, None] + state[f"{norm}.bias"][:, None, None]
        return x

    def plain(x: Tensor, index: int, *, stride: int, padding: int, up: bool = False) -> Tensor:
        name, norm = f"{main}.{index}", f"{main}.{index + 1}"
        return layer(x, name, norm, stride=stride, padding=padding, up=up).relu()

    planes = (aus / 5)[:, :, None, None] * torch.ones(1, 1, *image.shape[2:])
    x = plain(torch.cat([image, planes], dim=1), 0, stride=1, padding=3)
    x = plain(x, 3, stride=2, padding=1)
    x = plain(x, 6, stride=2, padding=1)
    for index in range(9, 15):
        name = f"{main}.{index}.{inner}"
        inside = layer(x, f"{name}.0", f"{name}.1", stride=1, padding=1, up=False).relu()
        x = x + layer(inside, f"{name}.3", f"{name}.4", stride=1, padding=1, up=False)
    x = plain(x, 15, stride=2, padding=1, up=True)
    x = plain(x, 18, stride=2, padding=1, up=True)
    colour = torch.tanh(F.conv2d(x, state[f"{colour_name}.weight"], padding=3))
    attention = torch.sigmoid(F.conv2d(x, state[f"{attention_name}.weight"], padding=3))
    return attention * image + (1 - attention) * colour, colour, attention


def _smooth_image(seed: int, side: int) -> np.ndarray:
    """``uint8 (side, side, 3)``: soft blobs, nearer to a photograph than noise is."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 6, 6)))
    fine = F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 255)
    return fine[0].permute(1, 2, 0).to(torch.uint8).numpy()


def _drawn_face(seed: int, side: int) -> Face:
    """A prepared face with nothing in it that this generator does not look at."""
    return Face(
        crop=_smooth_image(seed, side),
        landmarks=np.zeros((68, 2), np.float32),
        identity=f"person {seed}",
        origin=f"drawn:{seed}",
        sha256="0" * 64,
        quality=FaceQuality(60.0, 100.0, 0.0, 0.0, 0.0),
        embedding=np.zeros(128, np.float32),
    )


def _random_aus(seed: int, count: int) -> np.ndarray:
    """``float32 (count, 17)``, 0 to 5."""
    return np.random.default_rng(seed).uniform(0, 5, (count, 17)).astype(np.float32)


@pytest.fixture(scope="session")
def keys() -> dict[str, dict[str, list[int]]]:
    """Names and shapes in the files of both public codes."""
    return KEYS


@pytest.fixture(scope="session")
def public_state() -> Callable[..., dict[str, Tensor]]:
    return _public_state


@pytest.fixture(scope="session")
def slow_forward() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    return _slow_forward


@pytest.fixture(scope="session")
def drawn_face() -> Callable[[int, int], Face]:
    return _drawn_face


@pytest.fixture(scope="session")
def random_aus() -> Callable[[int, int], np.ndarray]:
    return _random_aus


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sums in one order, and no fight over the processors."""
    number = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(number)


@pytest.fixture(scope="session")
def write_drawn_set() -> Callable[..., Path]:
    """Writes a training set of drawn people."""
    import training_faces

    return training_faces.write_drawn_set


@pytest.fixture(scope="session")
def small_set(
    tmp_path_factory: pytest.TempPathFactory,
    write_drawn_set: Callable[..., Path],
    face_of: Callable[..., Face],
) -> Path:
    """Drawn people of 32 pixels."""
    path = tmp_path_factory.mktemp("small") / "training.parquet"
    return write_drawn_set(path, face_of, 32, (12, 6, 6))


@pytest.fixture(scope="session")
def middle_set(
    tmp_path_factory: pytest.TempPathFactory,
    write_drawn_set: Callable[..., Path],
    face_of: Callable[..., Face],
) -> Path:
    """Drawn people of 64 pixels, whom a warp can teach; all of them neutral."""
    path = tmp_path_factory.mktemp("middle") / "training.parquet"
    return write_drawn_set(path, face_of, 64, (6, 4, 0), intensity=0.0)
