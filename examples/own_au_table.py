"""Synthesize micro-expressions from an AU table of your own."""

import sys
from pathlib import Path

import miex
from miex.au_sources.action_units import AU_NUMBERS

# Probabilities of each AU given the emotion; intensities are drawn on the FACS scale 0 to 5.
TABLE = """\
name: mine
version: "1"
description: one or two AUs in each emotion, as in most real micro-expressions
citation: none, an example
source: written for this example
licence: CC0-1.0
emotions:
  happiness: {AU12: 1.0, AU06: 0.3}
  disgust: {AU04: 0.7, AU09: 0.5}
  surprise: {AU01: 1.0, AU02: 0.9}
"""

if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples/own-table")
    out.mkdir(parents=True, exist_ok=True)
    table = out / "mine.yaml"
    table.write_text(TABLE, encoding="utf-8")
    dataset = out / "dataset"
    miex.synthesize(dataset, sources=[f"expert:{table}"], identities=3, intensity=(0.8, 1.5))
    for sample in miex.load_dataset(dataset, columns=["sample_id", "label", "aus"]):
        apex = sample["aus"][-1]
        active = [
            f"AU{number:02d}" for number, value in zip(AU_NUMBERS, apex, strict=True) if value > 0
        ]
        print(sample["sample_id"], sample["label"], " ".join(active))
