"""Common parts of the readers of databases: options, search for files, account of clips."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from miex.datasets.base import Rejection
from miex.datasets.clips.annotations import Annotation, ClipBuilder, Located
from miex.datasets.clips.base import Clip, ClipReport
from miex.datasets.clips.corrections import Corrections, own_corrections, read_corrections
from miex.datasets.clips.frames import FrameFolder, index_frames
from miex.datasets.clips.report import make_report, summary
from miex.datasets.clips.sheets import Row, read_rows
from miex.datasets.faces.base import SourceSpec
from miex.datasets.given_files import require_file, require_folder
from miex.datasets.paths import given_path, inside
from miex.datasets.tables import Columns

_SHEET_OPTIONS = ("sheet", "images", "corrections")
"""Options of every database with a sheet, for files that have unusual names."""

WITHOUT_IMAGES = (
    "; only the annotation is read by `miex clips NAME:PATH --annotations` (in Python frames=False)"
)


@dataclass(frozen=True, slots=True)
class About:
    """General facts about a database.

    Attributes:
        name: Name of the database in miex.
        licence: Terms of use, one line.
        fps: Frames per second; None if unknown.
        published: Number of clips that its authors state.
    """

    name: str
    licence: str
    fps: float | None
    published: int | None = None


class ClipDatabase:
    """Read clips from a function that yields annotations.

    Args:
        about: General facts about the database.
        root: The folder that was opened.
        annotate: Yields annotations, and rejections of what is left out.
        sheet: The annotation sheet, if there is one.
        images: The folder of the frames; None without frames.
        locate: Finds the frames of an annotation that has none yet.
        corrections: Corrections by (subject, clip).
        corrections_file: Their file, if the user gave one; each entry must belong to a clip.
    """

    def __init__(
        self,
        about: About,
        root: Path,
        annotate: Callable[[], Iterable[Annotation | Rejection]],
        sheet: Path | None = None,
        images: Path | None = None,
        locate: Callable[[Annotation], Located | None] | None = None,
        corrections: Corrections | None = None,
        corrections_file: Path | None = None,
    ) -> None:
        self.name = about.name
        self.licence = about.licence
        self._about = about
        self._root = root
        self._annotate = annotate
        self._sheet = sheet
        self._images = images
        self._locate = locate
        self._corrections = corrections or {}
        self._corrections_file = corrections_file

    def clips(self) -> Sequence[Clip]:
        """See `ClipReader.clips`."""
        if not self._built.clips:
            first = self._built.rejections[0] if self._built.rejections else None
            detail = f"; for instance {first.origin}: {first.detail}" if first else ""
            raise ValueError(f"{summary(self.report())}: no clip is usable{detail}")
        return self._built.clips

    def report(self) -> ClipReport:
        """See `ClipReader.report`."""
        built = self._built
        return make_report(
            self.name,
            self._root,
            self._sheet,
            self._images,
            self._about.published,
            built.clips,
            built.repairs,
            built.rejections,
        )

    @cached_property
    def _built(self) -> ClipBuilder:
        builder = ClipBuilder(self.name, self._about.fps, self._locate, self._corrections)
        for item in self._annotate():
            if isinstance(item, Rejection):
                builder.rejections.append(item)
            else:
                builder.add(item)
        unused = builder.unused_corrections()
        if unused and self._corrections_file:
            raise ValueError(
                f"{self._corrections_file}: {'/'.join(unused[0])} is no clip of {self.name} "
                f"({len(unused)} entries fit none)"
            )
        return builder


CODED_COLUMNS: Columns = {
    "subject": ("Subject",),
    "clip": ("Filename",),
    "onset": ("OnsetFrame",),
    "apex": ("ApexFrame",),
    "offset": ("OffsetFrame",),
    "aus": ("Action Units",),
    "emotion": ("Estimated Emotion",),
}
"""Columns that CASME II, SAMM and MMEW share."""

ABSENT = ("/", "\\", "-")
"""Marks for a frame that was not found."""


def read_annotation(row: Row, subject: str, clip: str | None = None) -> Annotation:
    """Return the annotation of a row with the columns of `CODED_COLUMNS`.

    Args:
        row: Row of the sheet; a column that the sheet lacks is None in the annotation.
        subject: Subject, as the folders of the database name it.
        clip: `Clip.clip`, if it differs from the sheet.

    Raises:
        ValueError: A cell is empty or cannot be read; the message names file, row and column.
    """
    return Annotation(
        subject=subject,
        clip=clip or row.text("clip"),
        emotion=row.emotion(),
        emotion_text=row.text("emotion"),
        onset=row.frame("onset"),
        apex=row.optional_frame("apex", ABSENT),
        offset=row.frame("offset"),
        where=row.where,
        aus=row.optional_text("aus"),
        objective_class=row.objective_class(),
    )


@dataclass(frozen=True, slots=True)
class SheetLayout:
    """Layout of a database with an annotation sheet.

    Attributes:
        about: General facts about the database.
        sheets: Possible names of the sheet.
        required: Columns that the sheet must have.
        optional: Columns that it may have.
        read: Makes an annotation, or a rejection, from a row.
        images: Possible folders of the frames below the root; the first that exists is used.
        places: Possible folders of the frames of an annotation below that folder, as one name per
            level, each with a note or an empty text; the first that exists is used.
    """

    about: About
    sheets: tuple[str, ...]
    required: Columns
    optional: Columns
    read: Callable[[Row], Annotation | Rejection]
    images: tuple[str, ...]
    places: Callable[[Annotation], Iterable[tuple[tuple[str, ...], str]]]


def open_sheet_database(
    layout: SheetLayout, spec: SourceSpec, frames: bool, *more_options: str
) -> ClipDatabase:
    """Open a database that has an annotation sheet.

    Args:
        layout: Layout of the database.
        spec: Its folder, or the sheet itself.
        frames: Whether images are needed.
        more_options: Options in addition to `_SHEET_OPTIONS`.

    Raises:
        FileNotFoundError: There is no sheet or no folder of images with a known name.
        ValueError: An unknown option.
    """
    options = spec.known_options(*_SHEET_OPTIONS, *more_options)
    path = spec.existing_path()
    name = layout.about.name
    root = path if path.is_dir() else path.parent
    sheet = path if path.is_file() else root
    if "sheet" in options or path.is_dir():
        sheet = find(name, root, layout.sheets, "annotation sheet", options.get("sheet"), "sheet")
    images = None
    locate = None
    if frames:
        given = options.get("images")
        images = find(name, root, layout.images, "folder of frames", given, hint=WITHOUT_IMAGES)
        locate = _FolderIndex(images, layout).locate
    file = given_path(root, options["corrections"]) if "corrections" in options else None
    corrections = own_corrections(name) if file is None else read_corrections(file)

    def annotate() -> Iterable[Annotation | Rejection]:
        return map(layout.read, read_rows(sheet, layout.required, layout.optional))

    return ClipDatabase(layout.about, root, annotate, sheet, images, locate, corrections, file)


@dataclass(slots=True)
class _FolderIndex:
    """Find the folders of annotations; a folder of many clips is read once."""

    images: Path
    layout: SheetLayout
    known: dict[Path, FrameFolder] = field(default_factory=dict)

    def locate(self, annotation: Annotation) -> Located | None:
        for names, note in self.layout.places(annotation):
            folder = inside(self.images, *names)
            if folder is not None and folder.is_dir():
                if folder not in self.known:
                    self.known[folder] = index_frames(folder)
                return Located(self.known[folder], note)
        return None


def find_table(database: str, folder: Path, name: str, what: str) -> Path:
    """Return the table in a folder that was given instead of the table itself.

    Raises:
        FileNotFoundError: There is none; the message names the option for another name.
    """
    path = folder / name
    if not path.exists():
        raise FileNotFoundError(
            f"{database}: no {what} in {folder}; looked for {name}; if it has another name, write "
            f"{database}:{folder / 'NAME'}"
        )
    return path


def find(
    database: str,
    root: Path,
    names: Sequence[str],
    what: str,
    given: str | None = None,
    option: str = "images",
    hint: str = "",
) -> Path:
    """Return the first existing of several usual names, or the path that the user gave.

    Args:
        database: Name of the database, for the message.
        root: Folder that is searched.
        names: Paths below it; ``.`` is the root itself.
        what: What is searched for, for the message.
        given: Path that the user gave, relative to the root or absolute.
        option: Name of the option for such a path.
        hint: Another remedy, for the message.

    Raises:
        FileNotFoundError: None of them exists; the message lists them.
        OSError, ValueError: The given path is no folder (`images`) or no file (other options).
    """
    if given is not None:
        path = given_path(root, given)
        way = f"write {database}:{root}?{option}=PATH"
        if option == "images":
            return require_folder(path, f"{what} of {database}", way)
        return require_file(path, f"{what} of {database}", way)
    for name in names:
        if (root / name).exists():
            return root / name
    raise FileNotFoundError(
        f"{database}: no {what} in {root}; looked for {', '.join(names)}; if it lies elsewhere, "
        f"write {database}:{root}?{option}=PATH{hint}"
    )
