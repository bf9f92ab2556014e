"""What `synthesize` says about its AU sources at the start."""

import numpy as np

from miex.au_sources.base import open_source
from miex.au_sources.pool import AUPair, AUPool
from miex.au_sources.pool_source import PoolSource
from miex.datasets.labels import Emotion
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.source_notes import source_notes


def pool(source: str) -> PoolSource:
    pairs = [
        AUPair(
            onset=np.zeros(17, np.float32),
            apex=np.ones(17, np.float32),
            emotion=emotion,
            source=source,
            dataset="casme2",
            subject="1",
            clip=str(emotion),
        )
        for emotion in (Emotion.HAPPINESS, Emotion.FEAR, Emotion.SURPRISE)
    ]
    return PoolSource(AUPool.from_pairs(pairs))


def test_expert_tables_alone_are_named_with_what_adds_the_others() -> None:
    text = "\n".join(source_notes(SynthesisConfig(sources=("expert:miex",))))
    assert text.startswith("AU source expert: table miex")
    assert "only expert tables" in text
    assert "-o real.parquet" in text
    assert "--source early_mae -o early.parquet" in text


def test_only_what_is_missing_is_named() -> None:
    config = SynthesisConfig()
    expert = open_source("expert:miex")
    two = "\n".join(source_notes(config, [expert, pool("real_mie")]))
    assert "only expert tables" not in two
    assert "early_mae: miex extract-aus" in two
    assert "real_mie: miex extract-aus" not in two
    three = source_notes(config, [expert, pool("real_mie"), pool("early_mae")])
    assert [line.partition(":")[0] for line in three] == [
        "AU source expert",
        "AU source real_mie",
        "AU source early_mae",
    ]
