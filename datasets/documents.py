"""JSON documents that miex keeps: written with a seal, read with it, damage told in one line."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from miex.datasets.files import whole_file
from miex.datasets.paths import open_regular
from miex.datasets.seals import UNSEALED, check_bytes

CHECKSUM = "checksum"
"""The field of a document that holds its seal."""

MAX_BYTES = 1 << 30
"""A larger file is none of ours."""


def place_in_yaml(error: BaseException) -> str:
    """Return where a YAML file is wrong, without the lines that the library's message quotes."""
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"


def write_document(path: Path, content: Mapping[str, Any], *, indent: int | None = 2) -> None:
    """Write a document as sealed JSON, whole or not at all.

    Raises:
        DiskFullError: The disk is full.
    """
    document = {CHECKSUM: UNSEALED, **content}
    with whole_file(path, sealed=True) as temporary:
        temporary.write_text(
            json.dumps(document, indent=indent, ensure_ascii=False) + "\n", "utf-8"
        )


def read_document(
    path: Path,
    what: str,
    remedy: str,
    *,
    must_be_sealed: bool = True,
    check: Callable[[dict[str, Any]], object] | None = None,
) -> dict[str, Any]:
    """Read a document, and verify its seal where it has one.

    Args:
        path: The file.
        what: What it is, for messages: ``manifest``.
        remedy: The way out where it is damaged.
        must_be_sealed: Whether to warn of a document without a seal.
        check: Called with the content before the seal is verified; its errors say which field is
            wrong, and the seal's do not.

    Returns:
        Its content without the seal.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It is damaged, or no JSON object; one line that names the file.
    """
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError("too large")
        document = json.loads(content.decode("utf-8"))
        if not isinstance(document, dict):
            raise ValueError(f"it holds a {type(document).__name__}, expected an object")
    except FileNotFoundError:
        raise FileNotFoundError(f"no {what} at {path}; {remedy}") from None
    # RecursionError: thousands of brackets.
    except (ValueError, RecursionError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is damaged ({reason}); {remedy}") from None
    sealed = document.pop(CHECKSUM, None) is not None
    if check is not None:
        check(dict(document))
    if must_be_sealed or sealed:
        check_bytes(path, content, remedy)
    return document
