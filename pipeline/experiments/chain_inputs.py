"""Settle what the chain of MiE-X works on: databases that are given, found or stood in for."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from miex.datasets.clips.base import (
    clip_database_facts,
    clip_database_names,
    gives_flow,
    open_clips,
)
from miex.pipeline.experiments.chain_config import ChainConfig
from miex.pipeline.recognition.protocols import PROTOCOLS

PAPER_DATABASES = ("casme2", "smic", "samm")
"""The databases of MiE-X's composite."""

STAND_IN = "casme2"
"""Layout of the fictitious database that stands in for real clips."""

_DEPTH = 2

_DEMO_SAMPLES = 180

_DEMO_EPOCHS = 0.1


@dataclass(frozen=True, slots=True)
class Settled:
    """What the chain works on.

    Attributes:
        clips: Specs of the real clips; of the fictitious ones where `stands_in` is set.
        macro: Specs of the macro-expressions.
        size: demo or paper.
        stands_in: Whether fictitious clips take the place of real ones.
        flow: Whether all clips are published as flow images and have no frames.
        recognizers: Names of the recognizers.
        protocol: Name of the protocol.
        identities: Number of identities; None for all.
        samples: Number of samples of the dataset; None for nine per identity.
        epochs: Factor of the epochs of every training.
        seeds: Number of runs of each evaluation.
        notes: What was settled by default, and how the run departs from the paper.
    """

    clips: tuple[str, ...]
    macro: tuple[str, ...]
    size: str
    stands_in: bool
    flow: bool
    recognizers: tuple[str, ...]
    protocol: str
    identities: int | None
    samples: int | None
    epochs: float
    seeds: int
    notes: tuple[str, ...]


def settle(config: ChainConfig, out: Path) -> Settled:
    """Settle inputs and size.

    Args:
        config: What was asked for.
        out: Folder of the run; a fictitious database is written below it.

    Raises:
        ValueError: A database does not exist or cannot be read.
        FileNotFoundError: A database or a folder to search is missing.
    """
    found = tuple(_found_in([Path(each).expanduser() for each in config.search]))
    clips = config.clips or found
    notes = [f"found by --search: {', '.join(found)}"] if found and not config.clips else []
    stands_in = not clips
    if stands_in:
        clips = (f"{STAND_IN}:{out.resolve() / 'stand_in' / STAND_IN}",)
        notes.append(
            "no real clips are given: a fictitious database stands in for them, so the scores say "
            "nothing about micro-expressions; give --clips NAME:PATH, or --search FOLDER"
        )
    flow = not stands_in and all(gives_flow(open_clips(each)) for each in clips)
    size = config.size
    if size == "auto":
        size = "demo" if config.faces == "samples" and not config.face_lists else "paper"
    paper = size == "paper"
    if flow:
        notes.append(
            "the clips are published as flow and have no frames, so there is no pool real_mie; "
            "licensed databases with frames add it"
        )
    if not config.macro:
        notes.append("early_mae comes from the sample videos; --macro ckplus:/data/CK+ adds more")
    return Settled(
        clips=clips,
        macro=config.macro or ("samples",),
        size=size,
        stands_in=stands_in,
        flow=flow,
        recognizers=config.recognizers
        or (("apex_me", "branches") if paper and not flow else ("ststnet",)),
        protocol=config.protocol or _protocol(clips),
        identities=config.identities or (5000 if paper else None),
        samples=config.samples or (45_000 if paper else _DEMO_SAMPLES),
        epochs=config.epochs or (1.0 if paper else _DEMO_EPOCHS),
        seeds=config.seeds or (3 if paper else 1),
        notes=tuple(notes),
    )


def _protocol(clips: Sequence[str]) -> str:
    """Return the protocol that the clips allow, the folds of MiE-X first."""
    names = {each.partition(":")[0] for each in clips}
    composite = names & {*PAPER_DATABASES, "megc2019", "megc2019_flow"}
    if composite:
        return "compmie_3fold"
    if names == {"mmew"}:
        return "mmew_5fold"
    return next(iter(sorted(names & set(PROTOCOLS))), "megc2019")


def _found_in(folders: Sequence[Path]) -> Iterator[str]:
    """Yield the spec of every database of micro-expressions in some folders, each name once.

    A database is found by the names of its files, see `Facts.found_by`, and only if it opens.
    """
    known: set[str] = set()
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"--search {folder}: no such folder")
        for place in _places(folder):
            entries = [entry.name.lower() for entry in _children(place)]
            for name in clip_database_names("micro"):
                patterns = [text.lower() for text in clip_database_facts(name).found_by]
                if name in known or not any(
                    fnmatchcase(entry, pattern) for entry in entries for pattern in patterns
                ):
                    continue
                with suppress(ValueError, FileNotFoundError, ImportError):
                    if open_clips(f"{name}:{place}").clips():
                        known.add(name)
                        yield f"{name}:{place}"


def _places(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    yield folder
    if depth:
        for child in _children(folder):
            if child.is_dir() and not child.is_symlink():
                yield from _places(child, depth - 1)


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except OSError:
        return []
