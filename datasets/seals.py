"""Checksums inside the files that miex writes, which their readers verify.

A seal is the text ``miex-sha256:`` and 64 hexadecimal digits in the metadata of a file: the SHA-256
of the whole file with these digits as zeros. It is possible in every format that can hold a text
(Parquet, safetensors, JSON), is part of the file, and covers every byte of it. Files of earlier
versions have no seal; they are read with a warning.
"""

import hashlib
import logging
import mmap
from pathlib import Path

from miex.datasets.paths import open_regular

_MARK = b"miex-sha256:"
_DIGITS = 64
_ZEROS = b"0" * _DIGITS
_AT_A_TIME = 1 << 20

UNSEALED = (_MARK + _ZEROS).decode()
"""Seal before the digits are filled in, for the metadata of a new file."""

SEAL = b"miex.checksum"
"""Key of the seal in the metadata of a Parquet file."""

_log = logging.getLogger("miex")

_verified: dict[Path, tuple[int, int, int]] = {}
"""Files that this process verified, with their size, time of change and inode."""

_warned: set[Path] = set()


class DamagedFile(ValueError):
    """The content of a file has changed since it was written."""


def seal_file(path: Path) -> None:
    """Fill in the seal of a new file, before it gets its final name.

    Raises:
        ValueError: The content has no `UNSEALED`.
    """
    digest, at, _ = _digest(path)
    if at is None:
        raise ValueError(f"{path} has no place for a checksum")
    with path.open("r+b") as file:
        file.seek(at)
        file.write(digest.encode())


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
    status = path.stat()
    key = status.st_size, status.st_mtime_ns, status.st_ino
    if _verified.get(path) == key:
        return True
    digest, at, stated = _digest(path)
    if at is None:
        warn_unsealed(path)
        return False
    if digest != stated:
        raise DamagedFile(f"{path} is damaged: its content does not match its checksum; {remedy}")
    _verified[path] = key
    return True


def check_bytes(path: Path, content: bytes, remedy: str) -> bool:
    """Verify the seal of the content of a file; see `check_seal`."""
    at = _find(content)
    if at is None:
        warn_unsealed(path)
        return False
    blank = content[:at] + _ZEROS + content[at + _DIGITS :]
    if hashlib.sha256(blank).hexdigest().encode() != content[at : at + _DIGITS]:
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


def _digest(path: Path) -> tuple[str, int | None, str]:
    """Return the digest of a file with zero digits, the place of its digits, and the digits."""
    with open_regular(path) as file:
        if not path.stat().st_size:
            return "", None, ""
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            at = _find(content)
            if at is None:
                return "", None, ""
            stated = content[at : at + _DIGITS]
            digest = hashlib.sha256()
            for start, end in ((0, at), (at + _DIGITS, len(content))):
                if start:
                    digest.update(_ZEROS)
                for begin in range(start, end, _AT_A_TIME):
                    digest.update(content[begin : min(begin + _AT_A_TIME, end)])
            return digest.hexdigest(), at, stated.decode("ascii", "replace")


def _find(content: bytes | mmap.mmap) -> int | None:
    """Return the place of the digits: in the header or, for Parquet, in the footer."""
    size = len(content)
    if content[:4] == b"PAR1":
        footer = int.from_bytes(content[-8:-4], "little")
        at = content.rfind(_MARK, max(0, size - 8 - footer))
    elif content[8:9] == b"{":
        at = content.find(_MARK, 8, 8 + int.from_bytes(content[:8], "little"))
    else:
        at = content.find(_MARK)
    if at < 0 or at + len(_MARK) + _DIGITS > size:
        return None
    return at + len(_MARK)
