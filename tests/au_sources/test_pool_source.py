from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from miex.au_sources.action_units import AU_COUNT
from miex.au_sources.base import open_source
from miex.au_sources.pool import AUPair, AUPool
from miex.au_sources.pool_source import PoolSource
from miex.datasets.labels import Emotion

NEUTRAL = np.zeros(AU_COUNT, dtype=np.float32)


def pair(emotion: Emotion, clip: str, *, apex: float = 1.0) -> AUPair:
    return AUPair(
        onset=NEUTRAL,
        apex=np.full(AU_COUNT, apex, dtype=np.float32),
        emotion=emotion,
        source="real_mie",
        dataset="casme2",
        subject="1",
        clip=clip,
    )


def pool(*more: AUPair) -> AUPool:
    pairs = [pair(Emotion.DISGUST, f"d{n}") for n in range(3)] + [pair(Emotion.FEAR, "f0")]
    return AUPool.from_pairs([*pairs, *more], citation="Someone", licence="research")


def clips(source: PoolSource, draws: int = 4000) -> Counter[str | None]:
    rng = np.random.default_rng(0)
    return Counter(source.draw("negative", rng).clip for _ in range(draws))


def test_every_pair_of_a_class_is_equally_likely() -> None:
    counts = clips(PoolSource(pool(pair(Emotion.HAPPINESS, "h0"))))
    assert set(counts) == {"d0", "d1", "d2", "f0"}
    assert all(count == pytest.approx(1000, abs=110) for count in counts.values())


def test_weights_choose_the_emotion_first() -> None:
    counts = clips(PoolSource(pool(), emotion_weights={Emotion.FEAR: 3}))
    assert counts["f0"] == pytest.approx(3000, abs=120)
    assert counts["d1"] == pytest.approx(333, abs=75)
    assert clips(PoolSource(pool(), emotion_weights={Emotion.DISGUST: 0}), 50) == {"f0": 50}


def test_coarsely_annotated_pairs_are_drawn_too() -> None:
    assert clips(PoolSource(pool(pair(Emotion.NEGATIVE, "n0"))))["n0"] > 600


def test_pairs_without_motion_are_counted_and_never_drawn() -> None:
    unmeasured = np.where(np.arange(AU_COUNT) == 0, np.nan, 0.0)
    blind = AUPair(
        NEUTRAL, unmeasured, Emotion.FEAR, "real_mie", dataset="casme2", subject="1", clip="blind"
    )
    source = PoolSource(pool(pair(Emotion.FEAR, "still", apex=0), blind))
    assert source.null_pairs == 2
    assert set(clips(source)) == {"d0", "d1", "d2", "f0"}


def test_a_class_of_nothing_but_still_pairs_is_no_class() -> None:
    source = PoolSource(pool(pair(Emotion.SURPRISE, "still", apex=0)), origin="a.parquet")
    assert source.classes == {"negative"}
    with pytest.raises(ValueError, match=r"pool a\.parquet has no emotion of class 'surprise'"):
        source.draw("surprise", np.random.default_rng(0))


def test_what_a_pool_says_about_itself(tmp_path: Path) -> None:
    path = tmp_path / "pool.parquet"
    pool().write(path)
    source = open_source(f"pool:{path}")
    assert source.name == "real_mie"
    assert (source.citation, source.licence) == ("Someone", "research")
    assert source.sha256 == pool().sha256
    assert source.description == (
        "pool pool.parquet, 4 pairs (1 distinct, 0 without motion) from casme2 "
        f"(sha256 {source.sha256[:12]})"
    )


def test_clips_are_equally_likely_whatever_their_number_of_pairs() -> None:
    early = [pair(Emotion.DISGUST, "long", apex=0.1 * n) for n in range(1, 10)]
    counts = clips(PoolSource(AUPool.from_pairs([*early, pair(Emotion.FEAR, "short")])))
    assert counts["long"] == pytest.approx(2000, abs=130)


def test_draws_are_reproducible() -> None:
    source = PoolSource(pool())
    one, again = (
        [source.draw("negative", rng).clip for _ in range(20)]
        for rng in (np.random.default_rng(0), np.random.default_rng(0))
    )
    assert one == again


def test_a_pool_of_several_sources_is_refused() -> None:
    expert = AUPair(NEUTRAL, NEUTRAL + 1, Emotion.FEAR, "expert")
    with pytest.raises(ValueError, match=r"found expert, real_mie; .*filter\(sources="):
        PoolSource(pool(expert))
    with pytest.raises(ValueError, match="found none"):
        PoolSource(AUPool.from_pairs([]))
    with pytest.raises(ValueError, match="no emotion of label space 'three_class'"):
        PoolSource(AUPool.from_pairs([pair(Emotion.OTHERS, "o")]))
