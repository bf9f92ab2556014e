"""Write the report on a dataset or on AU pools: one offline HTML file, and its numbers."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.files import whole_file
from miex.pipeline.reports import charts
from miex.pipeline.reports.comparison import (
    Compared,
    category_divergence,
    compare_samples,
    measures_of,
)
from miex.pipeline.reports.evidence import Evidence, Finding
from miex.pipeline.reports.face_statistics import read_faces
from miex.pipeline.reports.findings import find
from miex.pipeline.reports.gallery import gallery_section
from miex.pipeline.reports.numbers import (
    au_rows,
    cardinality_rows,
    together_rows,
    write_numbers,
)
from miex.pipeline.reports.overview import open_overview
from miex.pipeline.reports.pixels import Pixels, inspect_pixels
from miex.pipeline.reports.plots.base import Plots, draw_plots
from miex.pipeline.reports.references import RealDatabase, real_databases
from miex.pipeline.reports.report_content import content
from miex.pipeline.reports.samples import Samples, join, open_target
from miex.pipeline.reports.statistics import (
    ALL,
    cover,
    describe_group,
    describe_groups,
    summarise,
)
from miex.pipeline.reports.templates import load_template
from miex.pipeline.workers import OnStage, stage_reporter

_TEMPLATE = Path(__file__).with_name("report.html")
_GALLERY = 48
"""Samples in the gallery: three megabytes of images, drawn in a second."""


@dataclass(frozen=True, slots=True)
class Report:
    """The content of a report before it is rendered.

    Attributes:
        evidence: Samples, statistics, pixels and faces.
        findings: What was found, faults first.
        other: The samples and pixels it is compared with, or None.
        compared: Every quantity in both, the largest effects first.
        plots: What is drawn besides the fixed parts.
    """

    evidence: Evidence
    findings: Sequence[Finding]
    other: tuple[Samples, Pixels | None] | None
    compared: Sequence[Compared]
    plots: Plots


def write_report(
    target: Path | Sequence[Path],
    out: Path | None = None,
    *,
    against: Path | None = None,
    workers: int | None = None,
    gallery: Callable[[], str] | None = None,
    on_stage: OnStage | None = None,
) -> Path:
    """Write `index.html`, `numbers.json` and CSV tables about a dataset or AU pools.

    Args:
        target: A dataset folder or an AU pool (Parquet), or several. Pools behind a dataset are
            shown beside it, like the published databases; otherwise several are one, each
            source named with its target.
        out: Folder of the report; by default `report` in the dataset folder, `NAME-report` beside
            the first of pools or of several targets.
        against: A dataset folder or AU pool to compare with, distribution by distribution.
        workers: Number of threads, at most 8; all cores by default.
        gallery: Returns the gallery of the dataset, see `draw_gallery`, if it is drawn elsewhere.
        on_stage: Progress callback; the stages are ``frames`` and ``gallery``.

    Returns:
        Path of the HTML file. It is self-contained: one file to send or to print.

    Raises:
        FileNotFoundError: A target or a shard is missing, or a synthesis did not finish.
        ValueError: A target is no dataset or pool, of another version or schema, or damaged.
        DiskFullError: The disk is full; no half-written file stays.
    """
    paths = [Path(target)] if isinstance(target, str | Path) else [Path(path) for path in target]
    report = examine(paths, against, on_stage, workers)
    folder = Path(out) if out is not None else _default_folder(paths)
    samples = report.evidence.samples
    text = load_template(
        _TEMPLATE,
        number="{:,}".format,
        percent=charts.percent,
        digits=charts.number,
        words=lambda name: "unknown" if name in (None, "null") else name.replace("_", " "),
    ).render(
        content(report.evidence, report.findings, report.other, report.compared, report.plots),
        gallery=gallery() if gallery else draw_gallery(samples.dataset, on_stage),
    )
    path = folder / "index.html"
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_numbers(folder, _report_numbers(report))
    return path


def draw_gallery(target: DatasetFolder | Path | None, on_stage: OnStage | None = None) -> str:
    """Draw the gallery of the report on a dataset.

    Args:
        target: The dataset or its folder; None for pools, which have no gallery.
        on_stage: Progress callback; the stage is ``gallery``.

    Returns:
        A piece of HTML; without pictures for pools.

    Raises:
        FileNotFoundError: See `write_report`.
        ValueError: See `write_report`.
    """
    dataset = open_overview(target) if isinstance(target, Path) else target
    tell = stage_reporter(on_stage, "gallery")
    return gallery_section(dataset, samples=_GALLERY, seed=1, on_samples=tell)


def examine(
    targets: Sequence[Path],
    against: Path | None = None,
    on_stage: OnStage | None = None,
    workers: int | None = None,
) -> Report:
    """Compute statistics and findings without writing anything.

    Args:
        targets: See `write_report`.
        against: See `write_report`.
        on_stage: See `write_report`.
        workers: See `write_report`.

    Raises:
        FileNotFoundError: See `write_report`.
        ValueError: See `write_report`.
    """
    parts = [open_target(path) for path in targets]
    beside = parts[1:] if parts and parts[0].dataset is not None else []
    if any(part.dataset is not None for part in beside):
        beside = []
    samples = join(_distinct(parts[: len(parts) - len(beside)]))
    other = None if against is None else open_target(against)
    pixels = _pixels(samples.dataset, workers, stage_reporter(on_stage, "frames"))
    evidence = Evidence(
        samples=samples,
        groups=describe_groups(samples),
        coverage=cover(samples),
        pixels=pixels,
        faces=read_faces(samples),
        real=real_databases(),
        beside=[_reference(part) for part in beside],
    )
    second = None
    if other is not None:
        tell = stage_reporter(on_stage, f"frames of {other.name}")
        second = (other, _pixels(other.dataset, workers, tell))
    compared = [] if second is None else compare_samples((samples, pixels), second)
    return Report(evidence, find(evidence), second, compared, draw_plots(evidence))


def _reference(pool: Samples) -> RealDatabase:
    """Return the statistics of a pool in the form of a published database."""
    group = describe_group(pool, np.arange(len(pool)), (ALL, ALL))
    return RealDatabase(
        name=pool.name,
        clips=len(pool),
        aus_per_clip=group.mean_active,
        shares=tuple(None if np.isnan(share) else float(share) for share in group.share),
        cardinality={n: count / len(pool) for n, count in enumerate(group.cardinality.tolist())},
        citation=pool.citation or "no citation in the pool",
    )


def _pixels(
    dataset: DatasetFolder | None,
    workers: int | None,
    on_samples: Callable[[int, int], None],
) -> Pixels | None:
    if dataset is None:
        return None
    return inspect_pixels(dataset, workers=workers, on_samples=on_samples)


def _distinct(parts: Sequence[Samples]) -> list[Samples]:
    """Add a number to the names of targets that have the same name; their sources stay apart."""
    names = [part.name for part in parts]
    return [
        replace(part, name=f"{part.name} {number}") if names.count(part.name) > 1 else part
        for number, part in enumerate(parts, start=1)
    ]


def _default_folder(paths: Sequence[Path]) -> Path:
    if len(paths) == 1 and paths[0].is_dir():
        return paths[0] / "report"
    return paths[0].with_name(f"{paths[0].stem}-report")


def _report_numbers(report: Report) -> dict[str, Any]:
    """Return every number of a report by table; see `write_numbers`."""
    evidence = report.evidence
    samples, faces, coverage = evidence.samples, evidence.faces, evidence.coverage
    measures = measures_of(samples, evidence.pixels)
    emotion = np.array(samples.emotion, dtype=object)
    classes = [name for name in samples.classes if name in set(samples.emotion)]
    numbers: dict[str, Any] = {
        "name": samples.name,
        "samples": len(samples),
        "findings": [asdict(finding) for finding in report.findings],
        "aus": au_rows(evidence.groups),
        "co_occurrence": together_rows(evidence.groups),
        "cardinality": cardinality_rows(evidence.groups),
        "coverage": {
            "combinations": coverage.combinations,
            "effective_combinations": coverage.effective,
            "repeated": coverage.duplicates,
            "most_repeated": coverage.most_repeated,
            "explained_variance": coverage.explained,
        },
        "measures": [
            {
                "measure": name,
                "emotion": group,
                **summarise(values[emotion == group] if group != "all" else values).as_dict(),
            }
            for name, values in measures.items()
            for group in ("all", *classes)
        ],
        "faces": [
            {"quality": name, **summarise(values).as_dict()}
            for name, values in faces.qualities.items()
        ],
        "identities": {
            "count": len([name for name in faces.samples_of if name]),
            "samples_of_each": summarise(list(faces.samples_of.values())).as_dict(),
        },
    }
    for name, plot in report.plots.drawn.items():
        numbers[f"plot_{name}"] = list(plot.numbers)
    if samples.dataset is not None:
        manifest = samples.dataset.manifest
        numbers |= {"counts": manifest["counts"], "config_sha256": manifest["config_sha256"]}
    if report.other is not None:
        numbers["against"] = [one.as_dict() for one in report.compared]
        numbers["class_divergence"] = category_divergence(samples.emotion, report.other[0].emotion)
    return numbers
