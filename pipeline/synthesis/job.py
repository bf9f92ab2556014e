"""A synthesis run: its config, its inputs and its folder, which holds one dataset."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from pydantic import ValidationError

from miex.datasets.config import explain
from miex.datasets.dataset_format import (
    MANIFEST,
    MANIFEST_REMEDY,
    RUN_LOG,
    DatasetFolder,
    require_manifest,
)
from miex.datasets.documents import read_document
from miex.datasets.faces.base import open_face_source
from miex.datasets.files import remove_partial
from miex.datasets.storage import absolute, exists, is_address, names_in, remove, shown, sizes
from miex.generators.base import create_generator
from miex.pipeline.aus.estimators import labellers, refuse_training_estimators
from miex.pipeline.faces.prepare import prepare_faces
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.inputs import Inputs, open_sources
from miex.pipeline.synthesis.manifest import BY_HAND, identify, write_json
from miex.pipeline.synthesis.quality import open_reader
from miex.pipeline.synthesis.shard_files import shard_fingerprint

STATE = ".miex"
"""Folder inside an unfinished dataset with its fingerprint and the hashes of finished shards."""

_FACES = "faces.parquet"
"""Name of the face table in the dataset folder, if the run prepares the faces."""

_log = logging.getLogger("miex")

OnFaces = Callable[[int, int, dict[str, int]], None]
"""Progress callback of the face preparation: (done, total, counts by outcome)."""


@dataclass(frozen=True, slots=True)
class Job:
    """A synthesis run. It is picklable, so that any process can render its shards.

    Attributes:
        config: Config of the dataset.
        out: The dataset folder, an absolute path or an address.
        faces: The face table, an absolute path or an address.
        folder: The folder to which relative paths in the config refer.
        fingerprint: SHA-256 of the config, of all inputs and of the versions of all packages that
            can change the dataset.
        samples: Number of planned samples.
        shards: Number of shards.
    """

    config: SynthesisConfig
    out: Path
    faces: Path
    folder: Path
    fingerprint: str
    samples: int
    shards: int

    @property
    def inputs(self) -> Inputs:
        """The opened inputs. Each thread opens them once and keeps those of its latest job.

        Raises:
            FileNotFoundError: An input is missing.
            ValueError: An input is damaged.
        """
        # Jobs with equal fingerprints can name face tables in different folders.
        key = self.fingerprint, self.faces
        if getattr(_opened, "key", None) != key:
            self._keep(Inputs.open(self.config, self.faces, self.folder))
        inputs: Inputs = _opened.inputs
        return inputs

    def _keep(self, inputs: Inputs) -> None:
        _opened.inputs, _opened.key = inputs, (self.fingerprint, self.faces)


_opened = threading.local()


def start(
    config: SynthesisConfig,
    out: Path,
    *,
    workers: int | None = None,
    on_faces: OnFaces | None = None,
) -> Job:
    """Validate the config, its inputs and the folder, prepare the faces, and return the job.

    Args:
        config: Config of the dataset.
        out: The dataset folder. It must be new, be empty, or hold the same dataset, finished or
            not.
        workers: Number of processes for the face preparation, all cores by default.
        on_faces: Called with (done, total, counts by outcome) while faces are prepared.

    Raises:
        ValueError: The folder holds other files or another dataset, the config does not fit its
            inputs, or the fidelity estimator labelled the training data of the generator.
        FileNotFoundError: A table, pool, checkpoint or folder is missing.
    """
    out, folder = absolute(out), Path.cwd()
    _refuse_foreign_folder(out)
    found = config.located(folder)
    sources = open_sources(found)
    generator = create_generator(found.generator)
    if config.quality.fidelity_share and config.quality.fidelity_estimator:
        judge = config.quality.fidelity_estimator.partition(":")[0]
        refuse_training_estimators([judge], labellers(config.generator))
        open_reader(found.quality)
    table = _face_table(config, out, workers, on_faces)
    inputs = Inputs.open(config, table, folder, sources, generator)
    job, identity = _identify(out, table, folder, inputs)
    _reserve_folder(out, identity)
    for folder in (out, out / "data", out / "report"):
        remove_partial(folder)
    return job


def reopen(out: Path) -> Job:
    """Return the job of a finished dataset, from which rows can be rendered again.

    Args:
        out: The dataset folder.

    Raises:
        FileNotFoundError: The folder holds no finished dataset, or an input is missing.
        ValueError: An input or a package version differs from the manifest.
    """
    out = absolute(out)
    manifest = DatasetFolder.open(out).manifest
    try:
        config = SynthesisConfig(**manifest["config"])
    except ValidationError as error:
        raise ValueError(
            f"{out / MANIFEST} is damaged or was written by another version of miex: "
            f"{explain(error)}"
        ) from None
    if any(source.startswith(f"{BY_HAND}:") for source in config.sources):
        raise ValueError(
            f"{out} holds samples whose AUs were set by hand (`miex app`), which cannot be drawn "
            "again"
        )
    folder = _origin(out)
    table = given_table(config, folder) or out / _FACES
    job, identity = _identify(out, table, folder, Inputs.open(config, table, folder))
    if job.fingerprint != manifest.get("fingerprint"):
        found = "; ".join(
            f"{name} ({recorded} in the manifest, {present} now)"
            for name, recorded, present in _differences(manifest, identity)
        )
        raise ValueError(
            f"{out} was rendered from other inputs or versions: {found or 'its format'}. Its rows "
            "can be rendered again only with the inputs and versions of the manifest"
        )
    return job


def _origin(out: Path) -> Path:
    """Return the folder to which the relative paths in the config of a dataset refer.

    It is the working directory of the run, which the run log states. If the log or that folder no
    longer exists, it is the current working directory.
    """
    try:
        log = read_document(out / RUN_LOG, "run log", "", must_be_sealed=False)
        folder = Path(str(log["folder"]))
    except (OSError, ValueError, KeyError):
        return Path.cwd()
    return folder if folder.is_dir() else Path.cwd()


def _identify(out: Path, table: Path, folder: Path, inputs: Inputs) -> tuple[Job, dict[str, Any]]:
    """Return the job of opened inputs, and the content of its fingerprint."""
    config, samples = inputs.config, inputs.plan.samples
    identity = identify(config, inputs.description)
    shards = -(-samples // config.shard_rows(samples))
    job = Job(config, out, table, folder, identity["fingerprint"], samples, shards)
    job._keep(inputs)
    return job, identity


def planned(job: Job, number: int) -> range:
    """Return the sample numbers of a shard."""
    rows = job.config.shard_rows(job.samples)
    return range(number * rows, min((number + 1) * rows, job.samples))


def _refuse_foreign_folder(out: Path) -> None:
    """Check that the folder is new, empty or a dataset folder of miex.

    Raises:
        ValueError: It is a file, or it holds other files.
    """
    if not is_address(out) and out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; give a folder for the dataset")
    ours = {MANIFEST, STATE, _FACES, f"{_FACES}.parts"}
    # A killed run can leave a folder that contains only an unfinished file.
    there = names_in(out)
    if there and not there & ours:
        raise ValueError(
            f"{shown(out)} is not empty and holds no miex dataset; choose a new folder"
        )


def _reserve_folder(out: Path, identity: dict[str, Any]) -> None:
    """Record in the folder which dataset it holds.

    Raises:
        ValueError: The folder holds another dataset; the message names the differences.
    """
    state = out / STATE / "job.json"
    owner = out / MANIFEST if exists(out / MANIFEST) else state
    if exists(owner):
        known = _owner_of(out, owner, identity["fingerprint"])
        if known is None:
            write_json(state, identity)
            return
        if known.get("fingerprint") == identity["fingerprint"]:
            return
        found = "; ".join(
            f"{name} ({recorded} in the folder, {requested} requested)"
            for name, recorded, requested in _differences(known, identity)
        )
        raise ValueError(
            f"{shown(out)} holds another dataset; it differs in {found or 'its format'}. Choose a "
            "new folder, or delete this one"
        )
    write_json(state, identity)


def _owner_of(out: Path, path: Path, fingerprint: str) -> dict[str, Any] | None:
    """Read the file that states which dataset a folder holds.

    A damaged file is removed if all shards belong to the dataset with the given fingerprint.

    Returns:
        The content, or None if the file was damaged and removed.

    Raises:
        ValueError: The file is damaged, and a shard belongs to another dataset.
    """
    try:
        known = read_document(path, "account", MANIFEST_REMEDY)
        if path.name == MANIFEST:
            require_manifest(known, path)
        return known
    except ValueError as error:
        foreign = [
            name
            for name in sorted(sizes(out / "data"))
            if shard_fingerprint(out / "data" / name) not in (None, fingerprint)
        ]
        if foreign:
            raise ValueError(
                f"{error}. The shard {foreign[0]} was made with another config or other inputs:"
                " choose a new folder, or delete this one"
            ) from None
        _log.warning("%s. This run writes the file again", error)
        remove(path)
        return None


def _differences(
    known: dict[str, Any], wanted: dict[str, Any], at: str = ""
) -> list[tuple[str, str, str]]:
    """Return up to five leaves in which two nested dictionaries differ: name and both values."""
    found: list[tuple[str, str, str]] = []
    for key in ("config", "inputs", "versions") if not at else sorted(known.keys() | wanted.keys()):
        one, other = known.get(key), wanted.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differences(one, other, f"{at}{key}.")
        elif one != other:
            found.append((f"{at}{key}", _brief(one), _brief(other)))
    return found[:5]


def _brief(value: Any) -> str:
    """Return the first 100 characters of a value; lists of inputs fill a page."""
    return shorten(repr(value), 100, placeholder=" ...")


def given_table(config: SynthesisConfig, folder: Path) -> Path | None:
    """Return the face table that a config names, or None if it names photographs.

    Args:
        config: The config.
        folder: The folder to which a relative path refers.
    """
    if not config.faces.endswith(".parquet"):
        return None
    return absolute(
        config.faces if is_address(config.faces) else folder / Path(config.faces).expanduser()
    )


def _face_table(
    config: SynthesisConfig, out: Path, workers: int | None, on_faces: OnFaces | None
) -> Path:
    """Return the path of the face table, after preparing it if the config names photographs."""
    given = given_table(config, Path.cwd())
    if given is not None:
        return given
    table = out / _FACES
    prepare_faces(
        open_face_source(config.faces),
        table,
        config.face_preparation,
        workers=workers,
        on_progress=on_faces,
    )
    return table
