"""Checksums inside the files that miex writes, which their readers verify.

A seal is the text ``miex-sha256:`` and 64 hexadecimal digits in the metadata of a file: the SHA-256
of the whole file with these digits as zeros. It is possible in every format that can hold a text
(Parquet, safetensors, JSON), is part of the file, and covers every byte of it. Files of earlier
versions have no seal; they are read with a warning.
"""

import hashlib
import logging
import mmap
import operator
import re
import time
from pathlib import Path
from typing import Any

from miex.datasets.paths import open_regular

_MARK = b"miex-sha256:"
_DIGITS = 64
_ZEROS = b"0" * _DIGITS

UNSEALED = (_MARK + _ZEROS).decode()
"""Seal before the digits are filled in, for the metadata of a new file."""

SEAL = b"miex.checksum"
"""Key of the seal in the metadata of a Parquet file."""

_KEYS = (SEAL, b'"checksum": "miex')
"""Keys of seals: where one of them is without a seal, the seal itself is damaged."""

_ALIKE = 9
"""Of the twelve bytes of the mark, how many are left of one that is damaged."""

_SHORT = 1 << 20
"""Bytes behind a seal that are hashed twice, so that a file's own hash costs no second pass."""

_SETTLED = 20_000_000
"""Nanoseconds after which a further change of a file has another time; clocks of file systems
tick every 4 to 10 ms."""

_log = logging.getLogger("miex")

_Key = tuple[int, int, int, int]

_verified: dict[Path, _Key] = {}
"""Files that this process verified, with their size, times of change and inode."""

_hashes: dict[Path, tuple[_Key, str]] = {}
"""The SHA-256 of files that were hashed in this process."""

_warned: set[Path] = set()


class DamagedFile(ValueError):
    """The content of a file has changed since it was written."""


def seal_file(path: Path) -> str | None:
    """Fill in the seal of a new file, before it gets its final name.

    Returns:
        The SHA-256 of the sealed file for `remember_hash`, None where that would take another pass.

    Raises:
        ValueError: The content has no `UNSEALED`.
    """
    with open_regular(path) as file, _Content(file.fileno(), path.stat().st_size) as content:
        at = _find(content.view)
        if at is None:
            raise ValueError(f"{path} has no place for a checksum")
        before = _hash_until(content.view, at)
        digest = before.copy()
        digest.update(_ZEROS)
        _hash_rest(digest, content.view, at + _DIGITS)
        digits = digest.hexdigest().encode()
        whole = None
        if len(content.view) - at <= _SHORT:
            before.update(digits)
            _hash_rest(before, content.view, at + _DIGITS)
            whole = before.hexdigest()
    with path.open("r+b") as writer:
        writer.seek(at)
        writer.write(digits)
    return whole


def remember_hash(path: Path, sha256: str) -> None:
    """Keep the SHA-256 of a file that this process has just written, for `known_sha256`."""
    path = path.resolve()
    _hashes[path] = _key(path), sha256
    _verified[path] = _key(path)


def known_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal; an unchanged file is read once in a process.

    Raises:
        OSError: The file cannot be read.
    """
    path = path.resolve()
    key = _key(path)
    if path in _hashes and _hashes[path][0] == key:
        return _hashes[path][1]
    with open_regular(path) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if _is_settled(key):
        _hashes[path] = key, sha256
    return sha256


def _key(path: Path) -> _Key:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _is_settled(key: _Key) -> bool:
    return time.time_ns() - max(key[1:3]) > _SETTLED


def check_seal(path: Path, remedy: str) -> bool:
    """Verify the seal of a file; an unchanged file is verified once per process.

    Args:
        path: The file.
        remedy: Remedy for a damaged file, for the message.

    Returns:
        False for a file of an earlier version without a seal; a warning is logged once.

    Raises:
        DamagedFile: The content has changed since it was written.
        OSError: The file cannot be read.
    """
    path = path.resolve()
    key = _key(path)
    if _verified.get(path) == key:
        return True
    if not key[0]:
        raise DamagedFile(f"{path} is empty (0 bytes); {remedy}")
    with open_regular(path) as file, _Content(file.fileno(), key[0]) as content:
        sealed = _check(path, content.view, remedy)
    if sealed and _is_settled(key):
        _verified[path] = key
    return sealed


def check_bytes(path: Path, content: bytes, remedy: str) -> bool:
    """Verify the seal of the content of a file; see `check_seal`."""
    with memoryview(content) as view:
        return _check(path, view, remedy)


def _check(path: Path, view: memoryview, remedy: str) -> bool:
    at = _find(view)
    if at is None:
        if _has_remains(view):
            raise DamagedFile(f"{path} is damaged: its checksum cannot be read; {remedy}")
        warn_unsealed(path)
        return False
    digest = _hash_until(view, at)
    digest.update(_ZEROS)
    _hash_rest(digest, view, at + _DIGITS)
    if digest.hexdigest().encode() != bytes(view[at : at + _DIGITS]):
        raise DamagedFile(f"{path} is damaged: its content does not match its checksum; {remedy}")
    return True


def has_valid_seal(path: Path) -> bool:
    """Return whether a file has a correct seal."""
    try:
        return check_seal(path, "")
    except (DamagedFile, OSError):
        return False


def warn_unsealed(path: Path) -> None:
    """Log, once per file, that damage of the file could not be detected."""
    if path not in _warned:
        _warned.add(path)
        _log.warning(
            "%s carries no checksum (an earlier version of miex wrote it): damage cannot be"
            " detected; write it again to protect it",
            path,
        )


class _Content:
    """The bytes of an open file, mapped into memory while the block runs."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._map = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        self.view = memoryview(self._map)

    def __enter__(self) -> "_Content":
        return self

    def __exit__(self, *_: object) -> None:
        self.view.release()
        self._map.close()


def _hash_until(view: memoryview, end: int) -> Any:
    digest = hashlib.sha256()
    with view[:end] as part:
        digest.update(part)
    return digest


def _hash_rest(digest: Any, view: memoryview, begin: int) -> None:
    with view[begin:] as part:
        digest.update(part)


def _metadata(view: memoryview) -> tuple[int, bytes]:
    """Return where the metadata begins, and its bytes: a header, a Parquet footer, or all."""
    size = len(view)
    if bytes(view[:4]) == b"PAR1":
        begin = max(0, size - 8 - int.from_bytes(view[-8:-4], "little"))
        return begin, bytes(view[begin:])
    if bytes(view[8:9]) == b"{":
        return 8, bytes(view[8 : 8 + int.from_bytes(view[:8], "little")])
    return 0, bytes(view)


def _find(view: memoryview) -> int | None:
    """Return the place of the digits: in the header or, for Parquet, in the footer."""
    begin, text = _metadata(view)
    # In a Parquet footer the writer's own entries come last, in JSON the seal's field comes first.
    at = text.rfind(_MARK) if bytes(view[:4]) == b"PAR1" else text.find(_MARK)
    if at < 0 or at + len(_MARK) + _DIGITS > len(text):
        return None
    return begin + at + len(_MARK)


def _has_remains(view: memoryview) -> bool:
    text = _metadata(view)[1]
    if any(key in text for key in _KEYS):
        return True
    return any(
        sum(map(operator.eq, text[max(0, found.start() - len(_MARK)) : found.start()], _MARK))
        >= _ALIKE
        for found in re.finditer(rb"[0-9a-f]{64}", text)
    )
