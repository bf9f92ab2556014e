"""Take AUs from annotated clips and synthesize samples that record where each AU comes from.

A fictitious copy of CASME II stands in for the licensed database: the same layout, drawn faces.
"""

import sys
from pathlib import Path

import miex
from miex.pipeline.fictitious_databases.write import write_fictitious

if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples/pool")
    clips = write_fictitious("casme2", out / "casme2", subjects=3, clips=4).spec
    # "facs" takes the AUs that the coders of the database wrote down; it needs no frames.
    pool = out / "real.parquet"
    miex.extract_aus(clips, pool, estimator="facs")
    for pair in miex.AUPool.read(pool):
        print(pair.subject, pair.clip, pair.emotion, pair.apex.max())
    miex.synthesize(out / "dataset", sources=[f"pool:{pool}"], identities=3)
    columns = ["sample_id", "source_dataset", "source_subject", "source_clip"]
    print(miex.load_dataset(out / "dataset", columns=columns)[0])
