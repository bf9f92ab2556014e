import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from miex.pipeline.recognition.representations._learned_magnification import (
    MagnificationNetwork,
    load_magnification_network,
)
from miex.pipeline.recognition.representations.magnification import Method, magnify


def _texture(shift: tuple[float, float], side: int = 96, shortest: float = 6.0) -> Tensor:
    """A plane of waves of 6 to 24 pixels in all directions, moved by a vector; float, 0-255."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    image = np.zeros((side, side))
    for _ in range(16):
        wavelength = shortest * 4 ** rng.random()
        angle, phase = rng.uniform(0, 2 * math.pi, 2)
        along = np.cos(angle) * (x - shift[0]) + np.sin(angle) * (y - shift[1])
        image += np.cos(2 * math.pi / wavelength * along + phase)
    return torch.from_numpy(128 + 9 * image).float().expand(1, 3, side, side)


def _pair(shift: tuple[float, float]) -> tuple[Tensor, Tensor]:
    return _uint8(_texture((0, 0))), _uint8(_texture(shift))


def _uint8(image: Tensor) -> Tensor:
    return image.round().clamp(0, 255).to(torch.uint8)


def _moved(image: Tensor, shift: tuple[float, float], most: float) -> float:
    """By how many times `shift` the texture of an image is moved, to a hundredth."""

    def error(times: float) -> float:
        difference = _texture((shift[0] * times, shift[1] * times)) - image
        return float(difference[..., 16:-16, 16:-16].square().mean())

    coarse = min(np.arange(0, most, 0.25), key=error)
    return float(min(np.arange(coarse - 0.2, coarse + 0.2, 0.01), key=error))


@pytest.mark.parametrize(
    ("shift", "alpha"),
    [
        ((0.1, 0.0), 4.0),
        ((0.1, 0.0), 9.0),
        ((-0.2, 0.3), 5.0),
        ((0.0, 1.0), 2.0),
        ((2.5, 0.0), 1.0),
    ],
)
def test_phase_moves_texture_by_one_plus_alpha(shift: tuple[float, float], alpha: float) -> None:
    onset, apex = _pair(shift)
    magnified = magnify(onset, apex, alpha, "phase")
    assert _moved(magnified, shift, 2 * alpha + 3) == pytest.approx(1 + alpha, rel=0.1)


def test_phase_is_closer_to_the_truth_than_linear_where_motion_is_large() -> None:
    shift, alpha = (0.5, 0.2), 5.0
    onset, apex = _pair(shift)
    truth = _texture((shift[0] * (1 + alpha), shift[1] * (1 + alpha)))[..., 16:-16, 16:-16]
    errors = {
        method: (magnify(onset, apex, alpha, method)[..., 16:-16, 16:-16] - truth).abs().mean()
        for method in ("linear", "linear_absolute", "phase")
    }
    assert errors["phase"] < 0.3 * errors["linear"]
    assert errors["linear"] < errors["linear_absolute"]


def test_phase_moves_only_what_moved() -> None:
    still, moved = _texture((0, 0)), _texture((0.3, 0))
    apex = torch.cat((still[..., :48], moved[..., 48:]), -1)
    magnified = magnify(_uint8(still), _uint8(apex), 6.0, "phase").float()
    assert (magnified - still)[..., :32].abs().mean() < 2.0
    assert (magnified - still)[..., 64:].abs().mean() > 10.0


def test_linear_is_the_formula_of_the_paper() -> None:
    onset = torch.tensor([100, 100, 250], dtype=torch.uint8).view(1, 3, 1, 1)
    apex = torch.tensor([104, 97, 252], dtype=torch.uint8).view(1, 3, 1, 1)
    assert magnify(onset, apex, 3.0, "linear").flatten().tolist() == [116, 88, 255]
    assert magnify(onset, apex, 3.0, "linear_absolute").flatten().tolist() == [116, 112, 255]


@pytest.mark.parametrize("method", ["linear", "phase"])
def test_without_factor_it_is_the_apex_and_without_motion_too(method: Method) -> None:
    onset, apex = _pair((0.4, 0.1))
    assert torch.equal(magnify(onset, apex, 0.0, method), apex)
    assert torch.equal(magnify(apex, apex, 13.0, method), apex)


@pytest.mark.parametrize("method", ["linear", "phase", "learned"])
def test_every_sample_has_its_own_factor_and_does_not_see_the_others(method: Method) -> None:
    torch.manual_seed(0)
    network = MagnificationNetwork() if method == "learned" else None
    onset = torch.cat([_pair((0.2, 0))[0], _pair((0, 0.3))[0].flip(2)])
    apex = torch.cat([_pair((0.2, 0))[1], _pair((0, 0.3))[1].flip(2)])
    together = magnify(onset, apex, torch.tensor([2.0, 7.0]), method, network)
    for index, factor in enumerate((2.0, 7.0)):
        one = slice(index, index + 1)
        alone = magnify(onset[one], apex[one], factor, method, network)
        assert (together[one].int() - alone.int()).abs().max() <= 1


def test_phase_takes_any_size() -> None:
    onset = torch.randint(0, 256, (1, 3, 33, 46), dtype=torch.uint8)
    assert torch.equal(magnify(onset, onset, 5.0, "phase"), onset)


def test_wrong_input_is_named() -> None:
    onset, apex = _pair((0.2, 0))
    with pytest.raises(ValueError, match=r"onset is torch.float32 .* expected torch.uint8"):
        magnify(onset.float(), apex, 2.0)
    with pytest.raises(ValueError, match="cut and scaled alike"):
        magnify(onset, apex[..., :40], 2.0)
    with pytest.raises(ValueError, match="finite and at least 0"):
        magnify(onset, apex, -1.0)
    with pytest.raises(ValueError, match="finite and at least 0"):
        magnify(onset, apex, float("nan"))
    with pytest.raises(ValueError, match=r"factors are \(3,\)"):
        magnify(onset, apex, torch.ones(3))
    with pytest.raises(ValueError, match="needs the network"):
        magnify(onset, apex, 2.0, "learned")
    with pytest.raises(ValueError, match="there are: linear, linear_absolute, phase, learned"):
        magnify(onset, apex, 2.0, "eulerian")  # type: ignore[arg-type]


def _public_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes in the public checkpoint, from its repository's description of it."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, made: int, given: int, kernel: int) -> None:
        shapes[f"{name}.conv2d.weight"] = (made, given, kernel, kernel)

    def residual(name: str, channels: int) -> None:
        convolution(f"{name}.cba_1", channels, channels, 3)
        convolution(f"{name}.cba_2", channels, channels, 3)

    convolution("encoder.cba_1", 16, 3, 7)
    convolution("encoder.cba_2", 32, 16, 3)
    for number in range(3):
        residual(f"encoder.resblks.{number}", 32)
    for branch in ("texture", "motion"):
        convolution(f"encoder.{branch}_cba", 32, 32, 3)
        for number in range(2):
            residual(f"encoder.{branch}_resblks.{number}", 32)
    convolution("manipulator.g", 32, 32, 3)
    convolution("manipulator.h_conv", 32, 32, 3)
    residual("manipulator.h_resblk", 32)
    for number in range(9):
        residual(f"decoder.resblks.{number}", 64)
    convolution("decoder.cba_1", 32, 64, 3)
    convolution("decoder.cba_2", 3, 32, 7)
    return shapes


def _checkpoint(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:]))
        for name, shape in _public_shapes().items()
    }


def _slow_magnification(weights: dict[str, Tensor], a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """The same network from its description alone, one operation at a time."""

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = weights[f"{name}.conv2d.weight"]
        margin = kernel.shape[-1] // 2
        return functional.conv2d(functional.pad(x, [margin] * 4, "reflect"), kernel, None, stride)

    def residuals(x: Tensor, name: str, count: int) -> Tensor:
        for number in range(count):
            each = f"{name}.{number}"
            x = x + conv(conv(x, f"{each}.cba_1").relu(), f"{each}.cba_2")
        return x

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        x = conv(conv(x, "encoder.cba_1").relu(), "encoder.cba_2", 2).relu()
        x = residuals(x, "encoder.resblks", 3)
        texture = conv(x, "encoder.texture_cba", 2).relu()
        shape = conv(x, "encoder.motion_cba").relu()
        return (
            residuals(texture, "encoder.texture_resblks", 2),
            residuals(shape, "encoder.motion_resblks", 2),
        )

    def twice(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, -1).repeat_interleave(2, -2)

    (_, before), (texture, after) = encode(a), encode(b)
    change = conv(alpha * conv(after - before, "manipulator.g").relu(), "manipulator.h_conv")
    inner = conv(change, "manipulator.h_resblk.cba_1").relu()
    change = change + conv(inner, "manipulator.h_resblk.cba_2")
    x = residuals(torch.cat((twice(texture), after + change), 1), "decoder.resblks", 9)
    return conv(conv(twice(x), "decoder.cba_1").relu(), "decoder.cba_2")


@pytest.mark.parametrize("prefix", ["", "module."])
def test_public_checkpoint_loads_and_computes_what_its_description_says(
    tmp_path: Path, prefix: str
) -> None:
    weights = _checkpoint()
    path = tmp_path / "magnet_epoch12_loss7.28e-02.pth"
    torch.save({prefix + name: tensor for name, tensor in weights.items()}, path)
    network, sha256 = load_magnification_network(path)
    assert sum(tensor.numel() for tensor in weights.values()) == 877_968
    assert len(sha256) == 64
    assert not network.training
    assert not any(each.requires_grad for each in network.parameters())
    a, b = torch.rand(2, 1, 3, 32, 40) * 2 - 1
    with torch.no_grad():
        expected = _slow_magnification(weights, a, b, 6.0)
        assert torch.allclose(network(a, b, torch.tensor([6.0])), expected, atol=1e-4, rtol=1e-4)


def test_learned_pads_and_scales(tmp_path: Path) -> None:
    weights = _checkpoint()
    path = tmp_path / "weights.pth"
    torch.save(weights, path)
    network, _ = load_magnification_network(path)
    onset, apex = torch.randint(0, 256, (2, 1, 3, 30, 33), dtype=torch.uint8)
    magnified = magnify(onset, apex, 2.0, "learned", network)
    a, b = (functional.pad(x.float() / 127.5 - 1, (0, 3, 0, 2), "reflect") for x in (onset, apex))
    expected = (_slow_magnification(weights, a, b, 2.0)[..., :30, :33] + 1) * 127.5
    assert (magnified.float() - expected.clamp(0, 255)).abs().max() <= 0.51


def test_wrong_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(FileNotFoundError, match=r"no magnification checkpoint at .*; the public"):
        load_magnification_network(path)
    weights = _checkpoint()
    torch.save({name: each for name, each in weights.items() if "manip" not in name}, path)
    with pytest.raises(ValueError, match=r"manipulator.g.conv2d.weight' missing \(and 3 more\)"):
        load_magnification_network(path)
    torch.save(weights | {"extra": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="'extra' unknown"):
        load_magnification_network(path)
    torch.save(weights | {"decoder.cba_2.conv2d.weight": torch.zeros(3, 16, 7, 7)}, path)
    with pytest.raises(ValueError, match=r"is \(3, 16, 7, 7\), expected finite numbers"):
        load_magnification_network(path)
    torch.save(
        weights | {"decoder.cba_2.conv2d.weight": torch.full((3, 32, 7, 7), torch.nan)}, path
    )
    with pytest.raises(ValueError, match="expected finite"):
        load_magnification_network(path)
    torch.save(MagnificationNetwork(), path)
    with pytest.raises(ValueError, match="cannot be read as tensors alone"):
        load_magnification_network(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="holds list"):
        load_magnification_network(path)
    path.write_bytes(b"<html>")
    with pytest.raises(ValueError, match="cannot be read as tensors alone"):
        load_magnification_network(path)
