"""Read weights of GANimation's generator in both public formats and that of miex; write the latter.

Only tensors are unpickled: `torch.load(weights_only=True)`, or safetensors. The format of a file is
determined by its content, not by its name:

| format | keys | instance norms | biases of convolutions |
|---|---|---|---|
| miex | as in `GANimation.state_dict()` | weight and bias | none |
| pumarola (albertpumarola/GANimation, `net_epoch_<N>_id_G.pth`) | `main.0.weight`, ... | weight and bias | none |
| donydchen (donydchen/ganimation_replicate, `<N>_net_gen.pth`) | `model.0.weight`, ... | none | dropped: the instance norm cancels them |
"""  # noqa: E501

import hashlib
import io
import json
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from miex.datasets.files import whole_file
from miex.datasets.given_files import read_given
from miex.datasets.hub import GENERATOR_FILE, local_checkpoint
from miex.datasets.seals import UNSEALED, check_bytes
from miex.generators.ganimation.guided_network import GuidedGANimation, random_guided
from miex.generators.ganimation.network import WIDTH, GANimation, new_network

Format = Literal["miex", "pumarola", "donydchen"]

_PUBLIC_IMAGE_SIZE = 128
"""Side of the images that both public codes train on."""

_MAX_BYTES = 1 << 32
"""A larger file is no generator; the public ones have 34 MB."""

WHERE_FROM = (
    "such files are: <N>_net_gen.pth, trained ones are linked in the README of"
    " github.com/donydchen/ganimation_replicate (MIT); net_epoch_<N>_id_G.pth, written by the"
    " training of github.com/albertpumarola/GANimation (GPL-3); and the safetensors that"
    " miex.generators.ganimation.checkpoint.save_checkpoint writes"
)

_STEM, _MAPS = "stem.conv.weight", "maps"
"""Key of the first kernel of GANimation, and a key that only the guided design has."""

_FORMAT = "miex-ganimation"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights of a generator, and facts about them.

    Attributes:
        network: The weights, float32 on the CPU; its class is the design.
        format: Format of the file.
        image_size: Side of the training images, pixels.
        card: Facts about the training, by the writer of the file; empty for the public formats.
        sha256: Hash of the file, hexadecimal.
    """

    network: GANimation | GuidedGANimation
    format: Format
    image_size: int
    card: Mapping[str, str]
    sha256: str


@dataclass(frozen=True, slots=True)
class _Layout:
    """Names of the weights in a format by key of miex, and keys that are dropped."""

    keys: Mapping[str, str]
    dropped: frozenset[str] = frozenset()


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of any of the three formats.

    Args:
        path: The file, or ``hf-hub:USER/NAME``.

    Raises:
        FileNotFoundError: There is no such file or repository.
        ValueError: The file is no such checkpoint: not readable, with more in it than tensors, or
            with missing, unexpected or misshapen tensors. The message names the file and the key.
    """
    path = local_checkpoint(path, GENERATOR_FILE)
    content = read_given(path, "checkpoint of a generator", WHERE_FROM, most=_MAX_BYTES)
    tensors, metadata = _read_tensors(path, content)
    size, card = _read_metadata(path, metadata)
    # The public formats are not those of safetensors with metadata, so that all others are ours.
    if metadata:
        check_bytes(path, content, "fetch it again, or train again")
    network: GANimation | GuidedGANimation
    name: Format
    if _MAPS in tensors:
        name, network = "miex", _guided(path, tensors)
    else:
        name, state = _rename(path, tensors)
        network = new_network(state[_STEM].shape[0])
        network.load_state_dict(state)
    return Checkpoint(network.eval(), name, size, card, hashlib.sha256(content).hexdigest())


def _guided(path: Path, tensors: Mapping[str, Tensor]) -> GuidedGANimation:
    """Return the motion-guided network of these tensors."""
    where = f"{path} (format miex, design guided)"
    width = _width(where, "stem.weight", tensors)
    network = random_guided(0, width)
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    _require_keys(where, set(shapes), set(tensors), "a guided generator of miex")
    state = {key: _require_weight(where, key, tensors, shape) for key, shape in shapes.items()}
    network.load_state_dict(state)
    return network


def _width(where: str, key: str, tensors: Mapping[str, object]) -> int:
    """Return the number of channels of the first convolution, the width of the network."""
    tensor = tensors.get(key)
    if not isinstance(tensor, Tensor) or tensor.ndim != 4 or not tensor.shape[0]:
        raise ValueError(
            f"{where}: {key!r} is missing or no kernel of a convolution, which says how wide the"
            f" network is; {WHERE_FROM}"
        )
    return int(tensor.shape[0])


def _require_keys(where: str, expected: set[str], found: set[str], whose: str) -> None:
    for problem, keys in (("missing", expected - found), ("unexpected", found - expected)):
        if keys:
            first, *others = sorted(map(str, keys))
            more = f" and {len(others)} more" if others else ""
            raise ValueError(
                f"{where}: key {first!r}{more} {problem}; expected {len(expected)} tensors, those"
                f" of {whose}; {WHERE_FROM}"
            )


def save_checkpoint(
    network: GANimation | GuidedGANimation,
    path: Path,
    *,
    image_size: int = _PUBLIC_IMAGE_SIZE,
    card: Mapping[str, str] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a checkpoint as safetensors, atomically.

    Args:
        network: The weights.
        path: File to write; an existing one is replaced.
        image_size: Side of the training images, pixels.
        card: Facts about the training.
        dtype: float32 (bit-exact) or float16 (half the size).

    Raises:
        ValueError: Another dtype, or a weight is not finite in it.
        DiskFullError: The disk is full.
    """
    if dtype not in (torch.float32, torch.float16):
        raise ValueError(f"a checkpoint is written in torch.float32 or torch.float16, not {dtype}")
    tensors = {
        key: tensor.detach().to("cpu", dtype).contiguous()
        for key, tensor in network.state_dict().items()
    }
    for key, tensor in tensors.items():
        _require_finite(path, key, tensor)
    # One entry, since safetensors writes several in any order, which would change the hash.
    about = {
        "version": _VERSION,
        "image_size": image_size,
        "card": dict(card or {}),
        "sha256": UNSEALED,
    }
    metadata = {_FORMAT: json.dumps(about, sort_keys=True)}
    with whole_file(path, sealed=True) as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors, metadata))


def _read_tensors(path: Path, content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return tensors by key, and the metadata of safetensors."""
    if content[8:9] == b"{":
        try:
            tensors = safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise ValueError(
                f"{path}: damaged safetensors file ({error}); fetch it again"
            ) from None
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return tensors, header.get("__metadata__", {})
    if not content.startswith((b"PK\x03\x04", b"\x80")):
        raise ValueError(
            f"{path}: neither safetensors nor a file of torch.save;"
            f" if it was downloaded, it may be a web page or a pointer instead; {WHERE_FROM}"
        )
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: refused, and nothing in it was run: it holds Python objects or code besides"
            f" tensors ({_first_sentence(error)}). A checkpoint is a plain state dict. If you trust"
            " its author, open it where harm is impossible and save only"
            " `network.state_dict()` again"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path}: damaged or cut off ({_first_sentence(error)}); fetch it again"
        ) from None
    if not isinstance(loaded, dict):
        raise ValueError(
            f"{path}: holds one {type(loaded).__name__}, expected a state dict (name to tensor);"
            f" {WHERE_FROM}"
        )
    return loaded, {}


def _first_sentence(error: Exception) -> str:
    """Return the error without the advice of PyTorch to unpickle the file."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    chosen = (named or lines or [type(error).__name__])[0]
    return chosen.removeprefix("WeightsUnpickler error: ").split(". ")[0][:200]


def _layers() -> Iterator[tuple[str, int, int | None]]:
    """Yield each normalised convolution with its place in the sequences of the public codes.

    Yields:
        Prefix in miex, index in the main sequence, and index inside the block for residual blocks.
    """
    yield "stem", 0, None
    for i in range(2):
        yield f"encoder.{i}", 3 + 3 * i, None
    for i in range(6):
        yield f"residual.{i}.first", 9 + i, 0
        yield f"residual.{i}.second", 9 + i, 3
    for i in range(2):
        yield f"decoder.{i}", 15 + 3 * i, None


@cache
def _layouts() -> dict[Format, _Layout]:
    ours = {key: key for key in _shapes()}
    pumarola = {"colour.weight": "img_reg.0.weight", "attention.weight": "attetion_reg.0.weight"}
    donydchen = {"colour.weight": "color_top.0.weight", "attention.weight": "au_top.0.weight"}
    statistics: set[str] = set()
    biases: set[str] = set()
    for prefix, index, inner in _layers():
        conv = f"main.{index}" if inner is None else f"main.{index}.main.{inner}"
        norm = f"main.{index + 1}" if inner is None else f"main.{index}.main.{inner + 1}"
        pumarola[f"{prefix}.conv.weight"] = f"{conv}.weight"
        pumarola[f"{prefix}.norm.weight"] = f"{norm}.weight"
        pumarola[f"{prefix}.norm.bias"] = f"{norm}.bias"
        statistics |= {f"{norm}.running_mean", f"{norm}.running_var"}
        conv = f"model.{index}" if inner is None else f"model.{index}.conv_block.{inner}"
        donydchen[f"{prefix}.conv.weight"] = f"{conv}.weight"
        biases.add(f"{conv}.bias")
    return {
        "miex": _Layout(ours),
        "pumarola": _Layout(pumarola, frozenset(statistics)),
        "donydchen": _Layout(donydchen, frozenset(biases)),
    }


@cache
def _shapes(width: int = WIDTH) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in new_network(width).state_dict().items()}


def _rename(path: Path, tensors: Mapping[str, Tensor]) -> tuple[Format, dict[str, Tensor]]:
    """Return the format of these tensors, and the weights by the names of miex."""
    if tensors and all(str(key).startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    layouts = _layouts()
    name = max(layouts, key=lambda each: len(tensors.keys() & layouts[each].keys.values()))
    layout = layouts[name]
    theirs = set(layout.keys.values())
    head = layout.keys["colour.weight"]
    if head not in tensors and len(tensors.keys() & theirs) < len(theirs) / 2:
        first = ", ".join(str(key) for key in list(tensors)[:3]) or "nothing"
        raise ValueError(
            f"{path}: no generator of GANimation (it holds {first}"
            f"{', ...' if len(tensors) > 3 else ''}); is it the discriminator's file? {WHERE_FROM}"
        )
    where = f"{path} (format {name})"
    _require_keys(
        where, theirs, {str(key) for key in tensors} - layout.dropped,
        "a generator with 17 AUs and 6 residual blocks",
    )  # fmt: skip
    shapes = _shapes(_width(where, layout.keys[_STEM], tensors))
    state = {}
    for ours, shape in shapes.items():
        if ours in layout.keys:
            state[ours] = _require_weight(where, layout.keys[ours], tensors, shape)
        else:
            state[ours] = torch.full(shape, 1.0 if ours.endswith("weight") else 0.0)
    return name, state


def _require_weight(
    where: str, key: str, tensors: Mapping[str, object], shape: tuple[int, ...]
) -> Tensor:
    tensor = tensors[key]
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise ValueError(f"{where}: {key!r} is {kind}, expected a tensor of floats")
    if tuple(tensor.shape) != shape:
        raise ValueError(
            f"{where}: {key!r} has shape {tuple(tensor.shape)}, expected {shape}: the file comes"
            f" from a generator of another width or number of AUs; {WHERE_FROM}"
        )
    _require_finite(where, key, tensor)
    return tensor.float()


def _require_finite(where: Path | str, key: str, tensor: Tensor) -> None:
    if not tensor.isfinite().all():
        raise ValueError(
            f"{where}: {key!r} holds NaN or infinity in {tensor.dtype}: its training diverged;"
            " take an earlier epoch"
        )


def _read_metadata(path: Path, metadata: Mapping[str, str]) -> tuple[int, dict[str, str]]:
    if _FORMAT not in metadata:
        return _PUBLIC_IMAGE_SIZE, {}
    try:
        about = json.loads(metadata[_FORMAT])
        version, size = int(about["version"]), int(about["image_size"])
        card = {str(key): str(value) for key, value in about["card"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: metadata {_FORMAT!r} is incomplete or damaged ({error!r}); expected a JSON"
            " object with version and image_size as integers, card as an object of strings"
        ) from None
    if version > _VERSION:
        raise ValueError(
            f"{path}: version {version} of {_FORMAT}, this miex reads up to {_VERSION}; update miex"
        )
    return size, card
