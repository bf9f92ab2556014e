"""Publish and export with progress, and print what was written where."""

from pathlib import Path

import typer

from miex.datasets.hub import require_repository
from miex.datasets.quantity import quantity
from miex.flows.terminal import Terminal
from miex.pipeline.sharing.push import Upload, prepare_upload
from miex.pipeline.sharing.push import push as publish
from miex.pipeline.sharing.webdataset import export_webdataset


def run_push(
    terminal: Terminal,
    place: Path,
    repository: str,
    dry_run: bool,
    public: bool,
    message: str,
    workers: int | None,
) -> None:
    """Verify, list and publish a dataset or a checkpoint.

    Raises:
        FileNotFoundError: Nothing there to publish, or the repository may not be written.
        ValueError: The name does not fit, or the Hub cannot be reached.
        typer.Exit: The dataset has problems; they are printed.
    """
    require_repository(repository)
    with terminal.stages() as stages:
        meter = stages.of("verify", "rows")
        upload = prepare_upload(place, workers=workers, on_rows=meter.advance)
    for problem in upload.problems:
        terminal.fail(f"{problem.where}: {problem.what}")
    if upload.problems:
        terminal.fail(f"{len(upload.problems)} problems in {place}; nothing was published")
        raise typer.Exit(1)
    _show_upload(terminal, upload, repository, public)
    if dry_run:
        terminal.tell("dry run: nothing was published")
        return
    with terminal.stages() as stages:
        meter = stages.of("push", "files")
        meter.to(0, len(upload.sizes()))
        address = publish(upload, repository, public=public, message=message)
        meter.to(len(upload.sizes()), len(upload.sizes()))
    terminal.tell(f"published: {address}")
    if upload.kind == "dataset":
        terminal.tell(f'  load_dataset("{repository}"), or hf://datasets/{repository} in miex')
    else:
        terminal.tell(f"  hf-hub:{repository}, wherever a checkpoint may be named")


def run_export(terminal: Terminal, folder: Path, out: Path, samples: int) -> None:
    """Export a dataset to WebDataset and print the shards.

    Raises:
        FileNotFoundError: The folder holds no finished dataset.
        FileExistsError: `out` holds other files.
        ValueError: A shard differs from the manifest.
    """
    with terminal.stages() as stages:
        meter = stages.of("export", "samples")
        shards = export_webdataset(folder, out, samples_per_shard=samples, on_samples=meter.advance)
    size = sum(path.stat().st_size for path in shards)
    terminal.tell(
        f"{quantity(meter.done, 'sample')} in {quantity(len(shards), 'shard')}, "
        f"{readable_size(size)}: {out}"
    )


def readable_size(count: int) -> str:
    """Return a number of bytes as text: ``12.3 MB``."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _show_upload(terminal: Terminal, upload: Upload, repository: str, public: bool) -> None:
    sizes = upload.sizes()
    rows = [(readable_size(size), name) for name, size in sizes.items()]
    visible = "public" if public else "private"
    kind = "dataset" if upload.kind == "dataset" else "checkpoint"
    terminal.table(f"{visible} {kind} {repository}", ("size", "file"), rows)
    terminal.tell(f"  {quantity(len(sizes), 'file')}, {readable_size(sum(sizes.values()))}")
    if upload.local_paths:
        terminal.tell(
            f"  folders of this machine stand in {', '.join(upload.local_paths)}; synthesize with"
            " relative paths if nobody shall read them"
        )
