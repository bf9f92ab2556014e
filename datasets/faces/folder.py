"""Photographs in a folder, or in a CSV table of paths and identities.

Three layouts: `folders` (one folder per identity, with files at any depth), `files` (one file per
identity), `csv` (a table with the columns `path` and `identity`, paths relative to the table).
"""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from miex.datasets.base import FaceSource, Photograph, Rejection
from miex.datasets.clips.sheets import read_rows
from miex.datasets.faces.base import SourceSpec, register_face_source
from miex.datasets.images import IMAGE_SUFFIXES, not_by_name
from miex.datasets.paths import Unusable, in_table, walk_files
from miex.datasets.registry import Facts

_TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".xls", ".xlsx"})
"""Suffixes of the files that `auto` takes for a table of faces."""

Layout = Literal["auto", "folders", "files", "csv"]


class Folder:
    """Reader of photographs in a folder or a CSV table.

    Args:
        path: The folder, or the CSV file.
        layout: How identities are distinguished. `auto` chooses `csv` for a table (.csv, .tsv,
            .xlsx), `files` if the images are in the folder itself, `folders` if they are in folders
            below it.
        name: First part of every origin.
        licence: Terms of use of the photographs.

    Raises:
        FileNotFoundError: There is no such folder or file.
        ValueError: There is no image, or the layout does not fit; the message names one that fits.
    """

    def __init__(
        self,
        path: Path,
        layout: Layout = "auto",
        name: str = "folder",
        licence: str = "not stated: the terms of your own photographs",
    ) -> None:
        if layout not in get_args(Layout):
            known = ", ".join(get_args(Layout))
            raise ValueError(f"layout {layout!r} is unknown; expected one of {known}")
        if not path.exists():
            raise FileNotFoundError(f"no folder of photographs at {path}")
        self.path = path
        self.layout = layout
        self.name = name
        self.licence = licence

    def photographs(self) -> Sequence[Photograph]:
        """See `FaceSource.photographs`."""
        return self._scan[0]

    def skipped(self) -> Sequence[Rejection]:
        """See `FaceSource.skipped`."""
        return self._scan[1]

    @cached_property
    def _scan(self) -> tuple[list[Photograph], list[Rejection]]:
        is_table = self.path.suffix.lower() in _TABLE_SUFFIXES and self.path.is_file()
        if self.layout == "csv" or (self.layout == "auto" and is_table):
            return self._read_map()
        if not self.path.is_dir():
            raise ValueError(f"{self.path} is a file; expected a folder, or a table ending in .csv")
        images, skipped = self._walk()
        if not images:
            raise ValueError(
                f"no image below {self.path} ({len(skipped)} other files); expected one folder an "
                "identity, one file per identity, or a CSV file with the columns path,identity; "
                f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}; convert others, such as .heic"
            )
        by_folder = self._by_folder(images)
        names = {} if by_folder else _file_identities(images)
        photographs = [
            Photograph(
                identity=relative.parts[0] if by_folder else names[relative],
                path=self.path / relative,
                origin=f"{self.name}:{relative.as_posix()}",
            )
            for relative in images
        ]
        return photographs, skipped

    def _walk(self) -> tuple[list[Path], list[Rejection]]:
        images: list[Path] = []
        skipped: list[Rejection] = []
        for found in walk_files(self.path):
            if isinstance(found, Unusable):
                origin = f"{self.name}:{found.path}"
                skipped.append(Rejection(origin, found.reason, found.detail))
                continue
            hidden = any(part.startswith((".", "__MACOSX")) for part in found.parts)
            if found.suffix.lower() in IMAGE_SUFFIXES and not hidden:
                images.append(Path(found))
            else:
                reason = "not_an_image_file"
                origin = f"{self.name}:{found.as_posix()}"
                skipped.append(Rejection(origin, reason, not_by_name(found.name)))
        skipped.sort(key=lambda rejection: rejection.origin)
        return sorted(images, key=Path.as_posix), skipped

    def _by_folder(self, images: Sequence[Path]) -> bool:
        if self.layout == "files":
            return False
        loose = [image for image in images if len(image.parts) == 1]
        if self.layout == "auto" and len(loose) == len(images):
            return False
        if loose:
            raise ValueError(
                f"{self.path} holds {len(loose)} images itself ({loose[0]}, ...) and "
                f"{len(images) - len(loose)} in folders below; move the loose ones into a folder "
                "per identity, or choose the layout `files` (one file per identity)"
            )
        return True

    def _read_map(self) -> tuple[list[Photograph], list[Rejection]]:
        if not self.path.is_file():
            raise ValueError(f"{self.path} is a folder; the layout csv expects a CSV file")
        photographs: dict[str, Photograph] = {}
        skipped: list[Rejection] = []
        for line, path, identity in _map_rows(self.path):
            origin = f"{self.name}:{path}"
            if origin in photographs:
                raise ValueError(f"{self.path}, line {line}: {path} occurs twice")
            try:
                image = in_table(self.path.parent, path)
            except ValueError as error:
                skipped.append(Rejection(origin, "bad_path", f"line {line}: {error}"))
                continue
            if image is not None and image.is_file():
                photographs[origin] = Photograph(identity, image, origin)
            else:
                skipped.append(Rejection(origin, "missing", "named in the table, but missing"))
        if not photographs:
            raise ValueError(
                f"{self.path}: none of its {len(skipped)} files is there; paths are relative to "
                f"{self.path.parent}"
            )
        return [photographs[origin] for origin in sorted(photographs)], skipped


def _map_rows(path: Path) -> list[tuple[int, str, str]]:
    """Return line number, path and identity of every row of a table."""
    columns = {"path": ("path",), "identity": ("identity",)}
    rows = read_rows(path, columns, what="table of faces")
    return [(row.number, _plain(row.text("path")), row.text("identity")) for row in rows]


def _plain(path: str) -> str:
    """Return a path with ``/`` as separator and without a leading ``./``."""
    return PurePosixPath(path.replace("\\", "/")).as_posix()


def _file_identities(images: Sequence[Path]) -> dict[Path, str]:
    """Return file names without suffix, or with it where two would be equal."""
    stems = Counter(image.with_suffix("") for image in images)
    return {
        image: (image.with_suffix("") if stems[image.with_suffix("")] == 1 else image).as_posix()
        for image in images
    }


_FACTS = Facts(
    about="a folder per identity, a file per identity, or a CSV "
    "`path,identity`; `FOLDER` alone means the same",
    title="photographs of your own",
    written="folder:FOLDER",
)


@register_face_source("folder", _FACTS)
def open_folder(spec: SourceSpec) -> FaceSource:
    """Open `folder:PATH`, with the option `layout`."""
    options = spec.known_options("layout")
    layout = options.get("layout", "auto")
    if layout not in get_args(Layout):
        raise ValueError(f"layout {layout!r} is unknown; expected {', '.join(get_args(Layout))}")
    return Folder(spec.existing_path(), layout)  # type: ignore[arg-type]
