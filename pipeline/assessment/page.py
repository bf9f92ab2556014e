"""The page of an assessment, one HTML file that loads no other file."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from miex.datasets.files import whole_file
from miex.pipeline.assessment.embeddings import DESCRIPTIONS
from miex.pipeline.assessment.leakage_chart import leakage_chart
from miex.pipeline.reports import charts
from miex.pipeline.reports.templates import load_template

_TEMPLATE = Path(__file__).with_name("page.html")


def write_page(
    document: Mapping[str, Any], sheets: Sequence[tuple[str, Image.Image]], path: Path
) -> None:
    """Write the page of an assessment.

    Args:
        document: The content of `assessment.json`.
        sheets: Title and image of each contact sheet; the images are embedded in the page.
        path: The HTML file to write.
    """
    text = load_template(
        _TEMPLATE, percent=charts.percent, number="{:,}".format, digits=_digits
    ).render(
        document=document,
        generators=document["generators"],
        colours=[],
        embeddings=DESCRIPTIONS,
        leakage=[
            leakage_chart(one["fidelity"][0]["leakage"], one["label"])
            for one in document["generators"]
        ],
        sheets=[(title, _data_uri(image)) for title, image in sheets],
    )
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _digits(value: float | None, form: str = ".2f") -> str:
    """Format a number with a typographic minus sign, or None as a dash."""
    return "\u2013" if value is None else format(value, form).replace("-", "\u2212")


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=82, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
