"""Prepare what the template of a report shows."""

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miex.au_sources.action_units import AU_NAMES, AU_WORDS, format_aus
from miex.datasets.dataset_format import RUN_LOG, DatasetFolder, count_rejections
from miex.datasets.documents import read_document
from miex.pipeline.reports import charts, maps
from miex.pipeline.reports.comparison import MEASURE_WORDS, Compared, measures_of
from miex.pipeline.reports.evidence import Evidence, Finding
from miex.pipeline.reports.face_statistics import Faces
from miex.pipeline.reports.gallery import image_uri
from miex.pipeline.reports.pixels import COMPARED, Pixels
from miex.pipeline.reports.plots.base import Plots
from miex.pipeline.reports.references import PUBLISHED, REAL_AUS_PER_CLIP, Published
from miex.pipeline.reports.samples import Samples
from miex.pipeline.reports.selection import read_rows
from miex.pipeline.reports.sheet import CLASS_COLOURS
from miex.pipeline.reports.statistics import (
    ACTIVE_FROM,
    ALL,
    Bar,
    GroupStatistics,
    Summary,
    counts_of,
    histogram,
    summarise,
)

_LISTED_REJECTIONS = 20
_EXTREMES = 3
"""Samples shown at each end of a measure."""

_THUMBNAIL = 160
"""Longest side of their pictures, pixels; larger frames would make the page too large."""

_COMPARED_ROWS = 25

_MEASURE_NOTES = {
    "motion": "Mean length of the optical flow from onset to apex, fastest 5 % of the pixels.",
    "motion_iod": "The same in distances between the eyes, which does not depend on the size.",
    "psnr": "Peak signal-to-noise ratio between onset and apex: low where they differ much.",
    "ssim": "Structural similarity (Wang et al. 2004) between onset and apex, 1 where equal.",
    "identity_similarity": "Cosine between the embeddings of apex and template.",
    "au_fidelity": "Correlation of requested and re-estimated AU change.",
}

_MEASURE_IDS = {"identity_similarity": "identity", "au_fidelity": "fidelity"}

_QUALITY_WORDS = {
    "yaw": ("Yaw", "degrees"),
    "pitch": ("Pitch", "degrees"),
    "roll": ("Roll", "degrees"),
    "face_size": ("Distance of the eyes in the photograph", "pixels"),
    "sharpness": ("Sharpness", "variance of the Laplacian"),
}


def content(
    evidence: Evidence,
    findings: Sequence[Finding],
    other: tuple[Samples, Pixels | None] | None,
    compared: Sequence[Compared],
    plots: Plots,
) -> dict[str, Any]:
    """Return everything that `report.html` asks for."""
    samples, groups = evidence.samples, evidence.groups
    whole = groups[ALL, ALL]
    measures = _measures(evidence, other)
    manifest = None if samples.dataset is None else samples.dataset.manifest
    shown = {"findings", "counts", "aus", "intensity", "co-occurrence", "cardinality", "coverage"}
    shown |= {"samples", "faces", "run", *(entry["id"] for entry in measures)}
    if manifest is None:
        shown -= {"samples", "faces"}
    return {
        "samples": samples,
        "manifest": manifest,
        "findings": findings,
        # A finding about motion in pools, which have no pictures, is shown by their AUs.
        "links": {f.key: f.link if f.link in shown else "intensity" for f in findings},
        "whole": whole,
        "mean_aus": whole.mean_active if len(samples) else 0.0,
        "median": {entry["name"]: entry["summary"].median for entry in measures},
        "real": [*evidence.real, *evidence.beside],
        "signs": [charts.mark(place, 0, 0) for place in range(charts.MARKS)],
        "real_mean": REAL_AUS_PER_CLIP,
        "active_from": ACTIVE_FROM,
        "groups": list(groups.values()),
        "class_groups": [g for g in groups.values() if g.source == ALL and g.emotion != ALL],
        "panels": _panels(evidence) if len(samples) else [],
        "aus": list(zip(AU_NAMES, AU_WORDS, strict=True)),
        "numbers_of_aus": range(max(5, int(np.flatnonzero(whole.cardinality)[-1]) + 1))
        if len(samples)
        else range(5),
        "plots": plots.drawn,
        "plot_problems": plots.problems,
        "coverage": evidence.coverage,
        "coverage_plot": _coverage_plot(evidence),
        "combinations": _combinations(evidence),
        "classes": samples.classes,
        "colours": CLASS_COLOURS,
        "tables": _count_tables(samples, manifest),
        "measures": measures,
        "pixels": evidence.pixels,
        "most_compared": COMPARED,
        "attempts": sorted(Counter(samples.attempt.tolist()).items()),
        "faces": evidence.faces,
        "face_charts": _face_charts(evidence.faces),
        "samples_of_identity": summarise(list(evidence.faces.samples_of.values())),
        "other": None if other is None else other[0],
        "compared": compared[:_COMPARED_ROWS],
        "all_compared": len(compared),
        **(_manifest_content(samples.dataset) if samples.dataset is not None else {}),
    }


def _manifest_content(dataset: DatasetFolder) -> dict[str, Any]:
    manifest, run = dataset.manifest, dataset.folder / RUN_LOG
    return {
        "counts": manifest["counts"],
        "config_json": json.dumps(manifest["config"], indent=2, ensure_ascii=False),
        "bytes": sum(shard["bytes"] for shard in manifest["shards"]),
        "rejected": count_rejections(manifest),
        "rejections": list(islice(dataset.rejections(), _LISTED_REJECTIONS)),
        "run": _run_figures(run, manifest) if run.is_file() else [],
    }


def _run_figures(path: Path, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the entries of `run.json` as words and values, and frames per second."""
    try:
        run = read_document(path, "log of the run", "it is not needed", must_be_sealed=False)
    except (ValueError, OSError):
        return [("note", "the log of the run is damaged")]
    figures = _flat(run, "")
    seconds = run.get("seconds")
    render = seconds.get("render") if isinstance(seconds, Mapping) else None
    if (
        isinstance(render, int | float)
        and render
        and run.get("samples") == manifest["counts"]["written"]
    ):
        figures.append(("frames per second", f"{manifest['counts']['frames'] / render:,.0f}"))
    return figures


def _flat(entries: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    figures: list[tuple[str, str]] = []
    for name, value in entries.items():
        words = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            figures += _flat(value, f"{words}: ")
        else:
            figures.append((words, f"{value:,}" if isinstance(value, int | float) else str(value)))
    return figures


def _panels(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the AU plots of every group; the page shows one group at a time."""
    groups = list(evidence.groups.values())
    real = [*evidence.real, *evidence.beside]
    known = [s for database in real for s in database.shares if s is not None]
    top = min(1.0, max([*known, *(float(np.nanmax(g.share)) for g in groups if _any(g))]) + 0.04)
    quantiles = [s.quantiles[-1] for g in groups for s in g.intensity if s.count]
    strongest = max([1.0, *quantiles]) * 1.05
    return [
        {
            "name": _group_name(group),
            "samples": group.samples,
            "mean": group.mean_active,
            **_drawn(group, _group_name(group), real, top, strongest),
        }
        for group in groups
    ]


def _drawn(
    group: GroupStatistics, name: str, real: Sequence[Any], top: float, strongest: float
) -> dict[str, Any]:
    return {
        "bars": charts.both(lambda frame: charts.au_bars(group, real, top, name, frame)),
        "boxes": charts.both(lambda frame: charts.intensity_boxes(group, strongest, name, frame)),
        "together": charts.both(lambda frame: maps.co_occurrence(group, name, frame)),
    }


def _any(group: GroupStatistics) -> bool:
    return bool((group.measured > 0).any())


def _group_name(group: GroupStatistics) -> str:
    named = [name for name in (group.source, group.emotion) if name != ALL]
    return ": ".join(named) or "all samples"


def _coverage_plot(evidence: Evidence) -> Any:
    samples, coverage = evidence.samples, evidence.coverage
    names = dict.fromkeys([*samples.classes, *samples.emotion])
    order = {name: number for number, name in enumerate(names)}
    kinds = [order[samples.emotion[row]] % len(CLASS_COLOURS) for row in coverage.shown.tolist()]
    titles = [
        f"{samples.emotion[row]}, {samples.source[row]}: "
        f"{format_aus(np.nan_to_num(samples.apex[row]))}"
        for row in coverage.shown.tolist()
    ]
    words = [
        f"{maps.direction_words(axis)} ({share:.0%} of the variance)"
        for axis, share in zip(coverage.axes, coverage.explained, strict=True)
    ]
    label = "AU changes of the samples, projected on the two directions of largest variance"
    return maps.scatter(coverage.points, kinds, titles, (words[0], words[1]), label)


def _combinations(evidence: Evidence) -> list[tuple[str, int]]:
    return [
        (" + ".join(n for au, n in enumerate(AU_NAMES) if code >> au & 1) or "no AU", count)
        for code, count in evidence.coverage.most_frequent
    ]


def _count_tables(
    samples: Samples, manifest: Mapping[str, Any] | None
) -> list[tuple[str, Mapping[str, int], bool]]:
    """Return (title, counts, verbatim) of each table of what there is."""
    if manifest is not None:
        counts = manifest["counts"]
        return [
            ("Class", counts["by_class"], False),
            ("Emotion", counts["by_emotion"], False),
            ("AU source", counts["by_source"], True),
        ]
    return [
        ("Class", counts_of(samples.emotion), False),
        ("Emotion", counts_of(samples.fine), False),
        ("AU source", counts_of(samples.source), True),
    ]


def _measures(
    evidence: Evidence, other: tuple[Samples, Pixels | None] | None
) -> list[dict[str, Any]]:
    samples = evidence.samples
    second = {} if other is None else measures_of(*other)
    emotion = np.array(samples.emotion, dtype=object)
    entries = []
    for name, values in measures_of(samples, evidence.pixels).items():
        words, unit = MEASURE_WORDS[name]
        summary, bars = summarise(values), histogram(values)
        outline = (other[0].name, histogram(second[name])) if other and name in second else None
        title = f"{words} in {unit}" if name.startswith("motion") else words
        published = PUBLISHED.get(name, ())
        entries.append(
            {
                "name": name,
                "id": _MEASURE_IDS.get(name, name.replace("_", "-")),
                "title": title,
                "unit": unit,
                "note": _MEASURE_NOTES[name],
                "summary": summary,
                "chart": _histogram(bars, summary, (unit, title), published, outline),
                "published": published,
                "by_class": [
                    (kind, summarise(values[emotion == kind]))
                    for kind in samples.classes
                    if (emotion == kind).any()
                ],
                "extremes": _extremes(samples, values) if name != "motion_iod" else [],
            }
        )
    return entries


def _histogram(
    bars: Sequence[Bar],
    summary: Summary,
    words: tuple[str, str],
    published: Sequence[Published],
    other: tuple[str, Sequence[Bar]] | None,
) -> Any:
    """Draw a histogram for wide pages and for phones; `words` are unit and label."""
    return charts.both(
        lambda frame: charts.histogram_chart(bars, summary, *words, published, other, frame)
    )


def _extremes(samples: Samples, values: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Return the samples with the lowest and with the highest values, with their pictures."""
    if samples.dataset is None:
        return []
    known = np.flatnonzero(~np.isnan(values))
    ordered = known[np.argsort(values[known], kind="stable")].tolist()
    lowest, highest = ordered[:_EXTREMES], ordered[_EXTREMES:][-_EXTREMES:][::-1]
    numbers = sorted({*lowest, *highest})
    rows = dict(zip(numbers, read_rows(samples.dataset, numbers, _SHOWN), strict=True))
    return [
        {"words": words, "samples": [_picture(rows[n], values[n]) for n in chosen]}
        for words, chosen in (("Lowest", lowest), ("Highest", highest))
        if chosen
    ]


_SHOWN = ("sample_id", "emotion", "label", "aus", "apex_index", "frames", "identity")


def _picture(row: Mapping[str, Any], value: float) -> dict[str, Any]:
    frames = row["frames"]
    return {
        "onset": _thumbnail(frames[0]["bytes"]),
        "apex": _thumbnail(frames[row["apex_index"]]["bytes"]),
        "value": value,
        "sample_id": row["sample_id"],
        "emotion": row["emotion"],
        "colour": CLASS_COLOURS[row["label"] % len(CLASS_COLOURS)],
        "aus": format_aus(np.nan_to_num(np.array(row["aus"][row["apex_index"]], np.float32))),
    }


def _thumbnail(encoded: bytes) -> str:
    """Return the image, reduced if it is large; empty if it cannot be read."""
    try:
        stored = Image.open(io.BytesIO(encoded))
        if max(stored.size) <= _THUMBNAIL:
            return image_uri(encoded)
        image = stored.convert("RGB")
        image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    except OSError:
        return "data:,"
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=90)
    return image_uri(buffer.getvalue())


def _face_charts(faces: Faces) -> list[tuple[str, Any]]:
    return [
        # Three stand side by side: each has the width of a phone.
        (
            words,
            charts.histogram_chart(
                histogram(values, 24), summarise(values), unit, words, frame=charts.NARROW
            ),
        )
        for name, (words, unit) in _QUALITY_WORDS.items()
        if name in faces.qualities and not np.isnan(values := faces.qualities[name]).all()
    ]
