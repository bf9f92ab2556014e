"""Small databases in the real layouts, drawn by us: for tests and for the tutorial.

The faces are sample photographs, the expressions are drawn by `warp` from the AUs that the sheets
state, and the quirks of the real databases are planted. Nothing comes from a licensed database.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from miex.datasets.base import Face
from miex.datasets.faces.base import open_face_source
from miex.generators.base import GeneratorConfig, create_generator
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.prepare import prepare_faces
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.fictitious_databases.artist import Artist
from miex.pipeline.fictitious_databases.macro import (
    write_ckplus,
    write_mmew_macro,
    write_oulu_casia,
    write_video_folder,
)
from miex.pipeline.fictitious_databases.megc2019 import write_megc2019
from miex.pipeline.fictitious_databases.micro import (
    write_casme2,
    write_casme3,
    write_clip_table,
    write_fourdme,
    write_mmew,
    write_samm,
    write_smic,
)

NOTE_FILE = "FICTITIOUS.md"

MIN_SUBJECTS, MIN_CLIPS = 2, 3
"""Fewer have no room for the quirks."""

Writer = Callable[[Path, Artist, int, int], None]

_WRITERS: dict[str, Writer] = {
    "casme2": write_casme2,
    "casme3": write_casme3,
    "ckplus": write_ckplus,
    "clip_table": write_clip_table,
    "fourdme": write_fourdme,
    "megc2019": lambda folder, artist, subjects, clips: write_megc2019(folder, artist),
    "mmew": write_mmew,
    "mmew_macro": write_mmew_macro,
    "oulu_casia": write_oulu_casia,
    "samm": write_samm,
    "smic": write_smic,
    "video_folder": write_video_folder,
}


@dataclass(frozen=True, slots=True)
class Fictitious:
    """A database that was drawn.

    Attributes:
        database: Which one.
        folder: Where it lies.
        spec: What `open_clips` takes to open it.
        listed: Clips in its annotation; of CAS(ME)3 those of part A.
        quirks: What was planted, for people.
    """

    database: str
    folder: Path
    spec: str
    listed: int
    quirks: tuple[str, ...]


def fictitious_names() -> list[str]:
    """Every database that can be drawn."""
    return sorted(_WRITERS)


def write_fictitious(
    database: str,
    folder: Path,
    subjects: int = 3,
    clips: int = 4,
    seed: int = 0,
    faces: Path | None = None,
) -> Fictitious:
    """Draws a small database in the layout of a real one.

    Args:
        database: One of `fictitious_names`.
        folder: An empty folder, or one that is not there yet.
        subjects: How many, at least 2; they share the faces that there are. MEGC2019 always has
            its 68.
        clips: How many for each subject, at least 3. MEGC2019 always has its 442.
        seed: Of the strength of each expression.
        faces: A face table, for instance of the sample photographs at 64 pixels; they are prepared
            anew if it is not given.

    Raises:
        ValueError: No such database, too few subjects or clips, or the folder holds something.
    """
    if database not in _WRITERS:
        known = ", ".join(fictitious_names())
        raise ValueError(f"no fictitious {database!r} can be drawn; there are: {known}")
    if subjects < MIN_SUBJECTS or clips < MIN_CLIPS:
        raise ValueError(
            f"{subjects} subjects with {clips} clips each have no room for the quirks; give at "
            f"least {MIN_SUBJECTS} and {MIN_CLIPS}"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty; give an empty or a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    # One generator for every run: a GPU would draw other last bits than a CPU.
    generator = create_generator(GeneratorConfig(name="warp", device="cpu"))
    artist = Artist(generator, _load(faces), seed)
    _WRITERS[database](folder, artist, subjects, clips)
    _write_note(folder, database, artist)
    return Fictitious(
        database, folder, _spec(database, folder), artist.listed, tuple(artist.quirks)
    )


def _load(table: Path | None) -> Sequence[Face]:
    if table is not None:
        opened = FaceTable.open(table)
        return opened.load(range(len(opened)))
    with tempfile.TemporaryDirectory(prefix="miex-") as folder:
        path = Path(folder) / "faces.parquet"
        prepared = prepare_faces(open_face_source("samples"), path, FaceConfig(), workers=1)
        return prepared.load(range(len(prepared)))


def _spec(database: str, folder: Path) -> str:
    if database != "megc2019":
        return f"{database}:{folder}"
    folders = {name: folder / name for name in ("casme2", "smic", "samm")}
    return f"{database}:{folder}?{urlencode(folders)}"


def _write_note(folder: Path, database: str, artist: Artist) -> None:
    planted = "\n".join(f"- {quirk}" for quirk in artist.quirks)
    (folder / NOTE_FILE).write_text(
        f"# Fictitious {database}\n\n"
        "Nothing here comes from the real database, only the layout does. The faces are sample\n"
        "photographs that ship with open-source packages, their expressions are synthetic: drawn\n"
        "by the generator `warp` of miex. The annotations are invented. Never use this to measure\n"
        f"anything but software.\n\nPlanted:\n\n{planted}\n",
        encoding="utf-8",
    )
