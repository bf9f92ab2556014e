"""MEGC2019 (See et al. 2019), the composite of CASME II, SMIC-HS and SAMM: 442 clips, 68 subjects.

`megc2019:LIST?casme2=FOLDER&smic=FOLDER&samm=FOLDER`, where LIST is the challenge's
`combined_3class_gt.csv` or its folder. Clips keep the database, subject and name of their own
database, so that provenance is the same as with the readers of the databases; the class is that of
the list (`Clip.listed_label`: 0 negative, 1 positive, 2 surprise). Clips of a database that is not
given are left out and counted.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from miex.datasets.base import Rejection
from miex.datasets.cells import ErrorCell, whole_number
from miex.datasets.clips.base import (
    Clip,
    ClipReader,
    ClipReport,
    Repair,
    open_clips,
    origin_of,
    register_clips,
)
from miex.datasets.clips.database import find_table
from miex.datasets.clips.report import make_report, summary
from miex.datasets.faces.base import SourceSpec
from miex.datasets.labels import LABEL_SPACES
from miex.datasets.registry import Facts
from miex.datasets.tables import open_sheets

NAME = "megc2019"

LIST_FILE = "combined_3class_gt.csv"

EXPECTED: Mapping[str, tuple[int, int, int]] = {
    "casme2": (88, 32, 25),
    "smic": (70, 51, 43),
    "samm": (92, 26, 15),
}
"""Number of clips of each class (negative, positive, surprise) in the list of the challenge."""

CLIPS, SUBJECTS = 442, 68

_HEADER = ("database", "subject", "clip", "label")
"""Columns of the list, which has no header; copies with a header are read, too."""

_OWN_NAMES: Mapping[str, Callable[[str, str], tuple[str, str]]] = {
    "casme2": lambda subject, clip: (subject, clip),
    # The list pads the numbers of SMIC and not those of SAMM, contrary to the databases.
    "smic": lambda subject, clip: (_unpadded(subject), _unpadded(clip)),
    "samm": lambda subject, clip: (subject.zfill(3), clip),
}


def own_names(database: str, subject: str, clip: str) -> tuple[str, str]:
    """Return subject and clip as their own database names them.

    Args:
        database: casme2, smic or samm.
        subject: Subject in a list of the challenge, padded or not.
        clip: Clip in that list, padded or not.

    Raises:
        ValueError: The subject of SMIC has no number.
    """
    return _OWN_NAMES[database](subject, clip)


@dataclass(frozen=True, slots=True)
class ListedClip:
    """Line of the list.

    Attributes:
        database: casme2, smic or samm.
        subject: Subject, as its own database names it.
        clip: Clip, as its own database names it.
        label: 0 negative, 1 positive, 2 surprise.
        line: Place in the list.
    """

    database: str
    subject: str
    clip: str
    label: int
    line: int


def read_list(path: Path) -> list[ListedClip]:
    """Read the list of the challenge and check that it is complete.

    Blank rows are ignored.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line cannot be read, a clip occurs twice, or the counts differ from those of
            the challenge, as in the incomplete file `combined_3class_gt-2.csv`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{NAME}: no list of clips at {path}")
    listed: list[ListedClip] = []
    blank = 0
    for sheet in open_sheets(path):
        for line, values in sheet.rows:
            cells = _cells(values)
            if not any(cells):
                blank += 1
            elif [cell.casefold() for cell in cells] != list(_HEADER):
                listed.append(_listed(path, line, cells))
    repeated = [key for key, n in Counter(map(_key, listed)).items() if n > 1]
    if repeated:
        raise ValueError(f"{path}: {'/'.join(repeated[0])} occurs twice")
    _require_whole(path, listed, blank)
    return listed


def _cells(values: Sequence[object]) -> list[str]:
    """Return the cells as text without trailing empty ones; 6.0 becomes 6."""
    cells = [
        value.text if isinstance(value, ErrorCell) else whole_number(value) or str(value or "")
        for value in values
    ]
    while len(cells) > len(_HEADER) and not cells[-1]:
        cells.pop()
    return cells


def _listed(path: Path, line: int, cells: Sequence[str]) -> ListedClip:
    if len(cells) != 4 or cells[0] not in EXPECTED or cells[3] not in ("0", "1", "2"):
        raise ValueError(
            f"{path}, line {line}: {len(cells)} columns, expected database,subject,clip,label with "
            f"one of {', '.join(EXPECTED)} and a label from 0 to 2"
        )
    database, subject, clip, label = cells
    return ListedClip(database, *own_names(database, subject, clip), int(label), line)


def _require_whole(path: Path, listed: Sequence[ListedClip], blank: int) -> None:
    found = Counter((clip.database, clip.label) for clip in listed)
    classes = LABEL_SPACES["three_class"].classes
    wrong = [
        f"{database} {classes[label]}: {found[database, label]} instead of {count}"
        for database, counts in EXPECTED.items()
        for label, count in enumerate(counts)
        if found[database, label] != count
    ]
    subjects = len({(clip.database, clip.subject) for clip in listed})
    if len(listed) == CLIPS and subjects == SUBJECTS and not wrong:
        return
    sibling = (
        f" With {blank} blank rows this looks like the second file of the organisers, "
        "combined_3class_gt-2.csv, which lacks the clip samm,32,032_3_1,0."
        if blank
        else ""
    )
    raise ValueError(
        f"{path}: {len(listed)} clips of {subjects} subjects, expected {CLIPS} of {SUBJECTS} "
        f"({'; '.join(wrong) or 'the subjects differ'}).{sibling} Results on another list cannot "
        f"be compared; use the organisers' {LIST_FILE}"
    )


def _key(clip: ListedClip) -> tuple[str, str, str]:
    return (clip.database, clip.subject, clip.clip)


def _unpadded(name: str) -> str:
    """Return a name without the padding of the subject: ``s01_ne_01`` is ``s1_ne_01`` in SMIC."""
    subject, mark, rest = name.partition("_")
    return f"s{int(subject.removeprefix('s'))}{mark}{rest}"


class Megc2019:
    """Reader of the composite.

    Args:
        path: The list.
        listed: Its lines.
        readers: Readers of the given databases by name.
    """

    name = NAME
    licence = "the licences of CASME II, SMIC and SAMM; the list is published by the organisers"

    def __init__(
        self, path: Path, listed: Sequence[ListedClip], readers: Mapping[str, ClipReader]
    ) -> None:
        self._path = path
        self._listed = listed
        self._readers = readers

    def clips(self) -> Sequence[Clip]:
        """See `ClipReader.clips`; in the order of the list."""
        if not self._built[0]:
            raise ValueError(f"{summary(self.report())}: no clip is usable")
        return self._built[0]

    def report(self) -> ClipReport:
        """See `ClipReader.report`."""
        clips, rejections = self._built
        origins = {clip.origin for clip in clips}
        repairs: list[Repair] = []
        for reader in self._readers.values():
            repairs += [repair for repair in reader.report().repairs if repair.origin in origins]
        images = self._path.parent if any(clip.frames for clip in clips) else None
        return make_report(
            NAME, self._path.parent, self._path, images, CLIPS, clips, repairs, rejections
        )

    @cached_property
    def _built(self) -> tuple[list[Clip], list[Rejection]]:
        known = {clip.key: clip for reader in self._readers.values() for clip in reader.clips()}
        why = {
            rejection.origin: rejection
            for reader in self._readers.values()
            for rejection in reader.report().rejections
        }
        clips: list[Clip] = []
        rejections: list[Rejection] = []
        for entry in self._listed:
            clip, origin = known.get(_key(entry)), origin_of(*_key(entry))
            if clip is not None:
                clips.append(_labelled(clip, entry))
            elif entry.database not in self._readers:
                detail = f"{self._path.name}, line {entry.line}: open with {entry.database}=FOLDER"
                rejections.append(Rejection(origin, "database_not_given", detail))
            else:
                reason = why.get(
                    origin, Rejection(origin, "not_in_database", "it has no such clip")
                )
                detail = f"{self._path.name}, line {entry.line}: {reason.detail}"
                rejections.append(Rejection(origin, reason.reason, detail))
        return clips, rejections


def _labelled(clip: Clip, entry: ListedClip) -> Clip:
    space = LABEL_SPACES["three_class"]
    note = (
        (f"the list says {space.classes[entry.label]}, the database {clip.emotion}",)
        if space.label(clip.emotion) != entry.label
        else ()
    )
    return replace(clip, listed_label=entry.label, notes=clip.notes + note)


def _readers(options: Mapping[str, str], frames: bool) -> Iterator[tuple[str, ClipReader]]:
    for database in EXPECTED:
        if database in options:
            yield database, open_clips(f"{database}:{options[database]}", frames=frames)


_FACTS = Facts(
    about="MEGC2019 composite: the challenge's list of clips of SMIC, CASME II and SAMM",
    title="MEGC2019",
    written="megc2019:LIST?casme2=FOLDER&smic=FOLDER&samm=FOLDER",
    found_by=("combined_3class_gt.csv",),
    holds=("casme2", "smic", "samm"),
)


@register_clips(NAME, _FACTS)
def open_megc2019(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `megc2019:LIST`, with the options `casme2`, `smic` and `samm`: folders."""
    options = spec.known_options(*EXPECTED)
    if not options:
        given = "&".join(f"{database}=FOLDER" for database in EXPECTED)
        raise ValueError(f"{NAME} needs the databases of its list: write {NAME}:LIST?{given}")
    path = spec.existing_path()
    if path.is_dir():
        path = find_table(NAME, path, LIST_FILE, "list of clips")
    # The list first, since its check does not need the databases.
    listed = read_list(path)
    return Megc2019(path, listed, dict(_readers(options, frames)))
