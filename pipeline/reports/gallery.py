"""Draw the gallery of a report: samples to flip, to step through, and to trace to their origin."""

import base64
import io
import math
import shlex
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miex.au_sources.action_units import AU_NAMES, AU_WORDS, format_aus
from miex.datasets.dataset_format import DatasetFolder, decode_frames
from miex.pipeline.reports.card import COLUMN_MEANINGS
from miex.pipeline.reports.motion_panel import (
    ARROW_LENGTH,
    Flow,
    flow_length,
    measure_flow,
    motion_panel,
)
from miex.pipeline.reports.selection import choose_samples, source_label
from miex.pipeline.reports.sheet import CLASS_COLOURS
from miex.pipeline.reports.templates import load_template

_TEMPLATE = Path(__file__).with_name("gallery.html")

_BUDGET = 5_000_000
"""Bytes of all images in the page: the whole report has to stay below 15 MB."""

_READ = 200_000_000
"""Bytes of stored frames that are read at most; of large frames fewer samples are shown."""

_MOST_FRAMES = 8
"""Of a longer sample: enough to see it move, a third of a megabyte saved with each."""

_LARGEST = 256
"""Side of a frame in the page, pixels; larger ones are scaled down."""

_BYTES_PER_PIXEL = 0.55
"""Of a frame and its two layers at the qualities below, measured on LFW faces of 128 pixels."""

_FRAME_QUALITY, _LAYER_QUALITY = 92, 75

_BRIGHT = 100
"""Levels of difference that the strongest pixels of the median sample get after amplification."""


@dataclass(frozen=True, slots=True)
class _Film:
    """What is shown of one sample.

    Attributes:
        row: The sample, with its frames as stored.
        numbers: Which frames are shown; the first is the onset.
        frames: ``uint8 (T, S, S, 3)`` RGB, those frames, scaled down where they were large.
        flows: From the onset to each of them, in pixels of the stored frames.
        size: Side of the stored frames, pixels.
    """

    row: dict[str, Any]
    numbers: Sequence[int]
    frames: NDArray[np.uint8]
    flows: Sequence[Flow]
    size: int

    @property
    def apex(self) -> int:
        """Return the index of the apex in `numbers`."""
        return self.numbers.index(self.row["apex_index"])


def gallery_section(
    dataset: DatasetFolder | None,
    *,
    samples: int = 72,
    seed: int = 0,
    on_samples: Callable[[int, int], None] | None = None,
) -> str:
    """Draw the gallery as a piece of HTML with its own style and script.

    It uses the colours that `report.css.html` defines, and asks for nothing over the network.

    Args:
        dataset: A finished dataset; None for a report on pools, which have no images.
        samples: How many at most, balanced over classes, AU sources and identities; fewer where
            the images would make the page larger than 5 MB.
        seed: Another seed shows other samples.
        on_samples: Progress callback: (samples done, samples in total).

    Returns:
        HTML; empty without a dataset or without readable samples. It names the samples that were
        chosen but cannot be decoded.

    Raises:
        FileNotFoundError: A shard is missing.
        ValueError: A shard is damaged, or `samples` or `seed` is out of range.
    """
    if dataset is None or not len(dataset):
        return ""
    rows = choose_samples(dataset, _affordable(dataset, samples), seed)
    films, unreadable = _films(_interleaved(rows), on_samples)
    if not films:
        return ""
    flow_scale, gain = _flow_scale(films), _difference_gain(films)
    size = sum(len(frame["bytes"]) for film in films for frame in film.row["frames"])
    verbatim = len(films[0].numbers) == 2 and size * 4 / 3 < 0.9 * _BUDGET
    entries = [_entry(film, flow_scale, gain, verbatim) for film in films]
    return load_template(_TEMPLATE).render(
        cards=[_card(film, entry) for film, entry in zip(films, entries, strict=True)],
        data={
            "command": f"miex redraw {shlex.quote(str(dataset.folder))}",
            "meanings": COLUMN_MEANINGS,
            "aus": list(zip(AU_NAMES, AU_WORDS, strict=True)),
            "scale": _au_scale(films),
            "samples": entries,
        },
        classes=list(dict.fromkeys(row["emotion"] for row in rows)),
        sources=sorted({source_label(row) for row in rows}),
        total=len(dataset),
        unreadable=unreadable,
        verbatim=verbatim,
        moving=max(len(film.numbers) for film in films) > 2,
        gain=gain,
        flow_scale=flow_scale,
        arrow_gain=films[0].size * ARROW_LENGTH / flow_scale,
    )


def image_uri(image: bytes) -> str:
    """Return a PNG, WebP or JPEG file as a ``data:`` address."""
    kinds = {b"\x89PNG": "png", b"RIFF": "webp"}
    return f"data:image/{kinds.get(image[:4], 'jpeg')};base64,{base64.b64encode(image).decode()}"


def _affordable(dataset: DatasetFolder, samples: int) -> int:
    """Return how many samples fit into memory and into the page."""
    config = dataset.manifest["config"]
    stored = sum(shard["bytes"] for shard in dataset.manifest["shards"]) / len(dataset)
    frames = min(dataset.manifest["counts"]["frames"] / len(dataset), _MOST_FRAMES)
    size = dataset.manifest["inputs"]["faces"].get("size", config["face_preparation"]["size"])
    shown = frames * min(size, _LARGEST) ** 2 * _BYTES_PER_PIXEL * 4 / 3
    return min(samples, max(6, int(min(_READ / stored, _BUDGET / shown))))


def _interleaved(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return samples of each class and source in turn, so that the first screen shows all."""
    cells: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        cells[row["label"], source_label(row)].append(row)
    placed = [
        (turn, place, row)
        for place, cell in enumerate(sorted(cells))
        for turn, row in enumerate(cells[cell])
    ]
    return [row for _, _, row in sorted(placed, key=lambda entry: entry[:2])]


def _films(
    rows: Sequence[dict[str, Any]], on_samples: Callable[[int, int], None] | None
) -> tuple[list[_Film], list[str]]:
    """Return what can be shown, and the ids of samples with a frame that cannot be decoded."""
    films, unreadable = [], []
    for number, row in enumerate(rows, start=1):
        try:
            films.append(_film(row))
        except ValueError:
            unreadable.append(row["sample_id"])
        if on_samples:
            on_samples(number, len(rows))
    return films, unreadable


def _film(row: dict[str, Any]) -> _Film:
    count, apex = len(row["frames"]), row["apex_index"]
    spread = np.linspace(0, count - 1, min(count, _MOST_FRAMES)).round().astype(int).tolist()
    if apex not in spread:
        nearest = min(range(1, len(spread)), key=lambda place: abs(spread[place] - apex))
        spread[nearest] = apex
    kept = [row["frames"][number] for number in spread]
    frames = decode_frames({"sample_id": row["sample_id"], "frames": kept})
    size = frames.shape[1]
    if size > _LARGEST:
        side = (_LARGEST, _LARGEST)
        frames = np.stack(
            [cv2.resize(frame, side, interpolation=cv2.INTER_AREA) for frame in frames]
        )
    scale = np.float32(size / frames.shape[1])
    flows = [measure_flow(frames[0], frame) * scale for frame in frames]
    return _Film(row, spread, frames, flows, size)


def _flow_scale(films: Sequence[_Film]) -> float:
    """Return the motion in pixels that gets the brightest colour: 75 % of the samples are below."""
    peaks = [float(np.quantile(flow_length(film.flows[film.apex]), 0.995)) for film in films]
    return max(0.1, float(np.quantile(peaks, 0.75)))


def _difference_gain(films: Sequence[_Film]) -> int:
    """Return the factor that amplifies differences, 2 to 32, for the whole gallery."""
    peaks = [
        float(np.quantile(np.abs(film.frames[film.apex].astype(int) - film.frames[0]), 0.995))
        for film in films
    ]
    return int(np.clip(round(_BRIGHT / max(1.0, float(np.median(peaks)))), 2, 32))


def _au_scale(films: Sequence[_Film]) -> int:
    """Return the end of the axis of the AU bars: the highest requested intensity, rounded up."""
    highest = np.nanmax([np.nanmax(_vectors(film.row), initial=0.0) for film in films])
    return max(1, math.ceil(float(highest)))


def _vectors(row: Mapping[str, Any]) -> NDArray[np.float32]:
    return np.asarray(row["aus"], dtype=np.float32)


def _entry(film: _Film, flow_scale: float, gain: int, verbatim: bool) -> dict[str, Any]:
    """Return a sample for the script: its row and images; None without them."""
    stored = [film.row["frames"][number]["bytes"] for number in film.numbers]
    side = film.frames.shape[1]
    onset = film.frames[0].astype(int)
    differences = [
        np.clip(128 + gain * (frame - onset), 0, 255).astype(np.uint8) for frame in film.frames[1:]
    ]
    return {
        "row": {name: _plain(name, value) for name, value in film.row.items()},
        "numbers": film.numbers,
        "apex": film.apex,
        "frames": [
            image_uri(image) if verbatim else _webp(Image.fromarray(frame), _FRAME_QUALITY)
            for image, frame in zip(stored, film.frames, strict=True)
        ],
        "difference": [None]
        + [_webp(Image.fromarray(image), _LAYER_QUALITY) for image in differences],
        "flow": [None]
        + [
            _webp(motion_panel(film.frames[0], flow, flow_scale, side), _LAYER_QUALITY)
            for flow in film.flows[1:]
        ],
    }


def _webp(image: Image.Image, quality: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=4)
    return image_uri(buffer.getvalue())


def _plain(name: str, value: Any) -> Any:
    """Return a column's value as JSON; images by their file names and sizes."""
    if name == "frames":
        return [{"path": frame["path"], "bytes": len(frame["bytes"])} for frame in value]
    if isinstance(value, list):
        return [_plain(name, item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    return value


def _card(film: _Film, entry: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a sample even without a script."""
    row = film.row
    images = entry["frames"]
    onset, apex = images[0], images[film.apex]
    # The page already contains them; the script reads them from there.
    entry["frames"] = [
        None if place in (0, film.apex) else image for place, image in enumerate(images)
    ]
    fine = row["fine_emotion"]
    return {
        "onset": onset,
        "apex": apex,
        "emotion": row["emotion"],
        "fine": fine if fine and fine != row["emotion"] else None,
        "colour": CLASS_COLOURS[row["label"] % len(CLASS_COLOURS)],
        "aus": format_aus(np.nan_to_num(_vectors(row)[row["apex_index"]])),
        "source": source_label(row),
        "identity": row["identity"],
        "sample_id": row["sample_id"],
        "motion": row["motion"],
        "last": len(film.numbers) - 1,
    }
