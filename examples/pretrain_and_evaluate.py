"""Pretrain a recognizer, fine-tune it and evaluate it with held-out subjects.

A fictitious copy of CASME II stands in for the licensed database, so the scores mean nothing.
"""

import sys
from pathlib import Path

import miex
from miex.pipeline.fictitious_databases.write import write_fictitious

if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples/evaluate")
    clips = write_fictitious("casme2", out / "casme2", subjects=3, clips=6).spec
    miex.synthesize(out / "dataset", identities=4)
    result = miex.evaluate(
        "ststnet",
        clips,
        out / "evaluation",
        protocol="loso",
        datasets=out / "dataset",
        epochs=4,
        pretraining_epochs=4,
        seeds=1,
    )
    print("pooled:", result.content["pooled"]["mean"])
