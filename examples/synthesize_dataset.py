"""Synthesize a small dataset from sample photographs and look at its first sample."""

import sys
from pathlib import Path

import miex

if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples/dataset")
    manifest = miex.synthesize(out, identities=3, seed=1)
    print(manifest["counts"]["written"], "samples:", manifest["counts"]["by_class"])

    dataset = miex.load_dataset(out)
    sample = dataset[0]
    onset, apex = sample["frames"]  # uint8 (3, S, S) RGB each
    change = (apex.int() - onset.int()).abs().float().mean()
    print(dataset.classes[sample["label"]], f"changes {change:.2f} grey levels on the average")
    print("contact sheet:", out / "sheet.png")
