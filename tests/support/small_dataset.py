"""A small synthesized dataset."""

from pathlib import Path

from miex.pipeline.make_dataset import synthesize
from miex.pipeline.synthesis.config import SynthesisConfig


def synthesize_small(table: Path, out: Path) -> Path:
    """Synthesize six samples of two people with `warp`; the folder names the dataset."""
    config = SynthesisConfig(
        name=out.name,
        faces=str(table),
        identities=2,
        samples=6,
        generator={"name": "warp"},
        sequence={"frames": 3},
    )
    synthesize(config, out, workers=1)
    return out
