"""Make the report of a database of clips, and write it as text."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from miex.datasets.base import Rejection
from miex.datasets.clips.base import Clip, ClipReport, Repair
from miex.datasets.quantity import quantity


def make_report(
    database: str,
    root: Path,
    sheet: Path | None,
    images: Path | None,
    published: int | None,
    clips: Sequence[Clip],
    repairs: Sequence[Repair],
    rejections: Sequence[Rejection],
) -> ClipReport:
    """Count what a reader found; the arguments are the attributes of `ClipReport`."""
    frames = [len(clip.numbers()) for clip in clips if clip.frames is not None]
    spans = [clip.offset - clip.onset + 1 for clip in clips if clip.frames is not None]
    return ClipReport(
        database=database,
        root=str(root),
        sheet=None if sheet is None else str(sheet),
        images=None if images is None else str(images),
        published=published,
        listed=len(clips) + len(rejections),
        clips=len(clips),
        frames=sum(frames),
        frames_missing=sum(spans) - sum(frames),
        apex_rules=_counts(str(clip.apex_rule) for clip in clips),
        emotions=_counts(str(clip.emotion) for clip in clips),
        subjects=_counts(clip.subject for clip in clips),
        notes=_counts(note for clip in clips for note in clip.notes),
        repairs=tuple(repairs),
        rejections=tuple(rejections),
    )


def summary(report: ClipReport) -> str:
    """Return one line: ``casme2: 253 of 255 clips, 26 subjects, 16,870 frames; 2 left out``."""
    parts = [
        f"{report.clips:,} of {quantity(report.listed, 'clip')}, "
        f"{quantity(len(report.subjects), 'subject')}"
        + (f", {quantity(report.frames, 'frame')}" if report.images else ", no frames opened")
    ]
    if report.repairs:
        parts.append(f"{quantity(len(report.repairs), 'value')} repaired")
    if report.rejections:
        reasons = _counts(rejection.reason for rejection in report.rejections)
        parts.append(f"{len(report.rejections)} left out ({_listed(reasons)})")
    return f"{report.database}: " + "; ".join(parts)


def markdown(report: ClipReport) -> str:
    """Return the report as Markdown: counts, then every repair and every clip left out."""
    rows = [
        ("folder", report.root),
        ("annotation", report.sheet or "names of folders and files"),
        ("frames", report.images or "not opened"),
        ("clips listed", f"{report.listed:,}" + _against(report.listed, report.published)),
        ("clips read", f"{report.clips:,}"),
        ("frames there", f"{report.frames:,}"),
        ("frames missing between onset and offset", f"{report.frames_missing:,}"),
        ("values repaired", f"{len(report.repairs):,}"),
        ("clips left out", f"{len(report.rejections):,}"),
    ]
    parts = [f"# {report.database}", _table(("", ""), rows)]
    for title, counts in (
        ("Emotions", report.emotions),
        ("Where the apex comes from", report.apex_rules),
        ("Peculiarities", report.notes),
        (f"Subjects ({len(report.subjects)})", report.subjects),
    ):
        if counts:
            parts.append(f"## {title}")
            parts.append(_table(("", "clips"), [(k, f"{v:,}") for k, v in counts.items()]))
    if report.repairs:
        repaired = [
            (r.origin, r.field, "-" if r.old is None else str(r.old), str(r.new), r.reason)
            for r in report.repairs
        ]
        parts.append("## Repaired")
        parts.append(_table(("clip", "field", "was", "is", "why"), repaired))
    if report.rejections:
        left_out = [(r.origin, r.reason, r.detail) for r in report.rejections]
        parts.append("## Left out")
        parts.append(_table(("clip", "reason", "detail"), left_out))
    return "\n\n".join(parts) + "\n"


def _against(listed: int, published: int | None) -> str:
    if published is None:
        return ""
    return " (as published)" if listed == published else f" (published: {published:,})"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
        for line in lines
    )


def _counts(values: Iterable[str]) -> dict[str, int]:
    """Return counts, most frequent first, ties by name."""
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
