"""Save and load the state of a training as safetensors with JSON, so that it can be resumed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from miex.datasets.files import remove_partial, whole_file
from miex.datasets.seals import UNSEALED, check_seal

_KEPT = 2
"""Number of states that are kept; if the last one is damaged, the one before it can be used."""

_KEY = "miex-training"


def save_state(
    folder: Path,
    step: int,
    run: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
) -> Path:
    """Write the state after a step atomically, and delete all but the last two states.

    Args:
        folder: Folder of the states.
        step: Number of finished steps.
        run: Identity of the training, as JSON.
        modules: Networks by name.
        optimisers: Optimisers by name.

    Raises:
        DiskFullError: The disk is full.
    """
    tensors = {
        f"{name}.{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    for name, optimiser in optimisers.items():
        for index, moments in optimiser.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{key}": value for key, value in moments.items()}
    written = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    path = folder / f"state-{step:08d}.safetensors"
    metadata = {_KEY: json.dumps({"step": step, "run": run, "sha256": UNSEALED}, sort_keys=True)}
    with whole_file(path, sealed=True) as temporary:
        # save_file of the library hides the error of the system.
        temporary.write_bytes(safetensors.torch.save(written, metadata))
    for old in _states(folder)[:-_KEPT]:
        old.unlink()
    return path


def load_state(
    folder: Path,
    run: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
) -> int:
    """Restore the last state, if there is one.

    Args:
        folder: Folder of the states.
        run: Identity of the training.
        modules: Networks of the same shapes.
        optimisers: Optimisers of the same parameters.

    Returns:
        Number of finished steps; 0 without a state.

    Raises:
        ValueError: The state belongs to another training or is damaged; nothing was restored.
    """
    remove_partial(folder)
    states = _states(folder)
    if not states:
        return 0
    path = states[-1]
    check_seal(path, "delete it, and the training resumes from the state before")
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = json.loads(file.metadata()[_KEY])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, TypeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path}: damaged ({reason}); delete it, and the training resumes from the state before"
        ) from None
    _require_same(path, about["run"], json.loads(json.dumps(run)))
    for name, module in modules.items():
        module.load_state_dict(_part(tensors, name))
    for name, optimiser in optimisers.items():
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _part(tensors, name).items():
            index, _, moment = key.partition(".")
            if value.ndim:
                # Fused optimisers need the strides of the weights.
                value = torch.empty_like(parameters[int(index)]).copy_(value)
            moments.setdefault(int(index), {})[moment] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": moments, "param_groups": groups})
    return int(about["step"])


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.safetensors"))


def _part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    start = f"{name}."
    return {k.removeprefix(start): value for k, value in tensors.items() if k.startswith(start)}


def _require_same(path: Path, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise an error for the state of another training, with the differences."""
    one, other = _flat(found), _flat(asked)
    differing = [key for key in one.keys() | other.keys() if one.get(key) != other.get(key)]
    if differing:
        named = "; ".join(
            f"{key} was {one.get(key)!r}, is {other.get(key)!r}" for key in sorted(differing)[:4]
        )
        raise ValueError(
            f"{path} belongs to another training ({named}); choose another output folder, or"
            " train as it was begun"
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat
