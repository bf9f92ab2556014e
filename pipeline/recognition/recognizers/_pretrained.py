"""Backbones with pretrained weights, if these are on this machine. Nothing is downloaded.

`weights` is one of

- ``auto``: ImageNet weights if the cache of torch hub or Hugging Face has them, else random;
- ``imagenet``: ImageNet weights; an error with the expected path if they are missing;
- ``random``: the initialisation of the library;
- a path to a ``.safetensors``, ``.pth``, ``.pt``, ``.tar`` or ``.bin`` file of the same backbone,
  trained on any data (ImageNet, FER+, VGGFace2) with any head; read without unpickling.

Every function returns the backbone without its head, and its initial weights.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
import torchvision
from huggingface_hub import constants, try_to_load_from_cache
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import ResNet, ResNet18_Weights

from miex.datasets.files import sha256_file
from miex.datasets.given_files import require_file

_RANDOM = "random"
"""`Recognizer.weights` of a network without pretrained weights."""

_NESTED = ("state_dict", "model_state_dict", "model", "net")
"""Keys of the parameters in the checkpoints of training scripts."""


@dataclass(frozen=True, slots=True)
class _Published:
    """ImageNet weights that a library would download.

    Attributes:
        title: Their name.
        file: Their file in the cache of the library; None if missing.
        expected: Expected path.
        command: Command that downloads them.
    """

    title: str
    file: Path | None
    expected: str
    command: str


def resnet18(weights: str) -> tuple[ResNet, str]:
    """Create the ResNet-18 of torchvision (He et al., CVPR 2016) without its head.

    Args:
        weights: See the module.

    Returns:
        The backbone, ``(B, 3, H, W)`` to ``(B, 512)``, and its initial weights.

    Raises:
        FileNotFoundError: The weights are missing; the message names the expected path.
        ValueError: The file cannot be read, or holds another network; the message names keys.
    """
    network = torchvision.models.resnet18(weights=None)
    network.fc = nn.Identity()
    return network, _fill(network, "resnet18", weights, _torchvision_weights())


def timm_backbone(name: str, weights: str, *, pooled: bool = True) -> tuple[nn.Module, str, int]:
    """Create a backbone of timm without its head.

    Args:
        name: Its name in timm, as ``rexnet_100``.
        weights: See the module.
        pooled: Whether its last maps are averaged.

    Returns:
        The backbone, ``(B, 3, H, W)`` to ``(B, features)``, or to the maps ``(B, features, h, w)``;
        its initial weights; the number of features.

    Raises:
        FileNotFoundError: The weights are missing; the message names the expected path.
        ValueError: timm has no such backbone, or the file cannot be read or holds another network;
            the message names keys.
    """
    import timm  # takes seconds, and only some recognizers need it

    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"{name.split('_')[0]}*")[:8]) or "see timm.list_models()"
        raise ValueError(f"timm has no backbone {name!r}; it has: {near}")
    pool: dict[str, Any] = {} if pooled else {"global_pool": ""}
    network: Any = timm.create_model(name, pretrained=False, num_classes=0, **pool)
    said = _fill(network, name, weights, _timm_weights(name))
    return network, said, int(network.num_features)


def _torchvision_weights() -> _Published:
    published = ResNet18_Weights.IMAGENET1K_V1
    expected = Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
    return _Published(
        title="torchvision ResNet18_Weights.IMAGENET1K_V1",
        file=expected if expected.is_file() else None,
        expected=str(expected),
        command=f"download {published.url} to that place",
    )


def _timm_weights(name: str) -> _Published | None:
    import timm

    known = timm.get_pretrained_cfg(name)
    if known is None or not known.hf_hub_id:
        return None
    cached = try_to_load_from_cache(known.hf_hub_id, "model.safetensors")
    return _Published(
        title=f"timm {name}.{known.tag}",
        file=Path(cached) if isinstance(cached, str) else None,
        expected=f"model.safetensors of {known.hf_hub_id} in {constants.HF_HUB_CACHE}",
        command=f"run `hf download {known.hf_hub_id} model.safetensors`",
    )


def _fill(network: nn.Module, name: str, weights: str, published: _Published | None) -> str:
    """Load the weights that `weights` names, and return their description."""
    if weights == _RANDOM:
        return _RANDOM
    if weights not in ("auto", "imagenet"):
        return f"{weights}: {_load(network, name, Path(weights).expanduser())}"
    if published is not None and published.file is not None:
        return f"{published.title}: {_load(network, name, published.file)}"
    if weights == "auto":
        return _RANDOM
    if published is None:
        raise ValueError(
            f"there are no published ImageNet weights of {name}; use random, or give a file"
        )
    raise FileNotFoundError(
        f"ImageNet weights of {name} ({published.title}) are not on this machine, and nothing is"
        f" downloaded unasked; expected {published.expected}; {published.command}, or set"
        " weights: random"
    )


def _load(network: nn.Module, name: str, path: Path) -> str:
    """Load a file into the backbone, and return its hash and the parts left out."""
    stored = _read(path)
    own = network.state_dict()
    # Heads may differ; additional keys of the backbone mean another backbone.
    parts = {key.split(".")[0] for key in own}
    extra = sorted(key for key in stored if key not in own)
    strange = [key for key in extra if key.split(".")[0] in parts]
    # Files from before PyTorch 0.4.1 have no count of batches, which is not used here.
    missing = [key for key in own if key not in stored and not key.endswith("num_batches_tracked")]
    other = [
        f"{key} {tuple(stored[key].shape)} instead of {tuple(value.shape)}"
        for key, value in own.items()
        if key in stored and stored[key].shape != value.shape
    ]
    if strange or missing or other:
        wrong = (("missing", missing), ("unknown", strange), ("of another shape", other))
        found = "; ".join(f"{kind}: {_some(keys)}" for kind, keys in wrong if keys)
        raise ValueError(
            f"{path}: not the weights of {name} ({found}); give a file with the keys that"
            f" {name} has, with or without `module.` before them, or set weights: random"
        )
    network.load_state_dict({key: stored.get(key, value) for key, value in own.items()})
    left_out = sorted({key.split(".")[0] for key in extra})
    said = f"sha256 {sha256_file(path)[:12]}"
    return f"{said}, without {', '.join(left_out)}" if left_out else said


def _some(keys: list[str], most: int = 4) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more


_DAMAGED = (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError)
"""Exceptions of PyTorch for truncated or other files."""


def _read(path: Path) -> dict[str, Tensor]:
    """Return parameters by name from both formats, without the prefix of `DataParallel`."""
    remedy = "give auto, imagenet, random, or a .safetensors or .pth file"
    require_file(path, "file of weights", remedy)
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, pickle.UnpicklingError, *_DAMAGED) as error:
        raise ValueError(
            f"{path}: cannot be read without running code from it"
            f" ({str(error).splitlines()[0] if str(error) else type(error).__name__}); expected"
            " safetensors, or a .pth that holds tensors only; convert it on a machine where you"
            " trust it"
        ) from None
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: holds a {type(content).__name__}, expected tensors by name")
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    return {str(key).removeprefix("module."): value for key, value in tensors.items()}
