"""The MEGC2019 composite as published optical flow: 28 x 28 images, no licence to sign.

`megc2019_flow:FOLDER` in the layout that the authors of HTNet publish with their code
(github.com/wangzhifengharrison/HTNet, commit 91cf4bd): a table with the columns ``dataset``,
``sub``, ``filename_o`` and ``label``, and a folder of images ``SUB_CLIP .png`` with a blank before
the ending. Red, green and blue are u, v and strain of the TV-L1 flow from onset to apex, each
channel of each image stretched to 0-255. Any other folder of such images with such a table can be
opened, too, with or without the blank: the options `table` and `images` name them.

Clips have the names of their own databases, so that subjects and clips are those of `megc2019`.
There is only flow: no frames, no frame numbers, no AUs. A part of the list can be opened, and
every result states its share of the 442 clips.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from miex.datasets.base import Rejection
from miex.datasets.clips.base import (
    ApexRule,
    Clip,
    ClipReader,
    ClipReport,
    origin_of,
    register_clips,
)
from miex.datasets.clips.database import find
from miex.datasets.clips.flow_images import FlowImage
from miex.datasets.clips.report import make_report, summary
from miex.datasets.clips.sheets import Row as SheetRow
from miex.datasets.clips.sheets import read_rows
from miex.datasets.faces.base import SourceSpec
from miex.datasets.labels import LABEL_SPACES, Emotion
from miex.datasets.micro.megc2019 import CLIPS, EXPECTED, own_names
from miex.datasets.paths import inside
from miex.datasets.registry import Facts

NAME = "megc2019_flow"

TABLES = ("combined_3_class2_for_optical_flow.csv", "combined_3class_gt.csv", "clips.csv")

IMAGES = ("datasets/STSNet_whole_norm_u_v_os", "STSNet_whole_norm_u_v_os", "images", ".")

_COLUMNS = {
    "dataset": ("dataset", "database"),
    "subject": ("sub", "subject"),
    "clip": ("filename_o", "clip", "filename"),
    "label": ("label",),
}
"""Known titles of each column, the published one first."""


@dataclass(frozen=True, slots=True)
class Row:
    """Line of the table.

    Attributes:
        database: casme2, smic or samm.
        subject: Subject, as in the table and in the name of the image.
        clip: Clip, as in the table and in the name of the image.
        label: 0 negative, 1 positive, 2 surprise.
        line: Place in the table.
    """

    database: str
    subject: str
    clip: str
    label: int
    line: int

    @property
    def key(self) -> tuple[str, str, str]:
        """Database, subject and clip as their own database names them."""
        return (self.database, *own_names(self.database, self.subject, self.clip))


def _read_table(path: Path) -> tuple[list[Row], list[Rejection]]:
    """Read the table of clips.

    Returns:
        Usable rows, and a rejection with its reason for every other row.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A column is missing, no row can be used, or a clip occurs twice.
    """
    rows: list[Row] = []
    bad: list[Rejection] = []
    for sheet_row in read_rows(path, _COLUMNS, what="table of clips"):
        try:
            rows.append(_row(sheet_row))
        except ValueError as error:
            origin = f"{NAME}:{path.name}, row {sheet_row.number}"
            bad.append(Rejection(origin, "bad_row", str(error)))
    twice = [key for key, count in Counter(row.key for row in rows).items() if count > 1]
    if twice:
        raise ValueError(f"{path}: {origin_of(*twice[0])} occurs twice; keep one line of it")
    if not rows:
        raise ValueError(f"{path}: no row can be used; {bad[0].detail}")
    return rows, bad


def _row(row: SheetRow) -> Row:
    values = {name: row.text(name) for name in _COLUMNS}
    database = values["dataset"].casefold()
    if database not in EXPECTED:
        expected = ", ".join(EXPECTED)
        raise row.error("dataset", f"{values['dataset']!r}, expected one of {expected}")
    if values["label"] not in ("0", "1", "2"):
        expected = "0 (negative), 1 (positive) or 2 (surprise)"
        raise row.error("label", f"{values['label']!r}, expected {expected}")
    # Excel makes the number 6 of SAMM's subject 006.
    subject = values["subject"].zfill(3) if database == "samm" else values["subject"]
    try:
        own_names(database, subject, values["clip"])
    except ValueError:
        raise row.error(
            "subject",
            f"{values['subject']!r} is none of {database}; expected a name such as sub01, s01 or"
            " 006",
        ) from None
    return Row(database, subject, values["clip"], int(values["label"]), row.number)


class Megc2019Flow:
    """Reader of the composite as flow images.

    Args:
        root: The folder that was opened.
        table: The table of clips.
        images: The folder of images; None for clips without images.
    """

    name = NAME
    gives_flow = True
    licence = (
        "CASME II, SAMM, SMIC: derived flow without faces, published by the authors of HTNet with"
        " their code, no licence stated; cite the databases"
    )

    def __init__(self, root: Path, table: Path, images: Path | None) -> None:
        self._root = root
        self._table = table
        self._images = images

    def clips(self) -> Sequence[Clip]:
        """See `ClipReader.clips`; in the order of the table."""
        if not self._built[0]:
            raise ValueError(f"{summary(self.report())}: no clip is usable")
        return self._built[0]

    def report(self) -> ClipReport:
        """See `ClipReader.report`."""
        clips, rejections = self._built
        return make_report(
            NAME, self._root, self._table, self._images, CLIPS, clips, (), rejections
        )

    @cached_property
    def _built(self) -> tuple[list[Clip], list[Rejection]]:
        rows, rejections = _read_table(self._table)
        files: dict[str, Path] = {}
        if self._images is not None:
            files = {_stem(path): path for path in sorted(self._images.glob("*.png"))}
        clips: list[Clip] = []
        for row in rows:
            # Some copies of the layout repeat the subject, with its zeros or without; some do not.
            unpadded = row.subject.lstrip("0")
            stems = (f"{row.subject}_{row.clip}", f"{unpadded}_{row.clip}", row.clip)
            stem = next((each for each in stems if each in files), None)
            if self._images is not None and stem is None:
                detail = f"{self._table.name}, line {row.line}: no image '{stems[0]} .png'"
                rejections.append(Rejection(origin_of(*row.key), "no_image", detail))
                continue
            clips.append(self._clip(row, files.pop(stem) if stem is not None else None))
        rejections += [
            Rejection(f"{NAME}:{path.name}", "not_in_table", f"{self._table.name} lacks it")
            for path in files.values()
        ]
        return clips, rejections

    def _clip(self, row: Row, path: Path | None) -> Clip:
        assert self._images is not None or path is None
        if path is not None and self._images is not None:
            inside(self._images, path.name)
        label = LABEL_SPACES["three_class"].classes[row.label]
        return Clip(
            *row.key,
            emotion=Emotion(label),
            emotion_text=str(row.label),
            onset=0,
            apex=None,
            offset=0,
            apex_rule=ApexRule.IN_FLOW,
            listed_label=row.label,
            flow=None if path is None else FlowImage(path),
            annotation=f"{self._table.name}, line {row.line}",
        )


def _stem(path: Path) -> str:
    """Return the name of an image without its suffix and the blank before it."""
    return path.stem.strip()


_FACTS = Facts(
    about="MEGC2019 composite, published as optical flow images",
    title="MEGC2019 flow",
    written="megc2019_flow:FOLDER",
    found_by=("combined_3_class2_for_optical_flow.csv",),
    holds=("casme2", "smic", "samm"),
)


@register_clips(NAME, _FACTS)
def open_megc2019_flow(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `megc2019_flow:FOLDER`, with the options `table` and `images`."""
    options = spec.known_options("table", "images")
    root = spec.existing_path()
    if root.is_file():
        options = {"table": root.name, **options}
        root = root.parent
    table = find(NAME, root, TABLES, "table of clips", options.get("table"), option="table")
    images = None
    if frames:
        images = find(NAME, root, IMAGES, "folder of flow images", options.get("images"))
    return Megc2019Flow(root, table, images)
