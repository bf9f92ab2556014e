"""CelebA (Liu et al. 2015): a folder of images and `identity_CelebA.txt`.

The identity file has one line per image, ``000001.jpg 2880``: file name and identity number.
"""

import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from miex.datasets.base import FaceSource, Photograph, Rejection
from miex.datasets.cells import whole_number
from miex.datasets.faces.base import SourceSpec, register_face_source
from miex.datasets.images import IMAGE_SUFFIXES
from miex.datasets.lines import read_lines
from miex.datasets.paths import printable
from miex.datasets.registry import Facts

_IDENTITY_FILE = "identity_CelebA.txt"

_IMAGE_FOLDERS = ("img_celeba", "img_align_celeba_png", "img_align_celeba", "imgs", "images")
"""Possible folders of the images; the photographs in the wild before the aligned ones."""


class CelebA:
    """Reader of CelebA.

    Args:
        root: Folder of the database; identity file and images are searched for in it and in its
            folders `Anno` and `Img`, as the archives unpack.
        identities: The identity file, if it is elsewhere.
        images: The folder of images, if it is elsewhere.

    Raises:
        FileNotFoundError: There is no identity file or no folder of images.
        ValueError: No line of the identity file can be read, or no image exists.
    """

    name = "celeba"
    licence = "CelebA: non-commercial research only, no redistribution (its README)"

    def __init__(
        self, root: Path, identities: Path | None = None, images: Path | None = None
    ) -> None:
        self.identity_file = identities or _first_existing(
            root, [_IDENTITY_FILE, f"Anno/{_IDENTITY_FILE}"], "the identity file"
        )
        nested = [f"Img/{folder}" for folder in _IMAGE_FOLDERS]
        self.images = images or _first_existing(
            root, [*_IMAGE_FOLDERS, *nested], "the folder of images"
        )

    def photographs(self) -> Sequence[Photograph]:
        """See `FaceSource.photographs`."""
        return self._scan[0]

    def skipped(self) -> Sequence[Rejection]:
        """See `FaceSource.skipped`."""
        return self._scan[1]

    @cached_property
    def _scan(self) -> tuple[list[Photograph], list[Rejection]]:
        photographs: list[Photograph] = []
        skipped: list[Rejection] = []
        there = {path.name for path in self.images.iterdir()}
        listed_as, bad = _identities(self.identity_file)
        skipped += bad
        for file, identity in listed_as.items():
            origin = f"{self.name}:{file}"
            # The lossless release has the same names with another suffix.
            actual = next(
                (name for name in (file, f"{Path(file).stem}.png") if name in there), None
            )
            if actual is None:
                skipped.append(Rejection(origin, "missing", f"not in {self.images.name}"))
            else:
                photographs.append(Photograph(identity, self.images / actual, origin))
        listed = {photograph.path.name for photograph in photographs}
        for name in sorted(there - listed):
            is_image = Path(name).suffix.lower() in IMAGE_SUFFIXES
            reason = "not_in_the_identity_file" if is_image else "not_an_image_file"
            origin = f"{self.name}:{printable(name)}"
            skipped.append(Rejection(origin, reason, "no identity is stated"))
        if not photographs:
            raise ValueError(
                f"{self.images}: none of the {len(listed_as)} images of {self.identity_file} is"
                " there"
            )
        return photographs, skipped


_REMEDY = "give CelebA's identity_CelebA.txt, lines such as `000001.jpg 2880`"


def _identities(path: Path) -> tuple[dict[str, str], list[Rejection]]:
    """Return the identity of each file, and the lines that cannot be used.

    Raises:
        ValueError: No line can be read; the message tells of the first.
    """
    found: dict[str, str] = {}
    bad: list[Rejection] = []
    for line in read_lines(path, "list of identities", _REMEDY):
        fields = re.split(r"[\s,;]+", line.text.strip())
        identity = whole_number(fields[1]) if len(fields) == 2 else None
        problem = line.problem
        if not problem and (identity is None or "/" in fields[0]):
            problem = f"{_shown(fields)}expected a file name and an identity number"
        elif not problem and found.get(fields[0], identity) != identity:
            del found[fields[0]]
            problem = f"{fields[0]} occurs twice, with two identities; neither is used"
        if problem or identity is None:
            bad.append(Rejection(f"celeba:{path.name}, line {line.number}", "bad_line", problem))
        else:
            found[fields[0]] = identity
    if not found:
        told = f"line {bad[0].origin.rpartition(' ')[2]}: {bad[0].detail}" if bad else "blank"
        raise ValueError(f"{path} holds no line of a list of identities ({told}); {_REMEDY}")
    return found, bad


def _shown(fields: Sequence[str]) -> str:
    """Return the file name of a wrong line; nothing if the file is no list of images."""
    is_image = Path(fields[0]).suffix.lower() in IMAGE_SUFFIXES
    return f"{fields[0][:80]!r}, " if is_image else ""


def _first_existing(root: Path, candidates: Sequence[str], what: str) -> Path:
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    raise FileNotFoundError(f"CelebA: {what} is not in {root}; expected {' or '.join(candidates)}")


_FACTS = Facts(
    about="CelebA with `identity_CelebA.txt`, 10,177 identities",
    title="CelebA",
    written="celeba:FOLDER",
    found_by=("identity_CelebA.txt",),
)


@register_face_source("celeba", _FACTS)
def open_celeba(spec: SourceSpec) -> FaceSource:
    """Open `celeba:ROOT`, with the options `identities` and `images` for files elsewhere."""
    options = spec.known_options("identities", "images")
    paths = {key: Path(os.path.expanduser(value)) for key, value in options.items()}
    for key, path in paths.items():
        if not path.exists():
            raise FileNotFoundError(f"celeba: {key}: nothing at {path}")
    return CelebA(spec.existing_folder(), **paths)
