"""Publication of datasets and checkpoints on the Hugging Face Hub."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from miex.datasets.dataset_format import MANIFEST, DatasetFolder
from miex.datasets.hub import (
    GENERATOR_FILE,
    RECOGNIZER_FILE,
    endpoint,
    require_repository,
    unreachable,
)
from miex.pipeline.reports.animation import FLIP
from miex.pipeline.sharing.cards import generator_card, recognizer_card
from miex.pipeline.synthesis.verify import Problem, verify

Kind = Literal["dataset", "model"]

_WITH_DATASET = ("sheet.png", FLIP, "report")
"""Files and folders of a dataset that are published beside card, manifest and shards."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What is published.

    Attributes:
        kind: Kind of the repository.
        files: Local files by their path in the repository.
        texts: Texts that are written for the repository, by path.
        problems: What is wrong with a dataset, which then is not published.
        local_paths: Published texts that name a folder of this machine.
    """

    kind: Kind
    files: dict[str, Path]
    texts: dict[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    local_paths: tuple[str, ...] = ()

    def sizes(self) -> dict[str, int]:
        """Return the size of each file in bytes, by path in the repository."""
        sizes = {name: len(text.encode()) for name, text in self.texts.items()}
        sizes |= {name: path.stat().st_size for name, path in self.files.items()}
        return dict(sorted(sizes.items()))


def prepare_upload(
    place: Path, *, workers: int | None = None, on_rows: Callable[[int], None] | None = None
) -> Upload:
    """Collect what is published of a dataset or of a checkpoint, and verify it.

    A dataset is published as card, manifest, shards, contact sheet and report; other files in its
    folder stay here. A checkpoint is published with a card that says what it was trained on.

    Args:
        place: Folder of a dataset or of a training, or a checkpoint of a recognizer or generator.
        workers: Threads of the verification.
        on_rows: Called with the number of rows verified since the last call.

    Raises:
        FileNotFoundError: Nothing there that can be published.
        ValueError: The manifest or the checkpoint is damaged, or its training is unfinished.
    """
    if (place / MANIFEST).is_file():
        return _dataset(place, workers, on_rows)
    checkpoint = place / RECOGNIZER_FILE if place.is_dir() else place
    if not checkpoint.is_file():
        raise FileNotFoundError(
            f"{place} holds neither a finished dataset ({MANIFEST}) nor a checkpoint"
            f" ({RECOGNIZER_FILE}); give the folder of `miex synthesize` or `miex pretrain`, or a"
            " checkpoint file"
        )
    return _checkpoint(checkpoint)


def push(upload: Upload, repository: str, *, public: bool = False, message: str = "") -> str:
    """Publish in one commit, into a private repository unless told otherwise.

    Args:
        upload: What `prepare_upload` collected.
        repository: ``USER/NAME``; created if it does not exist.
        public: Whether everybody may read a new repository.
        message: Message of the commit.

    Returns:
        Address of the repository.

    Raises:
        FileNotFoundError: The repository may not be written.
        ValueError: The upload has problems, the name of the repository does not fit, it is public
            and `public` is false, or the Hub refused or cannot be reached.
    """
    require_repository(repository)
    if upload.problems:
        raise ValueError(
            f"{len(upload.problems)} problems found, nothing was published; `miex verify` lists"
            " them"
        )
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=endpoint())
    sources: dict[str, Any] = {**upload.files}
    sources |= {name: text.encode() for name, text in upload.texts.items()}
    operations = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=source)
        for name, source in sorted(sources.items())
    ]
    try:
        address = api.create_repo(
            repository, repo_type=upload.kind, private=not public, exist_ok=True
        )
        if not public and not api.repo_info(repository, repo_type=upload.kind).private:
            raise ValueError(
                f"{repository} exists and is public; give --public to publish there, or another"
                " name"
            )
        api.create_commit(
            repository,
            operations,
            commit_message=message or f"Push {len(operations)} files with miex",
            repo_type=upload.kind,
        )
    except Exception as error:
        raise unreachable(error, repository) from None
    return str(address)


def _dataset(folder: Path, workers: int | None, on_rows: Callable[[int], None] | None) -> Upload:
    problems = verify(folder, workers=workers, on_rows=on_rows)
    dataset = DatasetFolder.open(folder, unchecked=True)
    card = folder / "README.md"
    if not card.is_file():
        raise FileNotFoundError(
            f"{card} is missing: the dataset card; start the same `miex synthesize` command again"
        )
    files = {MANIFEST: folder / MANIFEST, "README.md": card}
    files |= {path.relative_to(folder).as_posix(): path for path in dataset.shards}
    for name in _WITH_DATASET:
        beside = folder / name
        for path in sorted(beside.rglob("*")) if beside.is_dir() else [beside]:
            if path.is_file():
                files[path.relative_to(folder).as_posix()] = path
    return Upload("dataset", files, problems=tuple(problems), local_paths=_local_paths(files))


def _checkpoint(path: Path) -> Upload:
    from miex.generators.ganimation.checkpoint import load_checkpoint as load_generator
    from miex.pipeline.recognition.checkpoint import load_checkpoint

    try:
        found = load_checkpoint(path)
    except ValueError as not_a_recognizer:
        try:
            generator = load_generator(path)
        except ValueError:
            raise not_a_recognizer from None
        notes = path.with_suffix(".md")
        written = notes.read_text("utf-8") if notes.is_file() else ""
        name = GENERATOR_FILE if path.suffix == ".safetensors" else path.name
        text = generator_card(generator, written)
        return Upload("model", {name: path}, {"README.md": text})
    if found.progress is not None:
        raise ValueError(
            f"{path} is of a training that was interrupted after {found.progress.step} steps;"
            " finish it first: start the same command again"
        )
    return Upload("model", {RECOGNIZER_FILE: path}, {"README.md": recognizer_card(found.card)})


def _local_paths(files: dict[str, Path]) -> tuple[str, ...]:
    """Return published texts in which a folder of this user stands."""
    home = str(Path.home())
    here = {home, str(Path.cwd())} - {"/"}
    return tuple(
        name
        for name, path in files.items()
        if path.suffix in (".json", ".md", ".html", ".csv")
        and any(f"{folder}/" in path.read_text("utf-8", "replace") for folder in here)
    )
