"""Datasets at other addresses: copied once, verified by hash, used like local ones.

All addresses that fsspec supports are read: ``hf://datasets/USER/NAME``,
``https://HOST/PATH``, ``s3://BUCKET/PATH`` (with `miex[s3]`).
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from miex.datasets.dataset_format import MANIFEST, DatasetFolder
from miex.datasets.files import sha256_file, whole_file
from miex.datasets.paths import masked
from miex.datasets.storage import open_address, unusable

OnCopied = Callable[[int, int], None]
"""Called with (copied bytes, all bytes)."""

_AT_A_TIME = 2**22


def is_remote(place: str) -> bool:
    """Return whether a dataset is given by an address and not by a folder."""
    return "://" in place


def local_copy(address: str, folder: Path, on_copied: OnCopied | None = None) -> Path:
    """Copy a dataset, or its missing parts.

    Args:
        address: Address of the dataset folder.
        folder: Folder of all copies; each address has a folder of its own in it.
        on_copied: Called with the progress.

    Returns:
        The local dataset folder. Existing shards with the right hash are kept, so that an
        interrupted copy resumes.

    Raises:
        FileNotFoundError: There is no manifest at the address.
        ValueError: The address cannot be read, or a shard differs from the manifest.
        ImportError: A package for this kind of address is missing; the message names it.
        DiskFullError: The disk is full; complete shards are kept.
    """
    name = hashlib.sha256(address.encode()).hexdigest()[:16]
    out = folder / f"{address.rstrip('/').rpartition('/')[2] or 'dataset'}-{name}"
    files, root = open_address(address)
    content = read_address(files, f"{root}/{MANIFEST}", address)
    try:
        shards = [(str(s["path"]), str(s["sha256"]), int(s["bytes"])) for s in _shards(content)]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{masked(address)}/{MANIFEST} is damaged ({error!r})") from None
    total, done = sum(size for _, _, size in shards), 0
    for path, sha256, size in shards:
        target = _inside(out, path, address)
        if not (target.is_file() and sha256_file(target) == sha256):
            with whole_file(target) as temporary:
                _copy(files, f"{root}/{path}", temporary, address)
                if sha256_file(temporary) != sha256:
                    raise ValueError(
                        f"{masked(address)}/{path} differs from its manifest (another sha256): it"
                        " was changed or not completely copied; copy it again, or ask its author"
                    )
        done += size
        if on_copied:
            on_copied(done, total)
    with whole_file(out / MANIFEST) as temporary:
        temporary.write_bytes(content)
    return out


def read_manifest(place: str) -> dict[str, Any]:
    """Read the manifest of a dataset in a folder or at an address.

    Raises:
        FileNotFoundError: There is no finished dataset.
        ValueError: The manifest is damaged, or the address cannot be read.
    """
    if not is_remote(place):
        return DatasetFolder.open(Path(place)).manifest
    files, root = open_address(place)
    try:
        manifest = json.loads(read_address(files, f"{root}/{MANIFEST}", place))
        for shard in manifest["shards"]:
            _inside(Path("/dataset"), str(shard["path"]), place)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{masked(place)}/{MANIFEST} is damaged ({error!r})") from None
    return dict(manifest)


def read_address(files: Any, path: str, address: str) -> bytes:
    """Read a file of a dataset at an address.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The address cannot be read.
    """
    try:
        return bytes(files.cat_file(path))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{masked(address)} holds no finished miex dataset: {path.rpartition('/')[2]} is "
            "missing"
        ) from None
    except Exception as error:
        raise unusable(address, error) from None


def _shards(content: bytes) -> list[dict[str, Any]]:
    shards: list[dict[str, Any]] = json.loads(content)["shards"]
    return shards


def _inside(out: Path, path: str, address: str) -> Path:
    target = (out / path).resolve()
    if not target.is_relative_to(out.resolve()):
        raise ValueError(
            f"{masked(address)}/{MANIFEST} names a shard outside the dataset: {path!r}"
        )
    return target


def _copy(files: Any, source: str, target: Path, address: str) -> None:
    with target.open("wb") as local:
        for block in _blocks(files, source, address):
            local.write(block)


def _blocks(files: Any, source: str, address: str) -> Iterator[bytes]:
    try:
        with files.open(source, "rb") as remote:
            while block := remote.read(_AT_A_TIME):
                yield block
    except Exception as error:
        raise unusable(address, error) from None
