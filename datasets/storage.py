"""Files at addresses: read, listed, and written atomically through fsspec, like local files.

Wherever miex takes a path, it takes an address of a store that fsspec knows (``s3://BUCKET/KEY``,
``gs://``, ``abfs://``, ``memory://``, ``file:///``). `pathlib` removes the second slash of an
address; every function here accepts both spellings, so that addresses travel as `Path`.

Keys and endpoints of a store are read from its own environment variables and files
(``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...), never from an address.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from miex.datasets.extras import how_to_install
from miex.datasets.paths import masked

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(?=[^/])")

_WHOLE_OBJECTS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "r2"}
"""Stores in which an object is visible only after its last byte was received."""

CACHE_VARIABLE = "MIEX_CACHE"
"""Environment variable with the folder of copies, ``~/.cache/miex`` by default."""


def is_address(place: str | Path) -> bool:
    """Return whether a path is an address of a store, and not a local path."""
    found = _ADDRESS.match(str(place))
    if found is None or (isinstance(place, str) and "://" not in place):
        return False
    from fsspec.registry import known_implementations

    return found[1] in known_implementations


def address_of(place: str | Path) -> str:
    """Return an address with the slashes that `pathlib` has removed; a local path as it is."""
    if not is_address(place):
        return str(place)
    scheme, rest = re.split(r":/+", str(place), maxsplit=1)
    return f"{scheme}:///{rest}" if scheme in ("file", "local") else f"{scheme}://{rest}"


def absolute(place: str | Path) -> Path:
    """Return a path that means the same in every working directory; an address is unchanged."""
    return Path(place) if is_address(place) else Path(place).expanduser().resolve()


def shown(place: str | Path) -> str:
    """Return a path or address for messages: without the password or key of an address."""
    return masked(address_of(place))


def open_address(place: str | Path) -> tuple[Any, str]:
    """Return the file system of an address, and the path of the address in it.

    Raises:
        ImportError: A package for this kind of address is missing; the message names it.
        ValueError: The address cannot be read.
    """
    import fsspec

    address = address_of(place)
    if masked(address) != address:
        raise ValueError(
            f"{masked(address)} cannot be read: manifests and logs keep addresses, so that one with"
            " a password, key or token is refused; give it in the environment variables of the"
            " store (AWS_SECRET_ACCESS_KEY, ...), or copy the files to a folder"
        )
    try:
        files, root = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise ImportError(
            f"{masked(address)} needs a package that is not installed ({error}); for s3://"
            f" {how_to_install('s3')}; for https:// pip install aiohttp"
        ) from None
    except Exception as error:
        raise unusable(address, error) from None
    return files, str(root).rstrip("/")


def unusable(address: str | Path, error: Exception, doing: str = "read") -> ValueError:
    """Return the error for an address that cannot be used; fsspec raises many kinds.

    Args:
        address: The address.
        error: What was raised.
        doing: ``read`` or ``written``.
    """
    said = masked(" ".join(f"{type(error).__name__}: {error}".split()))
    return ValueError(
        f"{shown(address)} cannot be {doing} ({said}); check the address, the network, and that you"
        " have access to it, then start the same command again: what is finished is kept"
    )


@contextlib.contextmanager
def _using(place: str | Path, doing: str = "read") -> Iterator[tuple[Any, str]]:
    """Yield file system and path of an address; every error becomes one that names the address."""
    files, path = open_address(place)
    try:
        yield files, path
    except FileNotFoundError:
        raise FileNotFoundError(f"nothing at {shown(place)}") from None
    except Exception as error:
        raise unusable(place, error, doing) from None


def exists(place: str | Path) -> bool:
    """Return whether there is a file or folder at a path or address."""
    if not is_address(place):
        return Path(place).exists()
    with _using(place) as (files, path):
        files.invalidate_cache()
        return bool(files.exists(path))


def read_bytes(place: str | Path) -> bytes:
    """Return the content of a file at a path or address.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The address cannot be read.
    """
    if not is_address(place):
        return Path(place).read_bytes()
    with _using(place) as (files, path):
        return bytes(files.cat_file(path))


def open_binary(place: str | Path) -> Any:
    """Open a file at a path or address for reading; of an address, only what is read is sent.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The address cannot be read.
    """
    if not is_address(place):
        return Path(place).open("rb")
    with _using(place) as (files, path):
        return files.open(path, "rb")


def size(place: str | Path) -> int | None:
    """Return the size in bytes of a file at a path or address, None if there is none."""
    if not is_address(place):
        return Path(place).stat().st_size if Path(place).is_file() else None
    with contextlib.suppress(FileNotFoundError), _using(place) as (files, path):
        files.invalidate_cache()
        return int(files.size(path))
    return None


def sizes(folder: str | Path) -> dict[str, int]:
    """Return the size in bytes of every file below a folder, by relative path with ``/``.

    Unfinished files (names that begin with a dot and end in ``.partial``) are left out. A folder
    that does not exist has none.
    """
    if not is_address(folder):
        paths = (path for path in Path(folder).rglob("*") if path.is_file())
        found = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
    else:
        with _using(folder) as (files, root):
            files.invalidate_cache()
            listed = files.find(root, detail=True) if files.exists(root) else {}
        cut = len(root.strip("/")) + 1
        found = {name.lstrip("/")[cut:]: int(info["size"]) for name, info in listed.items()}
    return {name: size for name, size in found.items() if not name.endswith(".partial")}


def names_in(folder: str | Path) -> set[str]:
    """Return the names of files and folders in a folder, without unfinished files."""
    if not is_address(folder):
        found = {path.name for path in Path(folder).iterdir()} if Path(folder).is_dir() else set()
    else:
        with _using(folder) as (files, root):
            files.invalidate_cache()
            listed = files.ls(root, detail=False) if files.exists(root) else []
        found = {str(name).rstrip("/").rpartition("/")[2] for name in listed}
    return {name for name in found if not name.endswith(".partial")}


def remove(place: str | Path) -> None:
    """Delete a file or a folder at a path or address, if it exists."""
    if is_address(place):
        with contextlib.suppress(FileNotFoundError), _using(place, "written") as (files, path):
            files.rm(path, recursive=True)
    elif Path(place).is_dir():
        shutil.rmtree(place, ignore_errors=True)
    else:
        Path(place).unlink(missing_ok=True)


def store(local: Path, place: str | Path) -> None:
    """Copy a local file to an address, where it is visible only when it is complete.

    Raises:
        ValueError: The address cannot be written.
    """
    with _using(place, "written") as (files, path):
        protocols = {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)
        if protocols & _WHOLE_OBJECTS:
            files.put_file(str(local), path)
            return
        parent, _, name = path.rpartition("/")
        files.makedirs(parent, exist_ok=True)
        temporary = f"{parent}/.{name}.{secrets.token_hex(4)}.partial"
        try:
            files.put_file(str(local), temporary)
            files.mv(temporary, path)
        except BaseException:
            with contextlib.suppress(Exception):
                files.rm_file(temporary)
            raise


@contextlib.contextmanager
def staged(folder: str | Path) -> Iterator[Path]:
    """Yield a local folder to write into, whose files are at `folder` at the end of the block.

    A local folder is yielded itself. For an address it is a temporary folder; its files are
    stored one by one, each atomically, unless the block raises.
    """
    if not is_address(folder):
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="miex-") as temporary:
        yield Path(temporary)
        for path in sorted(Path(temporary).rglob("*")):
            if path.is_file():
                store(path, Path(folder) / path.relative_to(temporary))


@contextlib.contextmanager
def borrowed(place: str | Path) -> Iterator[Path]:
    """Yield a local file with the content of a file; the copy of an address is deleted after.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The address cannot be read.
    """
    if not is_address(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="miex-") as folder:
        local = Path(folder) / Path(place).name
        _fetch(place, local)
        yield local


def local_file(place: str | Path) -> Path:
    """Return a local file with the content of a file; an address is copied once per version.

    The copies are in the folder of `CACHE_VARIABLE`, which may be deleted at any time.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The address cannot be read.
    """
    if not is_address(place):
        return Path(place)
    with _using(place) as (files, path):
        files.invalidate_cache()
        version = f"{address_of(place)} {files.ukey(path)}"
    local = cache_folder() / hashlib.sha256(version.encode()).hexdigest()[:20] / Path(place).name
    if not local.is_file():
        local.parent.mkdir(parents=True, exist_ok=True)
        temporary = local.with_name(f".{local.name}.{secrets.token_hex(4)}.partial")
        try:
            _fetch(place, temporary)
            temporary.replace(local)
        finally:
            temporary.unlink(missing_ok=True)
    return local


def cache_folder() -> Path:
    """Return the folder of the copies of files at addresses."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/miex").expanduser()


def _fetch(place: str | Path, local: Path) -> None:
    with _using(place) as (files, path):
        files.get_file(path, str(local))
