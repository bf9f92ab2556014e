"""Files and folders that users name: one check of what lies there, before a library opens it.

A folder given for a file, a file for a folder, a FIFO or device (which would block or never end),
an empty file, a link to nothing and a file without permission each give one line that names the
path, what was expected, and the remedy.
"""

import os
from pathlib import Path

from miex.datasets.paths import SpecialFile, open_regular, printable
from miex.datasets.storage import exists, is_address, read_bytes
from miex.datasets.storage import shown as shown_address

MAX_TEXT = 1 << 26
"""Bytes of a text file that is read whole (64 MiB); configs and tables of sources have a few KB."""


def require_file(path: Path, what: str, remedy: str, *, empty: bool = False) -> Path:
    """Return the path of a regular file that can be read and is not empty.

    Args:
        path: As the user gave it, or the address of a file, which only has to exist.
        what: What it should be, for messages: ``face table``.
        remedy: What the user can do, for messages.
        empty: Accept a file of 0 bytes.

    Raises:
        FileNotFoundError: Nothing is there, or a link to nothing.
        SpecialFile: A folder, FIFO, socket or device.
        ValueError: The file is empty, or no system can hold such a path.
        PermissionError: The user may not read it.
        OSError: The file system refuses it otherwise.
    """
    if is_address(path):
        if not exists(path):
            raise FileNotFoundError(f"no {what} at {shown_address(path)}; {remedy}")
        return path
    one = _one(what)
    shown = printable(str(path))
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise FileNotFoundError(f"{_absent(path, shown, what)}; {remedy}") from None
    except NotADirectoryError:
        raise FileNotFoundError(
            f"no {what} at {shown} (a folder on the way is a file); {remedy}"
        ) from None
    except SpecialFile as error:
        raise SpecialFile(f"{printable(str(error))}, {one}; {remedy}") from None
    except PermissionError:
        raise PermissionError(
            f"{shown} may not be read by this user, expected {one}; `chmod u+r` or its owner"
            " can change that"
        ) from None
    except OSError as error:
        raise OSError(f"{shown}: {error.strerror or error}, expected {one}; {remedy}") from None
    except ValueError:
        raise ValueError(f"{shown!r} is no path of a file; {remedy}") from None
    if not size and not empty:
        raise ValueError(f"{shown} is empty (0 bytes), expected {one}; {remedy}")
    return path


def _one(what: str) -> str:
    return f"{'an' if what[0] in 'aeioAEIO' else 'a'} {what}"


def _absent(path: Path, shown: str, what: str) -> str:
    if path.is_symlink():
        return f"{shown} is a link to {printable(os.readlink(path))}, where nothing is"
    return f"no {what} at {shown}"


def require_folder(path: Path, what: str, remedy: str) -> Path:
    """Return the path of a folder that can be listed; an address is returned unchecked.

    Raises:
        FileNotFoundError: Nothing is there, or a link to nothing.
        NotADirectoryError: A file or a special file.
        PermissionError: The user may not list it.
        OSError: The file system refuses it otherwise.
    """
    if is_address(path):
        return path
    shown = printable(str(path))
    try:
        with os.scandir(path):
            return path
    except FileNotFoundError:
        raise FileNotFoundError(f"{_absent(path, shown, what)}; {remedy}") from None
    except NotADirectoryError:
        raise NotADirectoryError(
            f"{shown} is a file, expected a folder, the {what}; {remedy}"
        ) from None
    except PermissionError:
        raise PermissionError(
            f"{shown} may not be read by this user, expected a folder, the {what}; `chmod u+rx` or"
            " its owner can change that"
        ) from None
    except OSError as error:
        raise OSError(f"{shown}: {error.strerror or error}; {remedy}") from None
    except ValueError:
        raise ValueError(f"{shown!r} is no path of a folder; {remedy}") from None


def read_given(path: Path, what: str, remedy: str, *, most: int = MAX_TEXT) -> bytes:
    """Return the content of a file that is read whole.

    Raises:
        ValueError: It is larger than `most` bytes; and see `require_file`.
        OSError: See `require_file`.
    """
    one = _one(what)
    require_file(path, what, remedy)
    if is_address(path):
        content = read_bytes(path)
    else:
        with open_regular(path) as file:
            content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(
            f"{printable(str(path))} is larger than {most >> 20} MiB, expected {one}; {remedy}"
        )
    return content


def read_text(path: Path, what: str, remedy: str, *, most: int = MAX_TEXT) -> str:
    """Return the text of a file in UTF-8, without a byte order mark.

    Raises:
        ValueError: It is no UTF-8, or larger than `most` bytes; and see `require_file`.
        OSError: See `require_file`.
    """
    one = _one(what)
    content = read_given(path, what, remedy, most=most)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{printable(str(path))} is no text in UTF-8 (byte {error.start}), expected {one};"
            f" {remedy}"
        ) from None
