"""Apex frames of early_mae that are drawn anew, and the AUs of the frames between."""

from pathlib import Path

import numpy as np
import pytest

from miex.au_sources.action_units import AU_COUNT
from miex.au_sources.early_mae import EarlyMaeConfig, extract, window
from miex.au_sources.estimators.base import Estimates, Frame
from miex.au_sources.pool import AUPair, AUPool
from miex.au_sources.pool_source import PoolSource
from miex.datasets.clips.base import open_clips
from miex.datasets.labels import Emotion
from miex.pipeline.experiments.tracks import missing_tracks
from miex.pipeline.faces.identities import ListedIdentities
from miex.pipeline.fictitious_databases.write import write_fictitious
from miex.pipeline.synthesis.config import SequenceConfig, SynthesisConfig
from miex.pipeline.synthesis.plan import Plan, frames_between


class BlockEstimator:
    """AUs that follow the brightness of 17 blocks of the frame, so that frames differ in them."""

    name, version, scale, needs_landmarks = "blocks", "1", "intensity", False
    aus = ()

    def estimate(self, images: list[Frame], landmarks: object = None) -> Estimates:
        rows = [
            [block.mean() / 51 for block in np.array_split(image.astype(float), AU_COUNT)]
            for image in images
        ]
        return Estimates(np.array(rows, np.float32), np.ones(len(images), bool))


def test_15000_samples_use_every_frame_of_the_windows(sample_table: Path, tmp_path: Path) -> None:
    database = write_fictitious("ckplus", tmp_path / "ckplus", 4, 5, faces=sample_table)
    reader = open_clips(database.spec)
    config = EarlyMaeConfig()
    frames = sum(len(window(len(c.numbers(c.apex)), config.alpha)) for c in reader.clips())
    pool = extract(reader, BlockEstimator(), config).pool
    assert len(pool) == pool.distinct == frames > len(reader.clips())
    pool.write(tmp_path / "early.parquet")
    source = PoolSource(pool)
    job = SynthesisConfig(sources=("pool:early.parquet",), samples=15_000)
    plan = Plan(job, ListedIdentities([f"person {n}" for n in range(50)]), [source])
    drawn = [plan.draw(index, 0) for index in range(plan.samples)]
    triplets = {(one.aus[0].tobytes(), one.aus[-1].tobytes(), one.label) for one in drawn}
    assert len(triplets) == frames


def pair(track: bool, apex_frame: int = 3) -> AUPair:
    onset, middle, apex = (np.full(AU_COUNT, value, np.float32) for value in (0, 0.4, 1))
    return AUPair(
        onset=onset,
        apex=apex,
        track=np.stack([onset, middle, apex]) if track else None,
        emotion=Emotion.HAPPINESS,
        source="real_mie",
        dataset="casme2",
        subject="1",
        clip=f"{track}{apex_frame}",
        onset_frame=1,
        apex_frame=apex_frame,
    )


def test_frames_between_are_named_by_their_origin() -> None:
    sequence = SequenceConfig(frames=10)
    measured, both, none = (
        PoolSource(AUPool.from_pairs(pairs)).tracked
        for pairs in ([pair(True)], [pair(True), pair(False)], [pair(False)])
    )
    assert frames_between(measured, sequence) == "measured in the frames of the clip"
    assert frames_between(none, sequence) == "linear interpolation from onset to apex"
    assert "for 50.0% of the pairs, else linear interpolation" in frames_between(both, sequence)


@pytest.mark.parametrize(
    ("pairs", "frames", "said"),
    [
        ([pair(False)], 10, "1 of 1 pairs"),
        ([pair(True), pair(False)], 10, "1 of 2 pairs"),
        ([pair(True), pair(False, apex_frame=1)], 10, None),
        ([pair(False)], 2, None),
    ],
)
def test_an_experiment_on_videos_needs_tracks(
    pairs: list[AUPair], frames: int, said: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "real.parquet"
    AUPool.from_pairs(pairs).write(path)
    sequence = SequenceConfig(frames=frames)
    config = SynthesisConfig(sources=(f"pool:{path}", "expert:miex"), sequence=sequence)
    why = missing_tracks(config)
    assert (why is None) == (said is None)
    if said is not None:
        assert why is not None
        assert said in why
        assert "--track" in why
