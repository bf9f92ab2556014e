"""Write files atomically."""

import errno
import glob
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from miex.datasets.paths import open_regular
from miex.datasets.seals import remember_hash, seal_file
from miex.datasets.storage import is_address, staged

PARTIAL = ".partial"
"""Suffix of a file that is being written; such files may be deleted when nothing runs."""


class DiskFullError(OSError):
    """The disk is full; the incomplete file was removed."""


@contextmanager
def whole_file(path: Path, *, sealed: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which is renamed at the end of the block.

    The content is synced to the disk before the renaming, so that even a power failure leaves no
    incomplete file under the final name. An error inside the block removes the temporary file.

    Args:
        path: The file to write, or its address: the file is written here and then stored there,
            where it is visible only when it is complete.
        sealed: Whether its metadata holds `UNSEALED`, to be filled in with the checksum.

    Raises:
        DiskFullError: The disk is full.
        ValueError: The address cannot be written.
    """
    if is_address(path):
        with (
            staged(path.parent) as folder,
            whole_file(folder / path.name, sealed=sealed) as temporary,
        ):
            yield temporary
        return
    # Processes of two machines may have the same number.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sha256 = seal_file(temporary) if sealed else None
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        if sha256 is not None:
            remember_hash(path, sha256)
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
    """Sync a folder to the disk, and so the renaming of files in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial(folder: Path, name: str | None = None, idle: float = 0) -> None:
    """Delete incomplete files that killed runs left in a folder.

    Args:
        folder: The folder; may be missing.
        name: Final name of the file whose temporary files are deleted; all files by default.
        idle: Delete only files that were not changed for this time, in seconds; other runs may be
            writing.
    """
    for path in folder.glob(f".{'*' if name is None else glob.escape(name) + '.*'}{PARTIAL}"):
        with suppress(FileNotFoundError):
            if not idle or time.time() - path.stat().st_mtime > idle:
                path.unlink()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
