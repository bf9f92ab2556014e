"""Corrections to the annotation of a database, as data files that state the old value."""

from collections import defaultdict
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from miex.datasets.documents import place_in_yaml
from miex.datasets.given_files import read_text

_FOLDER = Path(__file__).parents[1] / "corrections"
"""Files of this project, one per database."""


class Correction(BaseModel):
    """Value to replace.

    Attributes:
        subject: `Clip.subject`.
        clip: `Clip.clip` before any correction.
        field: Field to replace.
        old: Annotated value, None for an empty cell; any other value is an error.
        new: Corrected value.
        source: Who found the mistake, or how.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    subject: str
    clip: str
    field: Literal["onset", "apex", "offset", "aus"]
    old: int | str | None
    new: int | str
    source: str


Corrections = dict[tuple[str, str], list[Correction]]
"""Corrections by (subject, clip)."""

_LIST = TypeAdapter(list[Correction])


def read_corrections(path: Path) -> Corrections:
    """Read a file of corrections: YAML, a list of entries with the fields of `Correction`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds no such list, or a frame number is no number.
    """
    remedy = f"give a YAML list of entries with {', '.join(Correction.model_fields)}"
    text = read_text(path, "file of corrections", remedy)
    try:
        entries = _LIST.validate_python(yaml.safe_load(text) or [])
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is no YAML{place_in_yaml(error)}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(
            f"{path}: entry {place or '-'}: {first['msg']}; expected a list of entries with "
            f"{', '.join(Correction.model_fields)}"
        ) from None
    corrections: Corrections = defaultdict(list)
    for number, entry in enumerate(entries):
        if (entry.field == "aus") != isinstance(entry.new, str):
            kind = "text" if entry.field == "aus" else "a frame number"
            raise ValueError(f"{path}: entry {number}: {entry.field} is {entry.new!r}, not {kind}")
        corrections[entry.subject, entry.clip].append(entry)
    return dict(corrections)


def own_corrections(database: str) -> Corrections:
    """Return the corrections of this project for a database; most have none."""
    path = _FOLDER / f"{database}.yaml"
    return read_corrections(path) if path.is_file() else {}
