"""The network of Oh et al., "Learning-based video motion magnification", ECCV 2018.

An encoder separates texture and shape of a frame, a manipulator magnifies the difference of the
shapes, and a decoder renders the result. The layers are those of the usual checkpoint,
``magnet_epoch12_loss7.28e-02.pth`` (3,528,201 bytes), which release v1.0 of
github.com/ZhengPeng7/motion_magnification_learning-based (MIT) offers; the names of the
parameters are the same, so that the file can be loaded directly. Where its network differs from the
paper, the network is followed: convolutions without bias, nearest-neighbour upscaling, and the
difference added to the shape of the second frame, so that alpha is the additional motion.
"""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from miex.datasets.files import sha256_file
from miex.datasets.given_files import require_file

_WHERE_FROM = (
    "the public checkpoint is magnet_epoch12_loss7.28e-02.pth, release v1.0 of"
    " github.com/ZhengPeng7/motion_magnification_learning-based; nothing is downloaded unasked"
)

_MULTIPLE = 4
"""Factor by which the sides of frames must be divisible; they are halved twice."""


class _Convolution(nn.Module):
    """Convolution without bias, with reflection padding, with or without ReLU."""

    def __init__(self, given: int, made: int, kernel: int, stride: int = 1, relu: bool = True):
        super().__init__()
        self.conv2d = nn.Conv2d(
            given, made, kernel, stride, kernel // 2, bias=False, padding_mode="reflect"
        )
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, given, H, W)`` to ``(B, made, H / stride, W / stride)``."""
        y: Tensor = self.conv2d(x)
        return functional.relu(y) if self.relu else y


class _Residual(nn.Module):
    """Two convolutions with a shortcut."""

    def __init__(self, channels: int):
        super().__init__()
        self.cba_1 = _Convolution(channels, channels, 3)
        self.cba_2 = _Convolution(channels, channels, 3, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map features to the same shape."""
        y: Tensor = self.cba_2(self.cba_1(x))
        return x + y


def _residuals(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Residual(channels) for _ in range(count)))


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cba_1 = _Convolution(3, 16, 7)
        self.cba_2 = _Convolution(16, 32, 3, stride=2)
        self.resblks = _residuals(32, 3)
        self.texture_cba = _Convolution(32, 32, 3, stride=2)
        self.texture_resblks = _residuals(32, 2)
        self.motion_cba = _Convolution(32, 32, 3)
        self.motion_resblks = _residuals(32, 2)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(B, 3, H, W)`` to texture ``(B, 32, H/4, W/4)`` and shape ``(B, 32, H/2, W/2)``."""
        x = self.resblks(self.cba_2(self.cba_1(frames)))
        texture: Tensor = self.texture_resblks(self.texture_cba(x))
        shape: Tensor = self.motion_resblks(self.motion_cba(x))
        return texture, shape


class _Manipulator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.g = _Convolution(32, 32, 3)
        self.h_conv = _Convolution(32, 32, 3, relu=False)
        self.h_resblk = _Residual(32)

    def forward(self, onset: Tensor, apex: Tensor, factors: Tensor) -> Tensor:
        """Map shapes ``(B, 32, h, w)`` and factors ``(B, 1, 1, 1)`` to the magnified shape."""
        change: Tensor = self.h_resblk(self.h_conv(factors * self.g(apex - onset)))
        return apex + change


class _Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resblks = _residuals(64, 9)
        self.cba_1 = _Convolution(64, 32, 3)
        self.cba_2 = _Convolution(32, 3, 7, relu=False)

    def forward(self, texture: Tensor, shape: Tensor) -> Tensor:
        """Map texture ``(B, 32, h/2, w/2)`` and shape ``(B, 32, h, w)`` to ``(B, 3, 2h, 2w)``."""
        texture = functional.interpolate(texture, scale_factor=2.0, mode="nearest")
        x = self.resblks(torch.cat((texture, shape), 1))
        image: Tensor = self.cba_2(
            self.cba_1(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        )
        return image


class MagnificationNetwork(nn.Module):
    """Encoder, manipulator and decoder; 877,968 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _Encoder()
        self.manipulator = _Manipulator()
        self.decoder = _Decoder()

    def forward(self, onset: Tensor, apex: Tensor, factors: Tensor) -> Tensor:
        """Magnify the motion.

        Args:
            onset: ``float32 (B, 3, H, W)``, -1 to 1, sides that 4 divides.
            apex: The same for the apex.
            factors: alpha, ``(B,)``.

        Returns:
            ``float32 (B, 3, H, W)``, about -1 to 1.
        """
        (_, before), (texture, after) = self.encoder(onset), self.encoder(apex)
        return self.render(before, after, texture, factors)

    def render(self, onset: Tensor, apex: Tensor, texture: Tensor, factors: Tensor) -> Tensor:
        """Magnify the motion of encoded frames.

        Args:
            onset: Shape of the onset, ``(B, 32, H/2, W/2)``.
            apex: Shape of the apex.
            texture: Texture of the apex, ``(B, 32, H/4, W/4)``.
            factors: alpha, ``(B,)``.

        Returns:
            ``(B, 3, H, W)``.
        """
        shape = self.manipulator(onset, apex, factors[:, None, None, None])
        image: Tensor = self.decoder(texture, shape)
        return image


def learned_renderer(
    onset: Tensor, apex: Tensor, network: MagnificationNetwork
) -> Callable[[Tensor], Tensor]:
    """Encode both frames once, for any number of factors.

    Args:
        onset: ``float32 (B, 3, H, W)``, 0-255.
        apex: The same for the apex.
        network: The network, on the same device.

    Returns:
        A function: factors ``(B, F)`` to apexes ``float32 (B, F, 3, H, W)``, not clipped.
    """
    height, width = onset.shape[-2:]
    margin = (0, -width % _MULTIPLE, 0, -height % _MULTIPLE)
    before, after = (
        functional.pad(frames / 127.5 - 1, margin, "reflect") for frames in (onset, apex)
    )
    (_, onset_shape), (texture, apex_shape) = network.encoder(before), network.encoder(after)

    def render(factors: Tensor) -> Tensor:
        batch, count = factors.shape
        onsets, apexes, textures = (
            each.repeat_interleave(count, 0) for each in (onset_shape, apex_shape, texture)
        )
        frames: Tensor = network.render(onsets, apexes, textures, factors.flatten())
        frames = frames[..., :height, :width].float()
        return (frames.reshape(batch, count, *frames.shape[1:]) + 1) * 127.5

    return render


def load_magnification_network(path: Path) -> tuple[MagnificationNetwork, str]:
    """Read a public PyTorch checkpoint, unpickling only tensors.

    Args:
        path: The file, with or without ``module.`` before the names.

    Returns:
        The network in eval mode, without gradients, and the file's sha256.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file cannot be read, or holds another network; the message names the key.
    """
    path = path.expanduser()
    require_file(path, "magnification checkpoint", _WHERE_FROM)
    stored = _read(path)
    network = MagnificationNetwork()
    own = network.state_dict()
    for kind, keys in (("missing", own.keys() - stored.keys()), ("unknown", stored.keys() - own)):
        if keys:
            raise ValueError(
                f"{path}: key {min(keys)!r} {kind} (and {len(keys) - 1} more); expected the"
                f" {len(own)} tensors of the magnification network; {_WHERE_FROM}"
            )
    for key, expected in own.items():
        if stored[key].shape != expected.shape or not stored[key].isfinite().all():
            raise ValueError(
                f"{path}: {key!r} is {tuple(stored[key].shape)}, expected finite numbers"
                f" {tuple(expected.shape)}; {_WHERE_FROM}"
            )
    network.load_state_dict(stored)
    return network.eval().requires_grad_(False), sha256_file(path)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        AttributeError,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path}: cannot be read as tensors alone ({reason[:200]}); {_WHERE_FROM}"
        ) from None
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise ValueError(
            f"{path}: holds {type(content).__name__}, expected tensors by name; {_WHERE_FROM}"
        )
    return {str(key).removeprefix("module."): value for key, value in content.items()}
