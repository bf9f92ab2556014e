"""A training on the disk, so that a killed one goes on: safetensors with JSON, nothing pickled."""

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

KEPT = 2
"""States that are kept: should the last one be damaged, delete it and go on from the other."""

_KEY = "miex-training"


def save_state(
    folder: Path,
    step: int,
    run: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
) -> Path:
    """Writes the state after a step, whole or not at all, and deletes all but the last two.

    Args:
        folder: Where the states lie.
        step: Steps that are done.
        run: What the training is, to be recognised by; JSON.
        modules: Networks by name.
        optimisers: By name.

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
        # The library's save_file hides which error the system reported.
        temporary.write_bytes(safetensors.torch.save(written, metadata))
    for old in _states(folder)[:-KEPT]:
        old.unlink()
    return path


def load_state(
    folder: Path,
    run: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
) -> int:
    """Restores the last state, if there is one.

    Args:
        folder: Where the states lie.
        run: What the training is.
        modules: Networks of the same shapes.
        optimisers: Of the same parameters.

    Returns:
        Steps that are done; 0 without a state.

    Raises:
        ValueError: The state belongs to another training or is damaged; nothing was restored.
    """
    remove_partial(folder)
    states = _states(folder)
    if not states:
        return 0
    path = states[-1]
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = json.loads(file.metadata()[_KEY])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, TypeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path}: damaged ({reason}); delete it, and the training goes on from the state before"
        ) from None
    _require_same(path, about["run"], json.loads(json.dumps(run)))
    check_seal(path, "delete it, and the training goes on from the state before")
    for name, module in modules.items():
        module.load_state_dict(_part(tensors, name))
    for name, optimiser in optimisers.items():
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _part(tensors, name).items():
            index, _, moment = key.partition(".")
            if value.ndim:
                # Optimisers that work on many tensors at once want the strides of the weights.
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
    """Refuses another training, and says in what it differs."""
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
