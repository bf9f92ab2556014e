"""Small fictitious databases in the layouts of real ones, for tests and for the tutorial.

The faces are sample photographs. The generator `warp` renders the expressions from the AUs of the
annotations, which contain irregularities of the real databases. Nothing comes from a licensed
database.
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
from miex.pipeline.fictitious_databases.clip_renderer import ClipRenderer
from miex.pipeline.fictitious_databases.macro import (
    write_ckplus,
    write_mmew_macro,
    write_oulu_casia,
    write_ravdess,
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
"""File in every fictitious database that states that it is fictitious."""

_MIN_SUBJECTS, _MIN_CLIPS = 2, 3
"""Smallest numbers with which a database can contain all of its irregularities."""

_WRITERS: dict[str, Callable[[Path, ClipRenderer, int, int], None]] = {
    "casme2": write_casme2,
    "casme3": write_casme3,
    "ckplus": write_ckplus,
    "clip_table": write_clip_table,
    "fourdme": write_fourdme,
    "megc2019": lambda folder, renderer, subjects, clips: write_megc2019(folder, renderer),
    "mmew": write_mmew,
    "mmew_macro": write_mmew_macro,
    "oulu_casia": write_oulu_casia,
    "ravdess": write_ravdess,
    "samm": write_samm,
    "smic": write_smic,
    "video_folder": write_video_folder,
}


@dataclass(frozen=True, slots=True)
class FictitiousDatabase:
    """A fictitious database on disk.

    Attributes:
        database: Name of the database.
        folder: Folder of the database.
        spec: Spec with which `open_clips` opens it.
        listed: Number of clips in its annotation; for CAS(ME)3 those of part A.
        quirks: Descriptions of the irregularities that it contains.
    """

    database: str
    folder: Path
    spec: str
    listed: int
    quirks: tuple[str, ...]


def fictitious_names() -> list[str]:
    """Return the names of all databases that `write_fictitious` can write."""
    return sorted(_WRITERS)


def write_fictitious(
    database: str,
    folder: Path,
    subjects: int = 3,
    clips: int = 4,
    seed: int = 0,
    faces: Path | None = None,
) -> FictitiousDatabase:
    """Write a small database in the layout of a real one.

    Args:
        database: Name of the database, one of `fictitious_names`.
        folder: A new or empty folder.
        subjects: Number of subjects, at least 2; the faces are assigned to them in turn. MEGC2019
            always has 68.
        clips: Number of clips per subject, at least 3. MEGC2019 always has 442 in total.
        seed: Seed of the strength of each expression.
        faces: A face table; by default the sample photographs are prepared.

    Returns:
        The written database.

    Raises:
        ValueError: The database is not known, there are too few subjects or clips, or the folder
            is not empty.
    """
    if database not in _WRITERS:
        known = ", ".join(fictitious_names())
        raise ValueError(f"no fictitious database is called {database!r}; there are: {known}")
    if subjects < _MIN_SUBJECTS or clips < _MIN_CLIPS:
        raise ValueError(
            f"subjects: {subjects} and clips: {clips} are too few for the irregularities of a "
            f"database; give at least {_MIN_SUBJECTS} subjects and {_MIN_CLIPS} clips"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty; give an empty or a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    # Always on the CPU, since the last bits of a frame differ on a GPU.
    generator = create_generator(GeneratorConfig(name="warp", device="cpu"))
    renderer = ClipRenderer(generator, _load(faces), seed)
    _WRITERS[database](folder, renderer, subjects, clips)
    _write_note(folder, database, renderer)
    return FictitiousDatabase(
        database, folder, _spec(database, folder), renderer.listed, tuple(renderer.quirks)
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


def _write_note(folder: Path, database: str, renderer: ClipRenderer) -> None:
    irregularities = "\n".join(f"- {quirk}" for quirk in renderer.quirks)
    (folder / NOTE_FILE).write_text(
        f"# Fictitious {database}\n\n"
        "Only the layout is that of the real database; no file comes from it. The faces are\n"
        "sample photographs of open-source packages. Their expressions are synthetic and were\n"
        "rendered by the generator `warp` of miex. The annotations are invented. Use this\n"
        "database only to test software.\n\n"
        f"It contains these irregularities of the real database:\n\n{irregularities}\n",
        encoding="utf-8",
    )
