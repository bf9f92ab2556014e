"""The first report on a dataset: one HTML file that needs no network."""

import base64
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml

from miex.au_sources.action_units import AU_NAMES, AU_NUMBERS, format_aus
from miex.datasets.files import whole_file
from miex.datasets.miex import RUN_LOG, MiexDataset
from miex.pipeline.reports.selection import choose_samples, source_label
from miex.pipeline.reports.sheet import CLASS_COLOURS, draw_contact_sheet
from miex.pipeline.reports.statistics import ACTIVE_FROM, Group, Histogram, Statistics, gather

_HERE = Path(__file__).parent
_BLINKING = 9
_LISTED_REJECTIONS = 20

_AU_WORDS = (
    "inner brow raiser",
    "outer brow raiser",
    "brow lowerer",
    "upper lid raiser",
    "cheek raiser",
    "lid tightener",
    "nose wrinkler",
    "upper lip raiser",
    "lip corner puller",
    "dimpler",
    "lip corner depressor",
    "chin raiser",
    "lip stretcher",
    "lip tightener",
    "lips part",
    "jaw drop",
    "blink",
)
"""Names of the 17 AUs in the FACS manual (Ekman, Friesen & Hager 2002)."""


@dataclass(frozen=True, slots=True)
class RealDatabase:
    """How often AUs were annotated in real micro-expressions.

    Attributes:
        name: Of the database.
        clips: How many were annotated.
        aus_per_clip: Mean number of AUs.
        shares: Share of the clips by AU, in the order of `AU_NAMES`; None where not counted.
        cardinality: Share of the clips by number of AUs, where it is known.
        citation: Of the database and of the count.
    """

    name: str
    clips: int
    aus_per_clip: float
    shares: tuple[float | None, ...]
    cardinality: Mapping[int, float]
    citation: str


def write_report(folder: Path) -> Path:
    """Writes `report/index.html` of a finished dataset.

    Args:
        folder: The dataset folder.

    Returns:
        Path of the report.

    Raises:
        FileNotFoundError: No dataset there.
        ValueError: A shard is missing or damaged.
    """
    dataset = MiexDataset.open(Path(folder))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": "{:,}".format,
        "percent": _percent,
        "digits": _digits,
        "words": lambda name: "unknown" if name in (None, "null") else name.replace("_", " "),
    }
    text = environment.get_template("report.html").render(_content(dataset))
    path = dataset.folder / "report" / "index.html"
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def real_databases() -> list[RealDatabase]:
    """Real micro-expression databases to compare with, from `real_aus.yaml`."""
    entries = yaml.safe_load((_HERE / "real_aus.yaml").read_text(encoding="utf-8"))
    return [
        RealDatabase(
            name=entry["name"],
            clips=entry["clips"],
            aus_per_clip=entry["aus_per_clip"],
            shares=tuple(
                entry["counts"][number] / entry["clips"] if number in entry["counts"] else None
                for number in AU_NUMBERS
            ),
            cardinality={
                number: count / entry["clips"]
                for number, count in entry.get("cardinality", {}).items()
            },
            citation=entry["citation"],
        )
        for entry in entries
    ]


def _content(dataset: MiexDataset) -> dict[str, Any]:
    """What the template shows."""
    manifest, found = dataset.manifest, gather(dataset)
    classes = manifest["label_space"]["classes"]
    order = {name: number for number, name in enumerate(classes)}
    groups = sorted(found.groups.items(), key=lambda item: (item[0][0], order.get(item[0][1], 99)))
    run = dataset.folder / RUN_LOG
    return {
        "manifest": manifest,
        "counts": manifest["counts"],
        "faces": manifest["inputs"]["faces"],
        "config_json": json.dumps(manifest["config"], indent=2, ensure_ascii=False),
        "bytes": sum(shard["bytes"] for shard in manifest["shards"]),
        "classes": classes,
        "colours": CLASS_COLOURS,
        "groups": groups,
        "whole": found.whole,
        "aus": _au_rows(found.whole, groups),
        "cardinality": _cardinality(found.whole),
        "mean_aus": _mean_aus(found.whole),
        "real": real_databases(),
        "active_from": ACTIVE_FROM,
        "motion": _chart(found.whole.motion),
        "motion_iod": _chart(found.whole.motion_iod),
        "attempts": sorted(found.attempts.items()),
        "cosines": _cosine_charts(found),
        "rejected": Counter(rejection["reason"] for rejection in manifest["rejections"]),
        "rejections": manifest["rejections"][:_LISTED_REJECTIONS],
        "run": _run_figures(json.loads(run.read_text("utf-8"))) if run.is_file() else [],
        "samples": _blinking(dataset, classes),
        "sheet": _sheet(dataset),
    }


def _au_rows(whole: Group, groups: Sequence[tuple[tuple[str, str], Group]]) -> list[dict[str, Any]]:
    """One entry an AU: name, words, share in the whole and in every group."""
    return [
        {
            "name": name,
            "words": words,
            "share": int(whole.active[au]) / max(whole.samples, 1),
            "by_group": [int(group.active[au]) / group.samples for _, group in groups],
        }
        for au, (name, words) in enumerate(zip(AU_NAMES, _AU_WORDS, strict=True))
    ]


def _cardinality(group: Group) -> list[tuple[int, float]]:
    """Share of the samples by number of active AUs, up to the largest that occurs, at least 4."""
    filled = np.flatnonzero(group.cardinality)
    last = max(4, int(filled[-1]) if filled.size else 0)
    return [
        (count, int(group.cardinality[count]) / max(group.samples, 1)) for count in range(last + 1)
    ]


def _mean_aus(group: Group) -> float:
    return int(group.active.sum()) / max(group.samples, 1)


def _chart(histogram: Histogram) -> dict[str, Any]:
    """A histogram as the template draws it: heights as shares of the highest bar."""
    bars = histogram.bars()
    highest = max((count for _, _, count in bars), default=1)
    return {
        "bars": [(low, high, count, count / highest) for low, high, count in bars],
        "total": histogram.total,
        "mean": histogram.mean,
        "quantiles": [(name, histogram.quantile(share)) for name, share in _QUANTILES],
    }


_QUANTILES = (("5 %", 0.05), ("median", 0.5), ("95 %", 0.95))


def _cosine_charts(found: Statistics) -> list[tuple[str, str, dict[str, Any]]]:
    charts = (
        (
            "Identity",
            "Cosine between the embeddings of apex and template, where it was measured.",
            found.identity_similarity,
        ),
        (
            "AU fidelity",
            "Correlation of requested and re-estimated AU change, where it was measured.",
            found.au_fidelity,
        ),
    )
    return [(title, note, _chart(values)) for title, note, values in charts if values.total]


def _blinking(dataset: MiexDataset, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Onset and apex of a few samples as the file stores them."""
    return [
        {
            "onset": _data_uri(row["frames"][0]["bytes"]),
            "apex": _data_uri(row["frames"][row["apex_index"]]["bytes"]),
            "emotion": row["emotion"],
            "colour": CLASS_COLOURS[row["label"] % len(CLASS_COLOURS)],
            "fine": row["fine_emotion"],
            "aus": format_aus(np.asarray(row["aus"][row["apex_index"]], dtype=np.float32)),
            "source": source_label(row),
            "identity": row["identity"],
            "sample_id": row["sample_id"],
        }
        for row in choose_samples(dataset, _BLINKING, seed=1)
    ]


def _data_uri(image: bytes) -> str:
    kinds = {b"\x89PNG": "png", b"RIFF": "webp"}
    return f"data:image/{kinds.get(image[:4], 'jpeg')};base64,{base64.b64encode(image).decode()}"


def _sheet(dataset: MiexDataset) -> dict[str, Any] | None:
    """The contact sheet, lossy: the lossless one lies beside the report."""
    if not len(dataset):
        return None
    image = draw_contact_sheet(dataset)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=82, method=2)
    return {"image": _data_uri(buffer.getvalue()), "width": image.width, "height": image.height}


def _run_figures(run: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The entries of `run.json` as words and values, nested ones flattened."""
    figures: list[tuple[str, str]] = []
    for name, value in run.items():
        words = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            figures += _run_figures(value, f"{words}: ")
        else:
            figures.append((words, f"{value:,}" if isinstance(value, int | float) else str(value)))
    return figures


def _percent(share: float | None) -> str:
    if share is None:
        return "\u2013"
    return "0" if share == 0 else f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def _digits(value: float) -> str:
    """Three significant digits."""
    return "\u2013" if np.isnan(value) else f"{value:.3g}"
