"""Occurrences of each Action Unit by database and class, as in figure 3 of Dual-ATME."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import escape
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, AU_NAMES, AU_WORDS, parse_facs
from miex.datasets.clips.base import Clip
from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.labels import LABEL_SPACES, LabelSpace
from miex.pipeline.inside.canvas import LINE, Picture, svg_picture
from miex.pipeline.reports.samples import read_dataset
from miex.pipeline.reports.sheet import CLASS_COLOURS
from miex.pipeline.reports.statistics import ACTIVE_FROM, active_aus

_ROW, _TOP, _LABELS, _BARS, _NUMBER, _GAP = 24, 66, 210, 190, 78, 22
_ACROSS = 3
"""Number of databases per row."""

_LINE_LENGTH = 48
"""Number of characters that fit above the bars of a database."""


@dataclass(frozen=True, slots=True)
class AUCounts:
    """Occurrences of Action Units in one database.

    Attributes:
        name: Name of the database.
        samples: Number of coded clips or samples per class, ``int64 (C,)``.
        present: Number of those in which each AU occurs, ``int64 (C, 17)``.
        outside: Occurrences of AUs other than the 17, by FACS number.
        left_out: Number of clips that were not counted, by reason.
    """

    name: str
    samples: NDArray[np.int64]
    present: NDArray[np.int64]
    outside: Mapping[int, int]
    left_out: Mapping[str, int]


def count_clips(clips: Iterable[Clip], space: LabelSpace) -> list[AUCounts]:
    """Count the FACS codes of annotated clips.

    An AU counts as present whatever its side and intensity; ``R12 or R15`` counts for both AUs
    (`parse_facs`). Clips without codes, and clips whose emotion has no class, are not counted.

    Args:
        clips: Clips of any databases.
        space: Label space of the classes; a clip on the list of a challenge keeps the class of
            that list.

    Returns:
        The counts of each database, in the order of the clips.
    """
    found: dict[str, list[Clip]] = {}
    for clip in clips:
        found.setdefault(clip.database, []).append(clip)
    return [_of_database(name, some, space) for name, some in found.items()]


def _of_database(name: str, clips: Sequence[Clip], space: LabelSpace) -> AUCounts:
    samples = np.zeros(len(space.classes), np.int64)
    present = np.zeros((len(space.classes), AU_COUNT), np.int64)
    outside: Counter[int] = Counter()
    left_out: Counter[str] = Counter()
    for clip in clips:
        listed = clip.listed_label if space == LABEL_SPACES["three_class"] else None
        label = space.label(clip.emotion) if listed is None else listed
        if label is None:
            left_out["no class"] += 1
            continue
        if clip.aus is None:
            left_out["not coded"] += 1
            continue
        try:
            coding = parse_facs(clip.aus, "all")
        except ValueError:
            left_out["unreadable coding"] += 1
            continue
        samples[label] += 1
        present[label] += coding.presence
        outside.update({code.number for code in coding.outside})
    return AUCounts(name, samples, present, dict(sorted(outside.items())), dict(left_out))


def count_dataset(dataset: DatasetFolder) -> list[AUCounts]:
    """Count the Action Units of a synthetic dataset that rise by at least `ACTIVE_FROM`.

    Args:
        dataset: The dataset.

    Returns:
        The counts of each AU source.

    Raises:
        FileNotFoundError: A shard is missing.
        ValueError: A shard is damaged.
    """
    found = read_dataset(dataset)
    classes = dataset.manifest["label_space"]["classes"]
    labels = np.asarray(found.label, np.int64)
    active = active_aus(found.rises)
    sources = np.asarray(found.source)
    counts = []
    for source in sorted(set(found.source)):
        rows = [(sources == source) & (labels == label) for label in range(len(classes))]
        samples = np.array([row.sum() for row in rows], np.int64)
        present = np.stack([active[row].sum(0) for row in rows]).astype(np.int64)
        counts.append(AUCounts(f"synthesized, {source}", samples, present, {}, {}))
    return counts


def counts_picture(counts: Sequence[AUCounts], classes: Sequence[str]) -> Picture:
    """Draw the counts of several databases, each on its own scale.

    Args:
        counts: The counts of each database.
        classes: Names of the classes.
    """
    across = min(len(counts), _ACROSS)
    block = _TOP + _ROW * AU_COUNT + 34
    width = _GAP + _LABELS + across * (_BARS + _NUMBER + _GAP)
    parts: list[str] = []
    for number, each in enumerate(counts):
        line, column = divmod(number, _ACROSS)
        top = 34 + line * block
        if not column:
            parts += _names(top)
        parts += _bars(each, _GAP + _LABELS + column * (_BARS + _NUMBER + _GAP), top, classes)
    x = float(_GAP)
    for label, name in enumerate(classes):
        colour = CLASS_COLOURS[label % len(CLASS_COLOURS)]
        parts.append(f'<rect x="{x}" y="14" width="13" height="13" fill="{colour}"/>')
        parts.append(f'<text x="{x + 19}" y="25">{escape(name)}</text>')
        x += 36 + 7.4 * len(name)
    lines = -(-len(counts) // _ACROSS)
    size = (width, 34 + lines * block)
    return svg_picture("au_counts.svg", _caption(counts), size, parts)


def _names(top: float) -> list[str]:
    parts = []
    for au, (name, words) in enumerate(zip(AU_NAMES, AU_WORDS, strict=True)):
        y = top + _TOP + _ROW * au + 16
        parts.append(f'<text class="strong" x="{_GAP}" y="{y}">{name}</text>')
        parts.append(f'<text x="{_GAP + 52}" y="{y}">{words}</text>')
    return parts


def _bars(counts: AUCounts, left: float, top: float, classes: Sequence[str]) -> list[str]:
    total = int(counts.samples.sum())
    most = max(int(counts.present.sum(0).max()), 1)
    by_class = ", ".join(
        f"{name} {count:,}" for name, count in zip(classes, counts.samples, strict=True)
    )
    parts = [
        f'<text class="title" x="{left}" y="{top + 28}">{escape(counts.name)}</text>',
        f'<path d="M{left} {top + _TOP}v{_ROW * AU_COUNT}" stroke="{LINE}"/>',
    ]
    for place, line in enumerate(textwrap.wrap(f"{total:,}: {by_class}", _LINE_LENGTH)[:2]):
        y = top + 45 + 14 * place
        parts.append(f'<text class="small" x="{left}" y="{y}">{escape(line)}</text>')
    for au in range(AU_COUNT):
        y, x = top + _TOP + _ROW * au, left
        for label, name in enumerate(classes):
            count = int(counts.present[label, au])
            width = _BARS * count / most
            colour = CLASS_COLOURS[label % len(CLASS_COLOURS)]
            parts.append(
                f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="16" fill="{colour}">'
                f"<title>{AU_NAMES[au]}, {escape(name)}: {count:,}</title></rect>"
            )
            x += width
        count = int(counts.present[:, au].sum())
        if count:
            share = f"{count:,} ({100 * count / total:.0f} %)"
            parts.append(f'<text class="small" x="{x + 5:.1f}" y="{y + 16}">{share}</text>')
    return parts


def _caption(counts: Sequence[AUCounts]) -> str:
    text = (
        "Occurrences of each Action Unit by class. The share in brackets refers to the coded clips"
        " or to the synthesized samples. Bars are scaled to the most frequent AU of each database,"
        " so that shares, but not lengths, can be compared between databases. In synthesized"
        f" samples an AU counts as present if it rises by at least {ACTIVE_FROM:g}."
    )
    for each in counts:
        if each.outside:
            some = ", ".join(f"AU{number} {count}" for number, count in each.outside.items())
            text += f" {each.name} also contains {some}."
        if each.left_out:
            some = ", ".join(f"{count} {reason}" for reason, count in each.left_out.items())
            text += f" {each.name}, not counted: {some}."
    return text
