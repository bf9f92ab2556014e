"""Run synthesis, face preparation and downloads with progress, and print their results."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from rich.markup import escape

from miex.datasets.dataset_format import SCHEMA, DatasetFolder, count_rejections, decode_frames
from miex.datasets.faces.base import open_face_source
from miex.datasets.quantity import quantity
from miex.datasets.storage import names_in, shown
from miex.flows.terminal import Terminal, reasons
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.prepare import prepare_faces
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.make_dataset import synthesize
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.job import Job
from miex.pipeline.synthesis.manifest import write_json
from miex.pipeline.synthesis.render import Rejection
from miex.pipeline.synthesis.run import redraw
from miex.pipeline.synthesis.source_notes import source_notes

if TYPE_CHECKING:
    from miex.datasets.faces.emotionnet_download import DownloadConfig


def run_synthesis(
    terminal: Terminal,
    config: SynthesisConfig,
    out: Path,
    workers: int | None,
    cluster: str | None = None,
) -> dict[str, Any]:
    """Make a dataset with progress.

    Returns:
        The manifest.
    """
    for line in source_notes(config):
        terminal.note(line)
    resumed = bool(names_in(out / "data"))
    with terminal.stages() as stages:

        def on_faces(done: int, total: int, _counts: dict[str, int]) -> None:
            stages.of("faces", "photographs").to(done, total)
            stages.announce("faces", "fewer photographs; they are prepared only once")

        def on_start(job: Job) -> None:
            stages.of("render", "samples").to(0, job.samples)

        def on_samples(count: int) -> None:
            nonlocal resumed
            stages.of("render", "samples").advance(count, timed=not resumed)
            stages.announce("render", "fewer samples or identities")
            resumed = False

        return synthesize(
            config,
            out,
            workers=workers,
            cluster=cluster,
            on_faces=on_faces,
            on_start=on_start,
            on_samples=on_samples,
            on_stage=stages.samples,
        )


def show_dataset(terminal: Terminal, out: Path, manifest: dict[str, Any]) -> None:
    """Print what a finished dataset contains, what was left out and why, and its files."""
    counts = manifest["counts"]
    terminal.say(
        f"[bold green]{quantity(counts['written'], 'sample')}[/], "
        f"{quantity(counts['frames'], 'frame')}, "
        f"{quantity(counts['identities'], 'identity')}"
    )
    for group in ("by_class", "by_source"):
        parts = ", ".join(f"{name} {number}" for name, number in counts[group].items())
        terminal.say(escape(f"  {group.replace('_', ' ')}: {parts}"))
    terminal.say(f"  redrawn because nothing moved: {counts['redrawn']}")
    left_out = {
        "faces left out": manifest["inputs"]["faces"]["rejections"],
        "samples left out": count_rejections(manifest),
    }
    for title, found in left_out.items():
        if found:
            terminal.table(title, ("count", "reason"), reasons(found))
    places = {
        "contact sheet": out / "sheet.png",
        "report": out / "report" / "index.html",
        "shards": out / "data",
        "manifest": out / "manifest.json",
        "card": out / "README.md",
    }
    for name, path in places.items():
        terminal.say(f"  {name:13} {escape(shown(path))}")
    again = escape(f"miex verify {shlex.quote(shown(out))}")
    terminal.say(f"Next: look at the contact sheet, then  {again}")


def run_faces(
    terminal: Terminal, photographs: str, config: FaceConfig, out: Path, workers: int | None
) -> FaceTable:
    """Prepare a face table and print what was left out.

    Raises:
        ValueError: The input is a face table already, or `out` is not a .parquet file.
        FileNotFoundError: There are no such photographs.
    """
    if photographs.endswith(".parquet"):
        raise ValueError(f"{photographs} is a face table already; name photographs")
    if out.suffix != ".parquet":
        raise ValueError(f"--out {out}: a face table ends in .parquet")
    with terminal.stages() as stages:

        def on_faces(done: int, total: int, _counts: dict[str, int]) -> None:
            stages.of("faces", "photographs").to(done, total)
            stages.announce("faces", "fewer photographs; they are prepared only once")

        table = prepare_faces(
            open_face_source(photographs),
            out,
            config,
            workers=workers,
            on_progress=on_faces,
        )
    identities = len(table.people)
    terminal.say(
        f"[bold green]{quantity(len(table), 'face')}[/] of "
        f"{quantity(identities, 'identity')} out of "
        f"{quantity(table.notes.photographs, 'photograph')}: {escape(shown(out))}"
    )
    if table.rejection_counts:
        terminal.table("left out", ("count", "reason"), reasons(table.rejection_counts))
        account = out.with_suffix(".json")
        write_json(account, {"left_out": [asdict(rejection) for rejection in table.rejections]})
        terminal.say(f"  all of them with reasons: {escape(shown(account))}")
    terminal.say(escape(f"Next: miex synthesize --faces {shlex.quote(shown(out))} --out out/miex"))
    return table


def run_download(
    terminal: Terminal, lists: list[Path], out: Path, config: "DownloadConfig", retry_failed: bool
) -> None:
    """Download EmotionNet's images and print which links failed.

    Raises:
        ValueError: A file is not a list of image URLs.
        FileNotFoundError: There is no such list.
    """
    # Imported here since `synthesize` and `faces` need no client for the network.
    from miex.datasets.faces.emotionnet_download import download_emotionnet

    with terminal.stages() as stages:

        def on_progress(done: int, total: int, _counts: dict[str, int]) -> None:
            stages.of("download", "links").to(done, total)
            stages.announce("download", "a part of the list, or --set threads=64")

        summary = download_emotionnet(lists, out, config, on_progress, retry_failed)
    terminal.say(
        f"[bold green]{summary.downloaded} images[/] downloaded, {summary.already_there} were "
        f"present, {sum(summary.failed.values())} of {summary.links} links failed"
    )
    if summary.failed:
        terminal.table("failed", ("count", "reason"), reasons(summary.failed))
    source = shlex.quote(f"emotionnet:{out}?lists={lists[0]}")
    terminal.say(escape(f"Next: miex faces {source} --out faces.parquet"))


def run_redraw(terminal: Terminal, folder: Path, sample_id: str) -> bool:
    """Render one sample again from its seed, and compare it with the row in its shard.

    Returns:
        Whether the two are equal in every column.

    Raises:
        KeyError: The dataset has no such sample.
    """
    stored = DatasetFolder.open(folder).row(sample_id)
    again = redraw(folder, sample_id)
    if isinstance(again, Rejection):
        terminal.fail(f"{sample_id} is rejected now: {again.reason} ({again.detail})")
        return False
    # Shards store 32-bit numbers.
    again = pa.Table.from_pylist([again], schema=SCHEMA).to_pylist()[0]
    different = [name for name in stored if stored[name] != again[name]]
    if different:
        pixels = not np.array_equal(decode_frames(stored), decode_frames(again))
        terminal.fail(
            f"{sample_id} differs from its shard in {', '.join(different)}; "
            f"its pixels are {'different' if pixels else 'equal'}"
        )
        return False
    terminal.say(f"[green]ok[/] {sample_id}: rendered again from its seed, equal in every column")
    return True
