"""Photographs named by who is shown: `FOLDER/PERSON_1.jpg`."""

from collections.abc import Sequence
from pathlib import Path

from miex.datasets.base import FaceSource, Photograph, Rejection
from miex.datasets.faces.base import SourceSpec, register_face_source
from miex.datasets.images import IMAGE_SUFFIXES
from miex.datasets.registry import Facts


class Portraits:
    """Reader of a folder of portraits."""

    name = "portraits"
    licence = "terms of your own photographs"

    def __init__(self, root: Path) -> None:
        self._files = sorted(path for path in root.iterdir() if path.is_file())

    def photographs(self) -> Sequence[Photograph]:
        """See `FaceSource.photographs`."""
        return [
            Photograph(path.stem.partition("_")[0], path, f"{self.name}:{path.name}")
            for path in self._files
            if path.suffix.lower() in IMAGE_SUFFIXES
        ]

    def skipped(self) -> Sequence[Rejection]:
        """See `FaceSource.skipped`."""
        return [
            Rejection(f"{self.name}:{path.name}", "not_an_image_file", path.suffix)
            for path in self._files
            if path.suffix.lower() not in IMAGE_SUFFIXES
        ]


@register_face_source(
    "portraits", Facts("photographs named by who is shown", "portraits", "portraits:FOLDER")
)
def open_portraits(spec: SourceSpec) -> FaceSource:
    """Open `portraits:FOLDER`."""
    spec.known_options()
    return Portraits(spec.existing_path())
