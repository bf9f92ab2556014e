"""The identity embedding of dlib's face recognition model, computed with PyTorch.

The network is dlib's ResNet with 29 convolutions (`dnn_face_recognition_ex.cpp`; King 2017, dlib
19.3), derived from ResNet-34 (He et al., CVPR 2016). Its weights are read from dlib's model file
in the installed package. On a CPU, PyTorch computes it about eight times as fast as dlib; the
embeddings agree within 1e-6 (`tests/pipeline/faces/test_embedding.py`).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from miex.datasets.device import one_thread

_MEAN = (122.782, 117.001, 104.298)
"""Mean of red, green and blue that dlib's input layer subtracts (`input_rgb_image_sized`)."""

_BATCH = 4
"""Faces that are computed together: in larger batches a face takes as long."""

_STAGES = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
"""Number of channels and of residual blocks of each stage, and whether it halves the size."""


def read_model(path: Path) -> "FaceEmbedding":
    """Read the network from dlib's `dlib_face_recognition_resnet_model_v1.dat`.

    The file is a sequence of layers from the input to the output. Each layer with parameters
    begins with its name, followed by one tensor: a version, four sizes, and float32 values. An
    integer is stored as one byte with its length (the highest bit is the sign), followed by its
    bytes in little-endian order (`dlib/serialize.h`).

    Args:
        path: The model file.

    Returns:
        The network in eval mode.

    Raises:
        ValueError: The file is damaged or is not this model.
    """
    content = path.read_bytes()
    convolutions = _tensors(content, b"\x01\x05con_4", path)
    affines = _tensors(content, b"\x01\x07affine_", path)
    # The last layer stores its numbers of outputs and inputs before its tensor.
    (weights,) = _tensors(content, b"\x01\x04fc_2\x01\x80\x02\x00\x01", path)
    network = FaceEmbedding()
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    sizes = [layer.weight.numel() + layer.out_channels for layer in layers]
    if [values.size for values in convolutions] != sizes or len(affines) != len(layers):
        raise ValueError(
            f"{path} is not dlib's face recognition model: its layers have other sizes; install "
            "face_recognition_models again"
        )
    for layer, values, affine in zip(layers, convolutions, affines, strict=True):
        gamma, beta = torch.from_numpy(affine).chunk(2)
        bias = torch.from_numpy(values[-layer.out_channels :])
        kernel = torch.from_numpy(values[: -layer.out_channels]).reshape(layer.weight.shape)
        # dlib's affine layer after each convolution is merged into the convolution.
        layer.weight.data = kernel * gamma.reshape(-1, 1, 1, 1)
        assert layer.bias is not None
        layer.bias.data = bias * gamma + beta
    network.last.weight.data = torch.from_numpy(weights).reshape(256, 128).T.contiguous()
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


class FaceEmbedding(nn.Module):
    """dlib's face recognition network.

    Shape:
        - Input: ``(N, 3, 150, 150)``, RGB 0 to 255, faces aligned as by `dlib.get_face_chip`.
        - Output: ``(N, 128)``. The distance of two photographs of one person is mostly below 0.6.
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 7, stride=2)
        blocks, inputs = [], 32
        for channels, count, halved in _STAGES:
            for number in range(count):
                blocks.append(_Block(inputs, channels, halved and number == 0))
                inputs = channels
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Linear(256, 128, bias=False)
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, chips: Tensor) -> Tensor:
        """Compute the embeddings; see the class for the shapes."""
        features = functional.relu(self.first((chips - self.mean) / 256))
        features = self.blocks(functional.max_pool2d(features, 3, 2))
        embeddings: Tensor = self.last(features.mean(dim=(2, 3)))
        return embeddings

    def embed(self, chip: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the embedding of one aligned face.

        Args:
            chip: ``uint8 (150, 150, 3)`` RGB.

        Returns:
            ``float32 (128,)``.
        """
        embeddings = self._computed(chip[None])
        return np.asarray(embeddings[0], np.float32)

    def embed_all(self, chips: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute the embeddings of aligned faces in batches of `_BATCH`, the last one padded.

        Convolutions round differently for another number of images, but not for other images: an
        embedding does not depend on the other faces. From `embed` it differs by 1e-6 at most.

        Args:
            chips: N times ``uint8 (150, 150, 3)`` RGB.

        Returns:
            ``float32 (N, 128)``.
        """
        found = np.empty((len(chips), 128), np.float32)
        for start in range(0, len(chips), _BATCH):
            batch = np.zeros((_BATCH, *chips[start].shape), np.uint8)
            count = min(_BATCH, len(chips) - start)
            batch[:count] = chips[start : start + count]
            found[start : start + count] = self._computed(batch)[:count]
        return found

    @torch.inference_mode()
    def _computed(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = torch.from_numpy(np.ascontiguousarray(chips)).permute(0, 3, 1, 2)
        with one_thread():
            output = self(images.float().contiguous(memory_format=torch.channels_last))
        return np.asarray(output.numpy(), np.float32)


class _Block(nn.Module):
    """A residual block; if it halves the size, its shortcut averages over 2 x 2 pixels."""

    def __init__(self, inputs: int, outputs: int, halved: bool) -> None:
        super().__init__()
        # dlib pads a convolution only if its stride is 1.
        self.one = nn.Conv2d(inputs, outputs, 3, *((2, 0) if halved else (1, 1)))
        self.two = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.halved = halved

    def forward(self, features: Tensor) -> Tensor:
        change = self.two(functional.relu(self.one(features)))
        shortcut = functional.avg_pool2d(features, 2) if self.halved else features
        return functional.relu(_add(change, shortcut))


def _add(one: Tensor, other: Tensor) -> Tensor:
    """Add two tensors as dlib's `add_prev` does, which pads the smaller one with zeros."""
    shape = [max(sizes) for sizes in zip(one.shape, other.shape, strict=True)]
    return _grown(one, shape) + _grown(other, shape)


def _grown(values: Tensor, shape: list[int]) -> Tensor:
    lacking = [wanted - size for wanted, size in zip(shape, values.shape, strict=True)]
    if not any(lacking):
        return values
    return functional.pad(values, [n for lack in reversed(lacking[1:]) for n in (0, lack)])


def _tensors(content: bytes, marker: bytes, path: Path) -> list[NDArray[np.float32]]:
    """Read the tensor after each occurrence of the name of a layer."""
    found = []
    at = content.find(marker)
    while at >= 0:
        try:
            place = at + len(marker)
            sizes = []
            for _ in range(5):
                length = content[place] & 0x0F
                sizes.append(int.from_bytes(content[place + 1 : place + 1 + length], "little"))
                place += 1 + length
            count = sizes[1] * sizes[2] * sizes[3] * sizes[4]
            found.append(np.frombuffer(content, "<f4", count, place).astype(np.float32))
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"{path} is damaged ({error}); install face_recognition_models again"
            ) from None
        at = content.find(marker, place + 4 * count)
    if not found:
        raise ValueError(
            f"{path} is not dlib's face recognition model: {marker!r} is missing; install "
            "face_recognition_models again"
        )
    return found
