"""Write and read JSON documents with a checksum; damage is reported in one line."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from miex.datasets.files import whole_file
from miex.datasets.given_files import read_given
from miex.datasets.seals import UNSEALED, check_bytes

_CHECKSUM = "checksum"
"""Field of a document with its checksum."""

_MAX_BYTES = 1 << 30
"""Largest size of a document, in bytes."""


def place_in_yaml(error: BaseException) -> str:
    """Return the place of an error in a YAML file, without the lines that PyYAML quotes."""
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"


def write_document(path: Path, content: Mapping[str, Any], *, indent: int | None = 2) -> None:
    """Write a document as JSON with a checksum, atomically.

    Raises:
        DiskFullError: The disk is full.
    """
    document = {_CHECKSUM: UNSEALED, **content}
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
    """Read a document, and verify its checksum if it has one.

    Args:
        path: The file.
        what: Name of the document for messages: ``manifest``.
        remedy: Remedy for a damaged document, for messages.
        must_be_sealed: Whether to warn of a document without a checksum.
        check: Called with the content before the checksum is verified; its errors name the field,
            those of the checksum cannot.

    Returns:
        The content without the checksum.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: The document is damaged or no JSON object; one line that names the file.
    """
    content = read_given(path, what, remedy, most=_MAX_BYTES)
    try:
        document = json.loads(content.decode("utf-8"))
        if not isinstance(document, dict):
            raise ValueError(f"it holds a {type(document).__name__}, expected an object")
    # RecursionError: thousands of nested brackets.
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is damaged ({reason}); {remedy}") from None
    sealed = document.pop(_CHECKSUM, None) is not None
    if check is not None:
        check(dict(document))
    if must_be_sealed or sealed:
        check_bytes(path, content, remedy)
    return document
