"""Run the commands on AUs and clips with progress, and print their results."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.markup import escape

from miex.au_sources.action_units import AU_NAMES
from miex.au_sources.base import open_source
from miex.au_sources.extraction import ACCOUNT_SUFFIX, Extraction
from miex.au_sources.pool import AUPool
from miex.datasets.clips.base import open_clips
from miex.datasets.clips.report import markdown, summary
from miex.datasets.config import build
from miex.datasets.files import whole_file
from miex.datasets.labels import parse_emotion
from miex.datasets.quantity import quantity
from miex.flows.terminal import Terminal, reasons
from miex.pipeline.aus.calibration import calibrate
from miex.pipeline.aus.extraction import AUExtractionConfig, extract_aus
from miex.pipeline.reports.pool_comparison import compare, draw_pool, overshoots, too_many
from miex.pipeline.reports.references import REAL_AUS_PER_CLIP


def run_extraction(terminal: Terminal, config: AUExtractionConfig, out: Path) -> Extraction:
    """Extract a pool with progress, and print what was left out and why."""
    with terminal.stages() as stages:

        def on_clip(done: int, total: int) -> None:
            stages.of("clips", "clips").to(done, total)
            stages.announce("clips", "-e facs, which takes the AUs of the coders without images")

        extraction = extract_aus(config, out, on_clip)
    terminal.say(
        f"[bold green]{quantity(len(extraction.pool), 'AU pair')}[/] of "
        f"{quantity(extraction.counts['clips'], 'clip')}: {escape(str(out))}"
    )
    for name, count in extraction.counts.items():
        if name not in ("clips", "pairs") and count:
            terminal.say(f"  {name}: {count}")
    if extraction.rejections:
        terminal.table("left out", ("count", "reason"), reasons(extraction.reasons))
    terminal.say(f"  account of every clip: {escape(str(out.with_suffix(ACCOUNT_SUFFIX)))}")
    terminal.say(
        f"Next: miex pool describe {shlex.quote(str(out))}, then "
        f"miex synthesize --source {shlex.quote(f'pool:{out}')} --source expert:miex"
    )
    return extraction


def demo_pool(terminal: Terminal, out: Path) -> Path:
    """Extract a pool from early frames of the sample video, beside the demo's folder.

    It holds changes from the onset, because landmarks alone measure the shape of a face as an
    expression. The shipped calibration is not used, since its map is nearly flat at the beginning
    of an expression: AU12 is 0.6 and 1.0 in frames 19 and 20, where OpenFace's regressors measure
    1.5 and 2.2.

    Args:
        terminal: Where to show progress.
        out: Dataset folder of the demo.

    Returns:
        The pool.
    """
    pool = out.with_name(f"{out.name}-early-mae.parquet")
    values = {"source": "early_mae", "calibration": "none"}
    config = build(AUExtractionConfig, values | {"window": 3, "relative": True})
    with terminal.stages() as stages:

        def on_clip(done: int, total: int) -> None:
            stages.of("AUs", "videos").to(done, total)

        extract_aus(config, pool, on_clip)
    return pool


def run_clips(terminal: Terminal, database: str, frames: bool, out: Path | None) -> None:
    """Print what a reader found, repaired and left out; write the whole report into `out`."""
    report = open_clips(database, frames=frames).report()
    terminal.say(escape(summary(report)))
    for title, counts in (
        ("emotions", report.emotions),
        ("where the apex comes from", report.apex_rules),
        ("peculiarities", report.notes),
        ("repaired", Counter(f"{repair.field}: {repair.reason}" for repair in report.repairs)),
        ("left out", Counter(rejection.reason for rejection in report.rejections)),
    ):
        if counts:
            terminal.table(title, ("clips", title), reasons(counts))
    for reason in dict.fromkeys(rejection.reason for rejection in report.rejections):
        first = next(one for one in report.rejections if one.reason == reason)
        terminal.say(escape(f"  {reason}, for instance {first.origin}: {first.detail}"))
    if out is not None:
        with whole_file(out) as temporary:
            temporary.write_text(markdown(report), encoding="utf-8")
        terminal.say(f"every repair and every clip left out: {escape(str(out))}")


def run_calibration(
    terminal: Terminal,
    spec: str,
    reference: str,
    photographs: str,
    out: Path,
    device: str,
    download: bool,
) -> None:
    """Fit a calibration, and print the quality of the map of each AU."""
    with terminal.stages() as stages:

        def on_faces(done: int, total: int) -> None:
            stages.of("faces", "photographs").to(done, total)
            stages.announce("faces", "fewer photographs")

        calibration, rejections = calibrate(
            spec, reference, photographs, out, device=device, download=download, on_faces=on_faces
        )
    rows = [
        (
            name,
            f"{one.correlation:.2f}{' weak' if one.weak else ''}",
            f"{one.mae:.2f}",
            f"{one.lowest:.2f}-{one.highest:.2f}",
            str(one.pairs),
        )
        for name, one in calibration.maps.items()
    ]
    rows += [(name, why, "", "", "") for name, why in calibration.left_out.items()]
    columns = ("AU", "correlation", "mean error", "valid from-to", "faces")
    terminal.table("cross-validated over identities", columns, rows)
    if rejections:
        counts = Counter(rejection.reason for rejection in rejections)
        terminal.table("left out", ("count", "reason"), reasons(counts))
    terminal.say(f"calibration: {escape(str(out))}")
    terminal.say(f"Next: miex extract-aus ... --estimator {spec} --calibration {out}")


def _open_pools(texts: Sequence[str]) -> dict[str, AUPool]:
    """Return pools by name, read from files or drawn from expert tables (`expert:NAME`).

    Raises:
        FileNotFoundError: There is no such file or table.
        ValueError: A file is not a pool, or two pools have the same name.
    """
    pools: dict[str, AUPool] = {}
    for text in texts:
        if text.startswith("expert:"):
            name, pool = text, draw_pool(open_source(text))
        else:
            path = Path(text.removeprefix("pool:"))
            name, pool = path.stem, AUPool.read(path)
        if name in pools:
            raise ValueError(f"{text}: two pools have the name {name!r}; rename one of the files")
        pools[name] = pool
    return pools


def show_pools(terminal: Terminal, texts: Sequence[str], threshold: float) -> None:
    """Print statistics of pools beside the published counts of real micro-expressions."""
    pools = _open_pools(texts)
    for name, pool in pools.items():
        found = pool.describe(threshold)
        subjects = len({key for key in pool.subjects if key})
        terminal.say(
            f"[bold]{escape(name)}[/]: {quantity(found.pairs, 'pair')} of "
            f"{quantity(subjects, 'subject')}, "
            f"{found.null_pairs} without change, {found.distinct} distinct, {found.tracks} with "
            "the AUs of the frames between"
        )
        for title, counts in (
            ("source", found.by_source),
            ("database", found.by_dataset),
            ("emotion", found.by_emotion),
        ):
            terminal.say(escape(f"  {title}: {_listed(counts)}"))
    columns = compare(pools, threshold)
    head = ("", *(column.name for column in columns))
    rows = [("AUs per clip", *(f"{column.aus_per_clip:.2f}" for column in columns))]
    rows += [
        (name, *(_share(column.shares[au]) for column in columns))
        for au, name in enumerate(AU_NAMES)
    ]
    terminal.table(
        f"share of the clips in which an AU rises by {threshold:g} or more",
        head,
        rows,
    )
    for overshoot in overshoots(columns):
        terminal.say(f"[yellow]too often[/] {escape(str(overshoot))}")
    for column in too_many(columns):
        terminal.say(
            f"[yellow]too many[/] {escape(column.name)}: {column.aus_per_clip:.2f} AUs per clip, "
            f"real databases have {REAL_AUS_PER_CLIP[0]:.2f} to {REAL_AUS_PER_CLIP[1]:.2f}"
        )


def _share(share: float | None) -> str:
    return "-" if share is None or np.isnan(share) else f"{100 * share:.1f}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def merge_pools(terminal: Terminal, paths: Sequence[Path], out: Path) -> None:
    """Write the pairs of several pools into one.

    Raises:
        ValueError: Two of them are the same, so that their pairs would count twice.
    """
    pools: dict[str, Path] = {}
    for path in paths:
        content = AUPool.read(path).sha256
        if content in pools:
            raise ValueError(
                f"{path} and {pools[content]} contain the same pairs; give one of them"
            )
        pools[content] = path
    merged = AUPool.merge([AUPool.read(path) for path in paths])
    _write(terminal, merged, out)


def filter_pool(
    terminal: Terminal,
    path: Path,
    out: Path,
    subjects: Sequence[str],
    exclude: Sequence[str],
    emotions: Sequence[str],
) -> None:
    """Write a selection of the pairs of a pool.

    Args:
        terminal: Where to print the number of pairs.
        path: The pool.
        out: The pool to write.
        subjects: Keep only these, each ``DATABASE:SUBJECT``; all if empty.
        exclude: Leave these subjects out, for instance those of a test fold.
        emotions: Keep only these; all if empty.

    Raises:
        ValueError: The pool has no such subject, an emotion is unknown, or no pair is left.
    """
    pool = AUPool.read(path)
    known = {key for key in pool.subjects if key}
    kept = pool.filter(
        subjects=[_subject(text, known) for text in subjects] or None,
        exclude_subjects=[_subject(text, known) for text in exclude],
        emotions=[parse_emotion(text) for text in emotions] or None,
    )
    if not len(kept):
        raise ValueError(
            f"{path}: none of the {len(pool)} pairs is left; remove some of --subject, "
            "--exclude and --emotion"
        )
    _write(terminal, kept, out)


def _subject(text: str, known: set[tuple[str, str]]) -> tuple[str, str]:
    database, _, subject = text.partition(":")
    if (database, subject) not in known:
        examples = ", ".join(":".join(key) for key in sorted(known)[:3])
        raise ValueError(
            f"{text!r} is not a subject of the pool; write DATABASE:SUBJECT, as {examples}"
        )
    return database, subject


def _write(terminal: Terminal, pool: AUPool, out: Path) -> None:
    if out.suffix != ".parquet":
        raise ValueError(f"{out}: an AU pool ends in .parquet")
    pool.write(out)
    subjects = len({key for key in pool.subjects if key})
    terminal.say(
        f"[bold green]{quantity(len(pool), 'AU pair')}[/] of {quantity(subjects, 'subject')}: "
        f"{escape(str(out))}"
    )
