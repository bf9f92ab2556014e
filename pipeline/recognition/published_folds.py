"""Published lists of folds: which clip is tested in which fold, as the authors of a paper split.

The lists are CSV files in `fold_lists`, with the names of subjects and clips alone. Clips that are
given are compared with them by name; whatever differs is counted and listed in the result.
"""

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from miex.pipeline.recognition.sample import SampleInfo

ClipName = tuple[str, str, str]
"""Database, subject and clip, as the database itself names them."""

NOT_LISTED = "not_in_fold_list"
"""Reason of clips that a published list of folds does not have: they are neither trained nor
tested on."""

_FOLDER = Path(__file__).with_name("fold_lists")

_ZEROS = re.compile(r"0*(\d+)")


@dataclass(frozen=True, slots=True)
class FoldList:
    """The test clips of every fold of a publication.

    Attributes:
        name: Protocol that the list belongs to.
        citation: Where the list was published.
        fold_of: Number of the fold, from 1, by clip.
        sha256: Hash of folds and names, in any order of the lines.
    """

    name: str
    citation: str
    fold_of: Mapping[ClipName, int]
    sha256: str

    @property
    def count(self) -> int:
        """Number of folds."""
        return max(self.fold_of.values())


@dataclass(frozen=True, slots=True)
class Match:
    """Given clips, compared with a list of folds.

    Attributes:
        folds: Number of the fold by index of the clip; clips that the list does not have are not
            in it.
        left_out: Indices of the clips that the list does not have.
        missing: Keys of listed clips that are not given.
        respelled: Keys of given clips whose spelling differs, with the spelling of the list.
    """

    folds: Mapping[int, int]
    left_out: tuple[int, ...]
    missing: tuple[str, ...]
    respelled: Mapping[str, str]

    def about(self, listed: FoldList, infos: Sequence[SampleInfo]) -> dict[str, Any]:
        """Return what a result records of the list and of every difference from it."""
        used = set(self.folds.values())
        return {
            "by": "published list",
            "list": listed.citation,
            "sha256": listed.sha256,
            "listed": len(listed.fold_of),
            "found": len(self.folds),
            "missing": list(self.missing),
            "left_out": [infos[index].key for index in self.left_out],
            "respelled": dict(self.respelled),
            "empty": [number for number in range(1, listed.count + 1) if number not in used],
        }


@lru_cache
def load_fold_list(name: str) -> FoldList:
    """Read the published folds of a protocol.

    Args:
        name: Name of the protocol, a file in `fold_lists`.

    Raises:
        FileNotFoundError: The installation lacks the file.
        ValueError: A clip is listed twice, or a person is in two folds.
    """
    path = _FOLDER / f"{name}.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = [line.removeprefix("# ") for line in lines if line.startswith("#")]
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    fold_of: dict[ClipName, int] = {}
    people: dict[tuple[str, str], int] = {}
    for row in rows:
        clip, number = (row["database"], row["subject"], row["clip"]), int(row["fold"])
        if clip in fold_of or people.setdefault(clip[:2], number) != number:
            raise ValueError(f"{path}: {key_of(clip)} is there twice, or its subject in two folds")
        fold_of[clip] = number
    texts = sorted(f"{number}\t{key_of(clip)}\n" for clip, number in fold_of.items())
    digest = hashlib.sha256("".join(texts).encode()).hexdigest()
    return FoldList(name, comment[-1], fold_of, digest)


def key_of(clip: ClipName) -> str:
    """Return the key of a listed clip, as `SampleInfo.key` is written."""
    database, subject, name = clip
    return f"{database}:{subject}/{name}"


def match_clips(listed: FoldList, infos: Sequence[SampleInfo], indices: Sequence[int]) -> Match:
    """Find each clip in a list of folds.

    Names agree if they are equal but for upper and lower case and for zeros before a number
    (``sub1`` and ``sub01``); every other difference is a clip that is missing and one that the list
    does not have.

    Args:
        listed: The list.
        infos: Clips.
        indices: Those that take part.
    """
    by_spelling = {_spelling(*clip): clip for clip in listed.fold_of}
    folds: dict[int, int] = {}
    left_out: list[int] = []
    respelled: dict[str, str] = {}
    found: set[ClipName] = set()
    for index in indices:
        info = infos[index]
        own = info.database, info.subject, info.key.partition("/")[2]
        clip = own if own in listed.fold_of else by_spelling.get(_spelling(*own))
        if clip is None or clip in found:
            left_out.append(index)
            continue
        found.add(clip)
        folds[index] = listed.fold_of[clip]
        if clip != own:
            respelled[info.key] = key_of(clip)
    missing = tuple(sorted(key_of(clip) for clip in listed.fold_of if clip not in found))
    return Match(folds, tuple(left_out), missing, respelled)


def _spelling(database: str, subject: str, clip: str) -> ClipName:
    return database, _ZEROS.sub(r"\1", subject.casefold()), _ZEROS.sub(r"\1", clip.casefold())
