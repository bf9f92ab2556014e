"""Count what each stage of the chain of MiE-X has to do, for the time that it will take."""

from pathlib import Path

from miex.au_sources.early_mae import window
from miex.datasets.clips.base import open_clips
from miex.datasets.faces.base import open_face_source
from miex.pipeline.experiments.chain_stages import STAND_IN_CLIPS, STAND_IN_SUBJECTS, Work


def photograph_count(work: Work) -> int:
    """Return the number of photographs to prepare."""
    if work.has_table or work.config.face_lists:
        return 0
    return len(open_face_source(work.photographs).photographs())


def frame_count(work: Work, source: str) -> int:
    """Return the number of frames that an estimator measures for a pool."""
    if source == "real_mie" and work.settled.stands_in:
        return 2 * STAND_IN_SUBJECTS * STAND_IN_CLIPS
    specs = work.clips_with_frames if source == "real_mie" else work.settled.macro
    frames = 0
    for spec in specs:
        alpha = work.extraction(source, spec).early_mae.alpha
        for clip in open_clips(spec).clips():
            if source == "real_mie":
                frames += 2
            elif clip.apex is None:
                frames += len(clip.numbers())
            else:
                frames += 1 + len(window(len(clip.numbers(clip.apex)), alpha))
    return frames


def sample_count(work: Work) -> int:
    """Return the number of samples of the dataset, as far as it is known before the faces."""
    return work.settled.samples or 9 * (work.settled.identities or 10)


def stand_in_count() -> int:
    """Return the number of fictitious clips."""
    return STAND_IN_SUBJECTS * STAND_IN_CLIPS


def clip_count(work: Work) -> int:
    """Return the number of real clips."""
    if work.settled.stands_in:
        return stand_in_count()
    return sum(len(open_clips(spec, frames=False).clips()) for spec in work.settled.clips)


def link_count(work: Work) -> int:
    """Return the number of links in EmotionNet's lists."""
    return sum(
        sum(1 for line in Path(each).expanduser().open(encoding="utf-8") if line.strip())
        for each in work.config.face_lists
    )
