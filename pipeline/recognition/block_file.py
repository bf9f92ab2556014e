"""Write and read a block of cached representations as a safetensors file.

The writer of the library needs each tensor in one piece and copies it once more, which takes longer
than decoding a large block of frames; here files are written from parts.
"""

import json
import logging
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from miex.datasets.files import whole_file
from miex.datasets.seals import UNSEALED, check_seal

_log = logging.getLogger("miex")

_METADATA = "miex-representation"

_TYPES = {
    torch.uint8: "U8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.float32: "F32",
}


def write_block(
    path: Path, parts: Sequence[Mapping[str, Tensor]], count: int, rejected: Mapping[str, str]
) -> None:
    """Write a block with its checksum, atomically.

    Args:
        path: The file.
        parts: Tensors ``(n, ...)`` by name, on the CPU, which are joined along n.
        count: Number of samples of the block, usable or not.
        rejected: Reasons of unusable samples by key.

    Raises:
        DiskFullError: The disk is full.
        ValueError: A tensor has a type that caches do not support.
    """
    pieces = {name: [part[name].contiguous() for part in parts] for name in _names(parts)}
    header: dict[str, object] = {
        "__metadata__": {
            _METADATA: json.dumps({"count": count, "rejected": dict(rejected), "sha256": UNSEALED})
        }
    }
    end = 0
    for name, tensors in pieces.items():
        first, begin = tensors[0], end
        if first.dtype not in _TYPES:
            raise ValueError(f"{name!r} is {first.dtype}, expected one of {list(_TYPES)}")
        end += sum(tensor.nbytes for tensor in tensors)
        header[name] = {
            "dtype": _TYPES[first.dtype],
            "shape": [sum(len(tensor) for tensor in tensors), *first.shape[1:]],
            "data_offsets": [begin, end],
        }
    # The format: length of the header as u64, JSON padded to eight bytes, the data in order.
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with whole_file(path, sealed=True) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensors in pieces.values():
            for tensor in tensors:
                file.write(tensor.numpy().data)


def _names(parts: Sequence[Mapping[str, Tensor]]) -> Sequence[str]:
    """Return the names, widest types first as in safetensors, so that all are aligned."""
    if not parts:
        return ()
    return sorted(parts[0], key=lambda name: (-parts[0][name].element_size(), name))


def is_whole(path: Path, count: int) -> bool:
    """Return whether a block with this number of samples exists and matches its checksum.

    A block of an earlier version has no checksum and is accepted with a warning.
    """
    if not path.is_file():
        return False
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            if json.loads(file.metadata()[_METADATA])["count"] != count:
                return False
        check_seal(path, "it is computed again")
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        # Damage of a cache costs only time, and is logged.
        _log.warning("%s is damaged and is computed again (%s)", path, error)
        return False
    return True


def read_block(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors, memory-mapped, and the reasons of unusable samples by key.

    Raises:
        safetensors.SafetensorError: The file is damaged, see `is_whole`.
    """
    with safetensors.safe_open(path, framework="pt") as file:
        rejected: dict[str, str] = json.loads(file.metadata()[_METADATA])["rejected"]
    return safetensors.torch.load_file(path), rejected
