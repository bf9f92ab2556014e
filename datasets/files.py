"""Files that are either whole or absent."""

import errno
import glob
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from miex.datasets.paths import open_regular
from miex.datasets.seals import seal_file

PARTIAL = ".partial"
"""Suffix of a file that is being written; whatever carries it may be deleted when no run is on."""


class DiskFullError(OSError):
    """No space was left; nothing half-written stays."""


@contextmanager
def whole_file(path: Path, *, sealed: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; leaving the block puts it in place at once.

    The content is synced to the disk before it gets its name, so that not even a power failure
    leaves half a file under the final name. An error inside the block removes the temporary file.

    Args:
        path: The file to write.
        sealed: Whether its metadata holds `UNSEALED`, to be filled in with the checksum.

    Raises:
        DiskFullError: The disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if sealed:
            seal_file(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                errno.ENOSPC,
                f"the disk is full while writing {path}; free some space and start the same "
                "command again, what is finished is kept",
            ) from None
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """A rename is on the disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial(folder: Path, name: str | None = None, idle: float = 0) -> None:
    """Delete what killed runs left half-written in a folder.

    Args:
        folder: May be absent.
        name: Of the one file whose remains are to go; all of them by default.
        idle: Seconds for which nothing has been written to it, where others may be writing.
    """
    for path in folder.glob(f".{'*' if name is None else glob.escape(name) + '.*'}{PARTIAL}"):
        with suppress(FileNotFoundError):
            if not idle or time.time() - path.stat().st_mtime > idle:
                path.unlink()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
