"""The page of an inspected checkpoint, with its pictures and its training history."""

from pathlib import Path
from typing import Any

from miex.datasets.files import whole_file
from miex.pipeline.inside.look import Inside
from miex.pipeline.recognition.checkpoint import Stage
from miex.pipeline.recognition.recognizers.base import recognizer_class
from miex.pipeline.reports.templates import load_template

_TEMPLATE = Path(__file__).with_name("page.html")


def write_inside_page(inside: Inside, name: str, out: Path) -> Path:
    """Write a self-contained HTML page, and every picture as a file beside it.

    Args:
        inside: Result of the inspection.
        name: Name of the checkpoint.
        out: Folder of the page.

    Returns:
        Path of the page.

    Raises:
        DiskFullError: The disk is full.
    """
    total = sum(inside.samples.values())
    text = load_template(_TEMPLATE).render(
        name=name,
        inside=inside,
        paper=recognizer_class(inside.card.recognizer).paper,
        total=total,
        stages=[_stage(stage) for stage in inside.card.stages],
        config=dict(inside.card.config),
        colours=(),
    )
    for section in inside.sections:
        for picture in section.pictures:
            with whole_file(out / picture.file) as temporary:
                temporary.write_bytes(picture.content)
    page = out / "index.html"
    with whole_file(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return page


def _stage(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "data": stage.data,
        "samples": stage.samples,
        "sources": ", ".join(f"{name} {count:,}" for name, count in stage.sources.items()),
        "people": len(stage.subjects),
        "steps": stage.steps,
        "seed": stage.seed,
    }
