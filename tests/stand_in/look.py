"""Write a contact sheet of the stand-in: onset, apex, and their difference amplified eight times.

python tests/stand_in/look.py out/stand_in -o sheet.png --clips 24
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.datasets.clips.base import Clip, open_clips

AMPLIFICATION = 8


def panel(clip: Clip) -> NDArray[np.uint8]:
    """Draw onset, apex, amplified difference and a line of text, ``(S + 16, 3 S, 3)`` RGB."""
    onset, apex = clip.images([clip.onset, clip.apex or clip.offset])
    change = 128 + AMPLIFICATION * (apex.astype(np.float32) - onset)
    row = np.concatenate([onset, apex, np.clip(change, 0, 255).astype(np.uint8)], axis=1)
    strip = np.full((16, row.shape[1], 3), 255, np.uint8)
    text = (
        f"{clip.subject}/{clip.clip} {clip.emotion} AU {clip.aus} {clip.apex - clip.onset} frames"
    )
    cv2.putText(strip, text, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([strip, row])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=24)
    options = parser.parse_args()
    clips = open_clips(f"clip_table:{options.folder}").clips()
    chosen = [clips[i] for i in np.linspace(0, len(clips) - 1, options.clips).astype(int)]
    panels = [panel(clip) for clip in chosen]
    panels += [np.full_like(panels[0], 255)] * (-len(panels) % 3)
    rows = [np.concatenate(panels[i : i + 3], axis=1) for i in range(0, len(panels), 3)]
    cv2.imwrite(str(options.out), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
