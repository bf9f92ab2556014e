"""Rules for the paths of users, links and annotations.

Links are followed, also to other disks; each real folder is visited once. Only regular files are
read, since a FIFO or a device could block or never end. Names in annotations cannot leave their
root. Names match in both Unicode normal forms (macOS writes NFD), and in any case if that is
unambiguous. A file that cannot be used is left out with a reason and does not end the run.
"""

import io
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, unquote_plus

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_USER = re.compile(r"(://)[^/?#\s]*@")
_SECRET = re.compile(
    r"((?:token|key|secret|password|passwd|sig|signature|credential)[^=&]*=)[^&#\s]*",
    re.IGNORECASE,
)

_MAX_NAME = 255
"""Longest file name of the usual file systems, in bytes."""


class SpecialFile(ValueError):
    """The path exists but is no regular file: a folder, a FIFO, a socket or a device."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """Directory entry that readers cannot use.

    Attributes:
        path: Its path relative to the folder that was searched, printable.
        reason: ``name_not_utf8``, ``broken_link``, ``special_file`` or
            ``unreadable_folder``.
        detail: Description of what was found.
    """

    path: str
    reason: str
    detail: str


def printable(name: str) -> str:
    r"""Return a printable file name, with bytes that are no UTF-8 as ``\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_utf8(name: str) -> bool:
    """Return whether a file name is valid UTF-8, as tables and JSON require."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; links are followed.

    Raises:
        FileNotFoundError: There is no such file, or the link is broken.
        SpecialFile: The path is a folder, FIFO, socket or device.
        OSError: The file cannot be opened.
    """
    # Without O_NONBLOCK, opening a FIFO waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise SpecialFile(f"{path} is {_kind(mode)}, expected a regular file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((name for test, name in kinds if test(mode)), "no regular file")


def walk_files(root: Path) -> Iterator[PurePosixPath | Unusable]:
    """List the regular files below a folder, by name; links are followed.

    Args:
        root: The folder. Each real folder below it is visited once, by its first path, so that
            circular links end.

    Yields:
        Paths relative to the root, and entries that cannot be used with the reason.
    """
    status = root.stat()
    yield from _walk(root, PurePosixPath(), {(status.st_dev, status.st_ino)})


def _walk(
    folder: Path, relative: PurePosixPath, seen: set[tuple[int, int]]
) -> Iterator[PurePosixPath | Unusable]:
    # A stack, since a tree may be deeper than Python's recursion limit.
    waiting = [(folder, relative)]
    while waiting:
        folder, relative = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            where = printable(relative.as_posix())
            yield Unusable(where, "unreadable_folder", error.strerror or str(error))
            continue
        below = []
        for entry in found:
            path = relative / entry.name
            shown = printable(path.as_posix())
            if not is_utf8(entry.name):
                yield Unusable(shown, "name_not_utf8", "rename the file; its name is no UTF-8")
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:
                yield Unusable(shown, "broken_link", "a broken link")
                continue
            except OSError as error:
                # Circular links (ELOOP), or a folder without permission.
                yield Unusable(shown, "broken_link", error.strerror or str(error))
                continue
            key = (status.st_dev, status.st_ino)
            if stat.S_ISDIR(status.st_mode):
                if key not in seen:
                    seen.add(key)
                    below.append((Path(entry.path), path))
            elif stat.S_ISREG(status.st_mode):
                yield path
            else:
                yield Unusable(shown, "special_file", f"is {_kind(status.st_mode)}")
        waiting += reversed(below)


def inside(root: Path, *names: str) -> Path | None:
    """Find the file or folder below a root that an annotation names.

    Case and Unicode normal form are ignored if there is only one candidate (CAS(ME)3 writes spNO
    and spNo, macOS decomposes accents).

    Args:
        root: Folder that the names may not leave; links below it are followed.
        names: One name per level.

    Returns:
        The path; None if it does not exist.

    Raises:
        ValueError: A name is no plain name of a file or folder.
    """
    path = root
    for name in names:
        if name in ("", ".", "..") or any(mark in name for mark in "/\\\0"):
            raise ValueError(
                f"the path {'/'.join(names)!r} leaves {root}: {name!r} is no plain name of a file "
                "or folder"
            )
        below = _child(path, name)
        if below is None:
            return None
        path = below
    return path


def _child(folder: Path, name: str) -> Path | None:
    if len(os.fsencode(name)) > _MAX_NAME:
        return None
    exact = folder / name
    if exact.exists() or not folder.is_dir():
        return exact if exact.exists() else None
    wanted = _folded(name)
    alike = [entry for entry in os.listdir(folder) if _folded(entry) == wanted]
    return folder / alike[0] if len(alike) == 1 else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def in_table(root: Path, text: str) -> Path | None:
    r"""Find the file or folder of a path in a table of the user.

    Args:
        root: Folder of the table.
        text: Path relative to it or absolute; with ``/``, or with ``\`` as Windows writes.

    Returns:
        The path, None if there is nothing.

    Raises:
        ValueError: A relative path leaves the folder.
    """
    literal = root / text
    if "\\" in text and not (len(text) < 4096 and exists(literal)):
        text = text.replace("\\", "/")
    path = PurePosixPath(text)
    if path.is_absolute():
        return Path(path) if exists(Path(path)) else None
    return inside(root, *path.parts)


def exists(path: str | Path) -> bool:
    """Return whether a path exists; False for an impossible path."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        # Too long for a path, or with a NUL byte.
        return False


def given_path(root: Path, text: str) -> Path:
    """Return the path of an option, relative to a root or absolute.

    The value is used literally; percent codes are decoded only if the literal path does not exist.
    """
    return root / os.path.expanduser(_meant(text, root))


def _meant(text: str, root: Path = Path()) -> str:
    for candidate in (text, unquote(text), unquote_plus(text)):
        if exists(root / os.path.expanduser(candidate)):
            return candidate
    return text


_OPTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def split_options(text: str) -> tuple[str, dict[str, str]]:
    """Split ``PATH?KEY=VALUE&KEY=VALUE`` into the path and its options.

    A question mark that is part of an existing path, and ``&``, ``+`` and ``%`` in a value, are
    used literally: an option begins only at ``?KEY=`` or ``&KEY=``. A value is percent-decoded
    only if the decoded path exists and the literal one does not.

    Raises:
        ValueError: A question mark is not followed by ``KEY=VALUE``, or an option is given twice.
    """
    if "?" not in text or exists(os.path.expanduser(text)):
        return text, {}
    starts = [i for i, mark in enumerate(text) if mark == "?" and _OPTION.match(text, i + 1)]
    if not starts:
        raise ValueError(f"{text!r}: expected KEY=VALUE&... after the question mark")
    existing = [i for i in starts if exists(os.path.expanduser(text[:i]))]
    at = existing[-1] if existing else starts[0]
    options: dict[str, str] = {}
    for part in re.split(r"&(?=[A-Za-z_][A-Za-z0-9_]*=)", text[at + 1 :]):
        key, _, value = part.partition("=")
        if key in options:
            raise ValueError(f"{text!r}: the option {key} is given twice")
        options[key] = _meant(value)
    return text[:at], options


def require_plain(folder: Path, text: object, where: str) -> Path:
    """Return the path of a file that a manifest names, which must lie in its folder.

    Args:
        folder: Folder of the manifest.
        text: The path in the manifest.
        where: Place of the path, for the message.

    Raises:
        ValueError: No text, an absolute path, or a path that leaves the folder. A link in the
            folder is followed, as the caches of the Hugging Face Hub need.
    """
    if isinstance(text, str) and text and "\0" not in text:
        path = PurePosixPath(text)
        if not path.is_absolute() and ".." not in path.parts and "\\" not in text:
            return folder / path
    raise ValueError(f"{where} names a file outside its folder: {text!r}")


def plain_name(text: str, where: str) -> str:
    """Return a name from a file of others under which a file is written, if it is a plain one.

    Args:
        text: The name.
        where: Place of the name, for the message.

    Raises:
        ValueError: The name has a separator or a NUL byte, is no name, or is too long.
    """
    plain = text not in ("", ".", "..") and not any(mark in text for mark in "/\\\0")
    if not plain or len(os.fsencode(text)) > _MAX_NAME - len(".0000.webp"):
        raise ValueError(f"{where}: {text[:80]!r} is no plain name for a file")
    return text


def masked(text: str) -> str:
    """Return a text whose addresses are without user, password, key or token, for messages."""
    return _ADDRESS.sub(lambda found: _SECRET.sub(r"\1***", _USER.sub(r"\1***@", found[0])), text)
