"""Check that the AU pools of a dataset of videos have the AUs of the frames between.

In the video variant of MiE-X (Liu et al., ECCV 2022, section 4.2), real_mie and early_mae take the
AUs of the frames between onset and apex from the clip; expert tables are interpolated linearly.
"""

from pathlib import Path

import numpy as np

from miex.au_sources.pool import AUPair, AUPool
from miex.pipeline.synthesis.config import SynthesisConfig

_POOL = "pool:"


def missing_tracks(config: SynthesisConfig) -> str | None:
    """Return why a dataset of an experiment cannot have measured frames, or None if it can.

    Pairs whose apex is not after the onset have no frames between, and need no track.

    Raises:
        FileNotFoundError: A pool is missing.
        ValueError: A pool is damaged.
    """
    if config.sequence.frames == 2:
        return None
    for spec in config.sources:
        if not spec.startswith(_POOL):
            continue
        pool = AUPool.read(Path(spec.removeprefix(_POOL)).expanduser())
        needed = np.array([_has_frames_between(pair) for pair in pool])
        without = int(np.count_nonzero(needed & pool.moves & ~pool.has_track))
        if without:
            return (
                f"samples of {config.sequence.frames} frames need the AUs of the frames between, "
                f"and {without} of {len(pool)} pairs of {spec.removeprefix(_POOL)} have none; "
                "extract the pool again with `miex extract-aus ... --track`"
            )
    return None


def _has_frames_between(pair: AUPair) -> bool:
    if pair.onset_frame is None or pair.apex_frame is None:
        return True
    return pair.apex_frame > pair.onset_frame
