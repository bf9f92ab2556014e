"""Measure the stand-in and print its properties beside published numbers of real clips.

python tests/stand_in/measure.py out/stand_in
"""

import argparse
import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from miex.datasets.clips.base import open_clips
from miex.datasets.labels import LABEL_SPACES
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.recognition.clip_samples import clip_blocks

INNER = slice(17, 68)


def spread(values: ArrayLike, digits: int = 2) -> str:
    """Format the median with the 5th and 95th percentile."""
    low, middle, high = np.percentile(values, [5, 50, 95])
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def measure(folder: Path) -> dict[str, str]:
    """Return all properties by name, measured on the crops of 128 pixels that recognizers get."""
    reader = open_clips(f"clip_table:{folder}?name=stand_in")
    clips = reader.clips()
    blocks, rejections = clip_blocks([reader], LABEL_SPACES["three_class"])
    samples = [sample for block in blocks for sample in block.load(landmarks=True)]
    with (folder / "lineage.csv").open(encoding="utf-8", newline="") as file:
        true = [float(row["motion"]) for row in csv.DictReader(file)]
    unit = FaceConfig().eye_distance * 128
    psnr, ssim, seen, head = [], [], [], []
    for sample in samples:
        onset, apex = sample.frames[0], sample.frames[sample.apex_index]
        psnr.append(peak_signal_noise_ratio(onset, apex))
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (onset, apex)]
        ssim.append(structural_similarity(*grey))
        motion = (sample.landmarks[sample.apex_index] - sample.landmarks[0])[INNER]
        rigid = motion[[*range(10, 14), 19, 22, 25, 28]].mean(axis=0)
        seen.append(np.linalg.norm(motion - rigid, axis=1).max())
        head.append(np.linalg.norm(rigid))
    rises = [1000 * (clip.apex - clip.onset) / clip.fps for clip in clips]
    return {
        "clips, subjects, frames": f"{len(clips)}, {len(reader.report().subjects)}, "
        f"{reader.report().frames}",
        "classes": str(dict(Counter(sample.info.emotion for sample in samples))),
        "emotions": str(dict(reader.report().emotions)),
        "clips per subject": spread(list(reader.report().subjects.values()), 0),
        "left out": str(dict(Counter(r.reason for r in rejections))),
        "face found": f"{len(samples) / len(clips):.3f} of the onsets",
        "largest motion of a landmark, true, px of 128": spread(unit * np.array(true)),
        "largest motion of a landmark, tracked in the frames, px of 128": spread(seen),
        "motion of the head, px of 128": spread(head),
        "onset to apex, ms (published: 165, 25 to 440)": spread(rises, 0),
        "PSNR, dB (MiE-X 38.7, 34.8 to 43.5; SAMM's neighbouring frames 39.2)": spread(psnr, 1),
        "SSIM, grey (MiE-X .977; SAMM's neighbouring frames .917, SMIC's .947)": spread(ssim, 3),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    for name, value in measure(parser.parse_args().folder).items():
        print(f"{name}: {value}")
