"""EmotionNet (Benitez-Quiroz et al. 2016): lists of image URLs with 60 AU columns, and the images.

A list is tab-separated text: the URL of the image at the database, its original URL, then 60
columns for AU 1 to 60: 1 present, 0 absent, 999 not labelled. The images are downloaded
(`miex.datasets.faces.emotionnet_download`) or exist already; the name of a file is the last part of
the first URL, with a hash of the URL if two URLs have the same last part.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from miex.datasets.base import FaceSource, Photograph, Rejection
from miex.datasets.faces.base import SourceSpec, register_face_source
from miex.datasets.given_files import require_folder
from miex.datasets.images import IMAGE_SUFFIXES
from miex.datasets.lines import read_lines
from miex.datasets.paths import printable
from miex.datasets.registry import Facts

_AU_COLUMNS = 60
"""Number of AU columns; column k, from 1, is AU k."""

DEAD_LINKS = "failed.tsv"
"""File of the downloader with dead links; it is no list of photographs."""

_UNLABELLED = 999.0

_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class EmotionNetRow:
    """Line of a list.

    Attributes:
        url: URL of the image at the database.
        original_url: Original URL of the image; may be empty.
        aus: ``float32 (60,)``, AU k at index k - 1: 1 present, 0 absent, NaN not labelled.
    """

    url: str
    original_url: str
    aus: NDArray[np.float32]


def read_list(path: Path) -> Iterator[EmotionNetRow | Rejection]:
    """Read a list line by line.

    Yields:
        Rows, and a rejection with its reason for a line that is no row.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no text, or no line is a row; the message names the first.
    """
    first: Rejection | None = None
    found = False
    remedy = f"give a list of EmotionNet: lines of {_AU_COLUMNS + 2} tab-separated columns"
    for line in read_lines(path, "list of EmotionNet", remedy):
        where = f"{path.name}, line {line.number}"
        try:
            if line.problem:
                raise ValueError(line.problem)
            row = _parse(line.text)
        except ValueError as error:
            bad = Rejection(f"emotionnet:{where}", "bad_line", str(error))
            first = first or bad
            yield bad
            continue
        found = True
        yield row
    if not found:
        told = f"line {first.origin.rpartition(' ')[2]}: {first.detail}" if first else "blank"
        raise ValueError(f"{path} holds no line of a list of EmotionNet ({told}); {remedy}")


def _parse(line: str) -> EmotionNetRow:
    fields = [field.strip().strip("'\"") for field in line.rstrip("\r\n").split("\t")]
    while len(fields) > _AU_COLUMNS + 2 and not fields[-1]:
        fields.pop()
    if len(fields) != _AU_COLUMNS + 2:
        raise ValueError(
            f"{len(fields)} tab-separated columns, expected {_AU_COLUMNS + 2}: two URLs "
            "and AU 1 to 60"
        )
    if not fields[0].startswith(("http://", "https://")):
        raise ValueError(f"{fields[0][:80]!r} in the first column is no URL")
    try:
        values = np.array([float(field) for field in fields[2:]], dtype=np.float32)
    except ValueError as error:
        raise ValueError(f"{error}; expected 1, 0 or 999") from None
    wrong = ~np.isin(values, (0.0, 1.0, _UNLABELLED))
    if wrong.any():
        au = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"AU{au + 1} is {values[au]:g}, expected 1, 0 or 999")
    values[values == _UNLABELLED] = np.nan
    return EmotionNetRow(fields[0], fields[1], values)


def image_names(urls: Sequence[str]) -> list[str]:
    """Return the file name of each URL's image: its last part, with a hash if it is not unique.

    Args:
        urls: First columns of the lists.

    Returns:
        As many names, valid in every file system.
    """
    ends = [_file_name(url) for url in urls]
    shared = Counter(end for end, _ in {(end, url) for end, url in zip(ends, urls, strict=True)})
    return [
        end if shared[end] == 1 else _hashed(end, url) for end, url in zip(ends, urls, strict=True)
    ]


def _file_name(url: str) -> str:
    try:
        path = urlsplit(url).path
    except ValueError:
        # An IPv6 address without its bracket cannot be downloaded, but still has a name.
        path = url.partition("?")[0]
    end = PurePosixPath(unquote(path)).name
    name = PurePosixPath(re.sub(r"[^\w.() -]", "_", end).strip(". ") or "image")
    if len(name.name.encode()) <= _LONGEST_NAME:
        return name.name
    return _hashed(f"{name.stem[:40]}{name.suffix[:8]}", url)


def _hashed(name: str, url: str) -> str:
    path = PurePosixPath(name)
    return f"{path.stem}-{hashlib.sha256(url.encode()).hexdigest()[:8]}{path.suffix}"


class EmotionNet:
    """Reader of EmotionNet.

    The database states no identities, so that every image is an identity of its own; photographs
    of one person are found by their embeddings when the faces are prepared.

    Args:
        lists: The URL lists.
        images: The folder of images.

    Raises:
        FileNotFoundError: There is no list, or no folder of images.
        ValueError: `photographs` cannot read a line, or finds no image.
    """

    name = "emotionnet"
    licence = "EmotioNet: research by non-profit institutions only, no redistribution"

    def __init__(self, lists: Sequence[Path], images: Path) -> None:
        if not lists:
            raise FileNotFoundError("EmotionNet: no URL list was given")
        remedy = f"download it with `miex faces-download LIST -o {images.parent}`"
        require_folder(images, "folder of images of EmotionNet", remedy)
        self.lists = tuple(lists)
        self.images = images

    def rows(self) -> Iterator[EmotionNetRow | Rejection]:
        """Yield every line of every list; see `read_list`."""
        for path in self.lists:
            try:
                yield from read_list(path)
            except ValueError as error:
                # A text file beside the lists is none of them.
                if len(self.lists) == 1:
                    raise
                yield Rejection(f"{self.name}:{path.name}", "no_list", str(error))

    def photographs(self) -> Sequence[Photograph]:
        """See `FaceSource.photographs`."""
        return self._scan[0]

    def skipped(self) -> Sequence[Rejection]:
        """See `FaceSource.skipped`."""
        return self._scan[1]

    @cached_property
    def _scan(self) -> tuple[list[Photograph], list[Rejection]]:
        rows = list(self.rows())
        skipped = [row for row in rows if isinstance(row, Rejection)]
        urls = [row.url for row in rows if not isinstance(row, Rejection)]
        names = dict.fromkeys(image_names(urls))
        there = {path.name for path in self.images.iterdir() if path.is_file()}
        photographs: list[Photograph] = []
        for name in names:
            origin = f"{self.name}:{name}"
            if name in there:
                photographs.append(Photograph(name, self.images / name, origin))
            else:
                detail = f"listed, not in {self.images.name}: not downloaded or a dead link"
                skipped.append(Rejection(origin, "missing", detail))
        for name in sorted(there - set(names)):
            if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                detail = "no line of the lists names it"
                origin = f"{self.name}:{printable(name)}"
                skipped.append(Rejection(origin, "not_in_the_lists", detail))
        if not photographs:
            raise ValueError(
                f"EmotionNet: none of the {len(names)} listed images is in {self.images}; download "
                f"them with `miex faces-download LIST -o {self.images.parent}`"
            )
        return photographs, skipped


_FACTS = Facts(
    about="EmotionNet's URL lists and the images they name, the "
    "templates of MiE-X; `miex faces-download LIST` fetches them",
    title="EmotionNet",
    written="emotionnet:FOLDER",
    found_by=(
        "*emotionet*.txt",
        "*emotionnet*.txt",
        "*emotionnet*.tsv",
        "download.json",
    ),
)


@register_face_source("emotionnet", _FACTS)
def open_emotionnet(spec: SourceSpec) -> FaceSource:
    """Open `emotionnet:ROOT`: lists `*.txt` or `*.tsv` in ROOT, images in ROOT/images.

    The options `lists` (a file) and `images` (a folder) name files elsewhere.
    """
    options = spec.known_options("lists", "images")
    root = spec.existing_folder()
    found = sorted({*root.glob("*.txt"), *root.glob("*.tsv")} - {root / DEAD_LINKS})
    lists = [Path(os.path.expanduser(options["lists"]))] if "lists" in options else found
    if not lists:
        raise FileNotFoundError(f"emotionnet: no list *.txt or *.tsv in {root}")
    images = Path(os.path.expanduser(options["images"])) if "images" in options else root / "images"
    return EmotionNet(lists, images)
