"""Checksums inside the files that miex keeps, which their readers verify.

A seal is the text ``miex-sha256:`` and 64 hexadecimal digits somewhere in the metadata of a file:
the SHA-256 of the whole file with these digits as zeros. It fits every format that can hold a text
(Parquet, safetensors, JSON), travels with the file, and covers every byte of it. Files of earlier
versions have none; they are read with a warning.
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
"""What a writer puts into the metadata before `seal` fills in the digits."""

SEAL = b"miex.checksum"
"""The key of the seal in the metadata of a Parquet file."""

_log = logging.getLogger("miex")

_verified: dict[Path, tuple[int, int, int]] = {}
"""Files whose seal was right in this process, with their size, time of change and inode."""

_warned: set[Path] = set()


class DamagedFile(ValueError):
    """The content of a file is not what was written into it."""


def sealed_bytes(content: bytes) -> bytes:
    """Return content with its seal filled in.

    Raises:
        ValueError: It holds no `UNSEALED`.
    """
    at = _find(content)
    if at is None:
        raise ValueError("the content holds no place for a seal")
    blank = content[:at] + _ZEROS + content[at + _DIGITS :]
    digest = hashlib.sha256(blank).hexdigest().encode()
    return content[:at] + digest + content[at + _DIGITS :]


def seal_file(path: Path) -> None:
    """Fill in the seal of a file that was just written and has not got its final name yet.

    Raises:
        ValueError: It holds no `UNSEALED`.
    """
    digest, at, _ = _digest(path)
    if at is None:
        raise ValueError(f"{path} holds no place for a seal")
    with path.open("r+b") as file:
        file.seek(at)
        file.write(digest.encode())


def check_seal(path: Path, remedy: str) -> bool:
    """Verify the seal of a file; each unchanged file once in a process.

    Args:
        path: The file.
        remedy: What to do about a damaged file, for the message.

    Returns:
        False for a file of an earlier version, which has none; a warning is logged once.

    Raises:
        DamagedFile: The content is not what was written.
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
        raise DamagedFile(
            f"{path} is damaged: its checksum is not the one that was written into it; {remedy}"
        )
    _verified[path] = key
    return True


def check_bytes(path: Path, content: bytes, remedy: str) -> bool:
    """Verify the seal of a file that was read already; see `check_seal`."""
    at = _find(content)
    if at is None:
        warn_unsealed(path)
        return False
    blank = content[:at] + _ZEROS + content[at + _DIGITS :]
    if hashlib.sha256(blank).hexdigest().encode() != content[at : at + _DIGITS]:
        raise DamagedFile(
            f"{path} is damaged: its checksum is not the one that was written into it; {remedy}"
        )
    return True


def has_valid_seal(path: Path) -> bool:
    """Return whether a file has a seal, and the right one."""
    try:
        return check_seal(path, "")
    except (DamagedFile, OSError):
        return False


def warn_unsealed(path: Path) -> None:
    """Log, once for each file, that damage of a file could not be noticed."""
    if path not in _warned:
        _warned.add(path)
        _log.warning(
            "%s carries no checksum (an earlier version of miex wrote it): it is read, but damage"
            " could not be noticed; write it again to protect it",
            path,
        )


def _digest(path: Path) -> tuple[str, int | None, str]:
    """Return the digest of a file with blank digits, the place of its digits, and those there."""
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
    """Return where the digits of the seal begin: in the header or, of Parquet, in the footer."""
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
