"""Measure the size and time of image formats, and their effect on the flow from onset to apex.

    python tests/benchmarks/bench_image_formats.py [--faces SOURCE] [--count 12] [--size 128]

Onset frames are real faces. The apex is the onset moved by a smooth, known displacement field
around brows, eyes, nose and mouth, with a peak of 0.3 to 3 pixels. The tables are in Markdown;
docs/image_formats.md states the decision that they support.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miex.datasets.base import Face
from miex.datasets.faces.base import open_face_source
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.prepare import prepare_faces

Frame = NDArray[np.uint8]
Field = NDArray[np.float32]
Encoder = Callable[[Frame], bytes]

PEAKS = (0.3, 0.6, 1.0, 2.0, 3.0)
"""Largest displacements in pixels, in the range of micro-expressions."""

ANCHORS = (19, 21, 22, 24, 41, 46, 31, 35, 48, 54, 51, 57, 8)
"""Landmarks (iBUG 300-W) around which faces move: brows, lower lids, nose wings, lip corners, upper
and lower lip, chin."""


def pillow(name: str, **options: object) -> Encoder:
    def encode(frame: Frame) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, name, **options)
        return buffer.getvalue()

    return encode


def opencv(extension: str, **options: str | int) -> Encoder:
    flat = [
        getattr(cv2, f"IMWRITE_{value}") if isinstance(value, str) else value
        for option, given in options.items()
        for value in (option, given)
    ]

    def encode(frame: Frame) -> bytes:
        return bytes(cv2.imencode(extension, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), flat)[1])

    return encode


def lossless() -> dict[str, Encoder]:
    encoders = {
        f"PNG level {level}": opencv(".png", PNG_COMPRESSION=level) for level in (1, 3, 6, 9)
    }
    for name in ("NONE", "SUB", "UP", "AVG", "PAETH"):
        encoders[f"PNG level 1, {name.lower()}"] = opencv(
            ".png", PNG_COMPRESSION=1, PNG_FILTER=f"PNG_FILTER_{name}"
        )
    for name in ("UP", "AVG", "PAETH"):
        encoders[f"PNG run lengths, {name.lower()}"] = opencv(
            ".png", PNG_FILTER=f"PNG_FILTER_{name}", PNG_STRATEGY="PNG_STRATEGY_RLE"
        )
    for method in range(5):
        encoders[f"WebP lossless, method {method}"] = pillow(
            "WEBP", lossless=True, quality=0, method=method, exact=True
        )
    return encoders


def lossy() -> dict[str, Encoder]:
    return {
        f"JPEG {quality}, {sampling}": opencv(
            ".jpg",
            JPEG_QUALITY=quality,
            JPEG_SAMPLING_FACTOR=f"JPEG_SAMPLING_FACTOR_{sampling.replace(':', '')}",
        )
        for sampling in ("4:2:0", "4:4:4")
        for quality in (75, 85, 90, 95, 98)
    }


def decode(encoded: bytes) -> Frame:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def milliseconds(work: Callable[[], object], count: int) -> float:
    """Return the best of three times per item, which depends least on other work."""
    spent = []
    for _ in range(3):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent) / count * 1e3


def cost(encoder: Encoder, frames: Sequence[Frame]) -> tuple[float, float, float]:
    """Return the KiB and the encoding and decoding milliseconds of processor time per frame."""
    files = [encoder(frame) for frame in frames]
    encoding = milliseconds(lambda: [encoder(frame) for frame in frames], len(frames))
    decoding = milliseconds(lambda: [decode(file) for file in files], len(files))
    return sum(map(len, files)) / len(files) / 1024, encoding, decoding


def motion_field(face: Face, peak: float, rng: np.random.Generator) -> Field:
    """Draw a displacement field ``(S, S, 2)`` with two to four centres and the given peak."""
    size = face.crop.shape[0]
    eyes = face.landmarks[36:42].mean(0) - face.landmarks[42:48].mean(0)
    reach = 0.22 * float(np.hypot(*eyes))
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    field = np.zeros((size, size, 2), np.float32)
    for anchor in rng.choice(ANCHORS, rng.integers(2, 5), replace=False):
        cx, cy = face.landmarks[anchor]
        angle = rng.uniform(0, 2 * np.pi)
        weight = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * reach**2))
        field += weight[..., None] * np.float32([np.cos(angle), np.sin(angle)])
    return np.asarray(field * (peak / np.hypot(*np.moveaxis(field, 2, 0)).max()), np.float32)


def move(frame: Frame, field: Field) -> tuple[Frame, Field]:
    """Return the moved frame and the true optical flow from `frame` to it."""
    size = frame.shape[0]
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    grid = np.stack([x, y], 2)
    source = grid - field
    apex = cv2.remap(
        frame, source[..., 0], source[..., 1], cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT
    )
    # A pixel p of the onset lies at p + f in the apex, where the field satisfies f = d(p + f).
    flow = field
    for _ in range(5):
        there = grid + flow
        flow = cv2.remap(field, there[..., 0], there[..., 1], cv2.INTER_LINEAR)
    return np.asarray(apex, np.uint8), np.asarray(flow, np.float32)


def flows(onset: Frame, apex: Frame) -> list[Field]:
    """Compute TV-L1 (Zach 2007), DIS (Kroeger 2016) and Farneback (2003) flow by OpenCV."""
    methods = (
        cv2.optflow.DualTVL1OpticalFlow_create(),
        cv2.DISOpticalFlow_create(cv2.DISOpticalFlow_PRESET_MEDIUM),
        cv2.FarnebackOpticalFlow_create(),
    )
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (onset, apex)]
    return [method.calc(*grey, None) for method in methods]


def length(field: Field) -> NDArray[np.float32]:
    return np.hypot(field[..., 0], field[..., 1])


def drowning(faces: Sequence[Face], encoders: dict[str, Encoder]) -> dict[tuple[str, float], Field]:
    """Return the effect of each encoder on the motion, by encoder and peak.

    The first four values are relative to the mean true motion of the moving area (above half the
    peak): the endpoint errors of TV-L1, DIS and Farneback in this area, and the mean TV-L1 motion
    in areas without motion (below 2 % of the peak). The last value is the noise in the difference
    image relative to that image. The entry "raw" holds the errors of the flows against the true
    motion.
    """
    found: dict[tuple[str, float], list[list[float]]] = {}
    for number, face in enumerate(faces):
        for peak in PEAKS:
            rng = np.random.default_rng((number, int(peak * 10)))
            apex, truth = move(face.crop, motion_field(face, peak, rng))
            moving, still = length(truth) > peak / 2, length(truth) < peak / 50
            scale = float(length(truth)[moving].mean())
            raw = flows(face.crop, apex)
            change = apex.astype(np.float32) - face.crop

            def errors(
                pair: tuple[Frame, Frame],
                compared: Sequence[Field],
                change: Field = change,
                moving: NDArray[np.bool_] = moving,
                still: NDArray[np.bool_] = still,
                scale: float = scale,
            ) -> list[float]:
                measured = flows(*pair)
                ends = [
                    float(length(m - c)[moving].mean()) / scale
                    for m, c in zip(measured, compared, strict=True)
                ]
                noise = pair[1].astype(np.float32) - pair[0] - change
                share = float(np.sqrt((noise[moving] ** 2).mean() / (change[moving] ** 2).mean()))
                return [*ends, float(length(measured[0])[still].mean()) / scale, share]

            found.setdefault(("raw", peak), []).append(errors((face.crop, apex), [truth] * 3))
            for name, encoder in encoders.items():
                pair = decode(encoder(face.crop)), decode(encoder(apex))
                found.setdefault((name, peak), []).append(errors(pair, raw))
    return {key: np.mean(values, axis=0, dtype=np.float32) for key, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", default="samples", help="face source, as for `miex faces`")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--size", type=int, default=128)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        config = FaceConfig(size=arguments.size)
        source = open_face_source(arguments.faces)
        table = prepare_faces(source, Path(scratch) / "faces.parquet", config)
        faces = table.load(range(min(arguments.count, len(table))))
    frames = [face.crop for face in faces]
    print(f"{len(faces)} faces of {arguments.size} px\n")
    print("| format | KiB per frame | encode ms | decode ms |\n|---|---|---|---|")
    for name, encoder in (lossless() | lossy()).items():
        size, encoding, decoding = cost(encoder, frames)
        print(f"| {name} | {size:.1f} | {encoding:.2f} | {decoding:.2f} |", flush=True)
    print(f"\n| format | value |{' | '.join(f'{peak} px' for peak in PEAKS)} |")
    print("|---|---|" + "---|" * len(PEAKS))
    values = (
        "TV-L1 error",
        "DIS error",
        "Farneback error",
        "TV-L1 where still",
        "difference noise",
    )
    found = drowning(faces, lossy())
    for name in ("raw", *lossy()):
        for index, value in enumerate(values):
            cells = " | ".join(f"{found[name, peak][index]:.3f}" for peak in PEAKS)
            print(f"| {name} | {value} | {cells} |")


if __name__ == "__main__":
    main()
