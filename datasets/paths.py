"""Paths that users, links and annotations give: one rule for all readers.

Links may lead anywhere, another disk included; each real folder is visited once. Only regular files
are read: a FIFO or a device would block, or never end. Names from annotations stay below their
root. Names match in either Unicode normal form (macOS writes NFD) and in any case where that is
unambiguous. A file that cannot be used costs itself, with a reason, and never the run.
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

MAX_NAME = 255
"""Longest file name, in bytes, of the usual file systems."""


class SpecialFile(ValueError):
    """A path that exists but is no regular file: a folder, a FIFO, a socket or a device."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """A directory entry that no reader can use.

    Attributes:
        path: Its path relative to the folder that was searched, printable.
        reason: One of few words: ``name_not_utf8``, ``broken_link``, ``special_file`` or
            ``unreadable_folder``.
        detail: What was found.
    """

    path: str
    reason: str
    detail: str


def printable(name: str) -> str:
    r"""Return a file name that can be printed and stored: bytes that are no UTF-8 as ``\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_utf8(name: str) -> bool:
    """Return whether a file name is valid UTF-8, so that tables and JSON can hold it."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading, through links.

    Raises:
        FileNotFoundError: Nothing there, or a link to nothing.
        SpecialFile: A folder, FIFO, socket or device; it was not read.
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
        root: The folder. Each real folder below it is visited once, by the first path that leads
            to it, so that links in a circle end.

    Yields:
        Paths relative to the root, and what cannot be used with its reason.
    """
    status = root.stat()
    yield from _walk(root, PurePosixPath(), {(status.st_dev, status.st_ino)})


def _walk(
    folder: Path, relative: PurePosixPath, seen: set[tuple[int, int]]
) -> Iterator[PurePosixPath | Unusable]:
    # A stack, not recursion: a hostile tree is deeper than Python's limit.
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
                yield Unusable(shown, "broken_link", "a link to nothing")
                continue
            except OSError as error:
                # Links that lead to each other (ELOOP), or a folder that may not be entered.
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

    Case and Unicode normal form are ignored where there is only one candidate (CAS(ME)3 writes
    spNO and spNo, macOS decomposes accents).

    Args:
        root: Folder that the names may not leave; links below it may lead anywhere.
        names: One name a level.

    Returns:
        The path, None if there is nothing.

    Raises:
        ValueError: A name that is no plain name of a file or folder.
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
    if len(os.fsencode(name)) > MAX_NAME:
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
    r"""Find what a path in a user's own table means.

    Args:
        root: The table's folder.
        text: Relative to it or absolute; with ``/``, or with ``\`` as Windows writes.

    Returns:
        The path, None if there is nothing.

    Raises:
        ValueError: A relative path that leaves the folder.
    """
    literal = root / text
    if "\\" in text and not (len(text) < 4096 and exists(literal)):
        text = text.replace("\\", "/")
    path = PurePosixPath(text)
    if path.is_absolute():
        return Path(path) if exists(Path(path)) else None
    return inside(root, *path.parts)


def exists(path: str | Path) -> bool:
    """Return whether there is something at a path; False for one that no system can hold."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        # Longer than a path may be, or with a NUL in it.
        return False


def given_path(root: Path, text: str) -> Path:
    """Return the path that the value of an option means, relative to a root or absolute.

    The value is taken as it is; percent codes are decoded only where nothing has the literal name.
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
    taken literally: an option begins only at ``?KEY=`` or ``&KEY=``. A value is percent-decoded
    only if it then names something that exists and literally does not.

    Raises:
        ValueError: A question mark without ``KEY=VALUE`` behind it, or an option given twice.
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
        folder: The manifest's folder.
        text: The path as written.
        where: What names it, for the message.

    Raises:
        ValueError: No text, an absolute path, or one that leaves the folder, also through a link.
    """
    if isinstance(text, str) and text and "\0" not in text:
        path = PurePosixPath(text)
        if not path.is_absolute() and ".." not in path.parts and "\\" not in text:
            return folder / path
    raise ValueError(f"{where} names a file outside of its folder: {text!r}")
