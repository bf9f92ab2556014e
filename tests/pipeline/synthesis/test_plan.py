from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from miex.au_sources.base import open_source
from miex.au_sources.pool import AUPair, AUPool
from miex.datasets.labels import LABEL_SPACES, Emotion
from miex.pipeline.faces.identities import ListedIdentities
from miex.pipeline.synthesis.config import SequenceConfig, SynthesisConfig
from miex.pipeline.synthesis.plan import Plan, ease, expression

FACES = [f"person{number}" for number in range(20)]


def plan_of(config: SynthesisConfig, identities: list[str] = FACES) -> Plan:
    space = LABEL_SPACES[config.label_space]
    sources = [
        open_source(
            spec,
            label_space=space,
            intensity=config.intensity,
            emotion_weights=config.emotion_weights,
        )
        for spec in config.sources
    ]
    return Plan(config, ListedIdentities(identities), sources)


def test_by_default_every_identity_gets_every_class_from_every_source_once() -> None:
    plan = plan_of(SynthesisConfig(sources=("expert:miex", "expert:casme3")))
    draws = [plan.draw(index, 0) for index in range(plan.samples)]
    cells = Counter((draw.face, draw.label, draw.source) for draw in draws)
    assert plan.samples == 20 * 3 * 2
    assert set(cells.values()) == {1}


def happy_pool(path: Path) -> str:
    AUPool.from_pairs([replace(pair(0, 1), source="early_mae")]).write(path)
    return f"pool:{path}"


def test_a_class_that_a_source_lacks_is_no_cell(tmp_path: Path) -> None:
    happy = happy_pool(tmp_path / "happy.parquet")
    plan = plan_of(SynthesisConfig(sources=(happy, "expert:miex")))
    assert plan.missing == ((happy, "negative"), (happy, "surprise"))
    draws = [plan.draw(index, 0) for index in range(plan.samples)]
    cells = Counter((draw.source, draw.emotion) for draw in draws)
    expert = {(1, name): 20 for name in ("negative", "positive", "surprise")}
    assert cells == {(0, "positive"): 20} | expert
    for samples in (1, 6, 41):
        uneven = plan_of(SynthesisConfig(sources=(happy, "expert:miex"), samples=samples))
        counts = Counter(
            uneven.draw(i, 0).emotion + str(uneven.source_of(i)) for i in range(samples)
        )
        assert max(counts.values()) - (min(counts.values()) if len(counts) == 4 else 0) <= 1


def test_a_class_that_no_source_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no AU source has AUs for class negative, surprise"):
        plan_of(SynthesisConfig(sources=(happy_pool(tmp_path / "happy.parquet"),)))


def test_full_sources_lack_nothing() -> None:
    assert plan_of(SynthesisConfig()).missing == ()


@pytest.mark.parametrize("samples", [1, 7, 100, 1001])
def test_any_number_of_samples_is_spread_evenly(samples: int) -> None:
    plan = plan_of(SynthesisConfig(samples=samples, identities=6))
    draws = [plan.draw(index, 0) for index in range(samples)]
    cells = Counter((draw.label, draw.source) for draw in draws)
    faces = Counter(draw.face for draw in draws)
    assert max(cells.values()) - min(cells.values()) <= (1 if len(cells) == 9 else 0)
    assert max(faces.values()) - min(faces.values()) <= 1
    assert [draw.face for draw in draws] == sorted(draw.face for draw in draws)


def test_a_draw_depends_on_seed_index_and_attempt_alone() -> None:
    one, again = plan_of(SynthesisConfig(seed=3)), plan_of(SynthesisConfig(seed=3))
    for index in (5, 0, 17):
        assert np.array_equal(one.draw(index, 1).aus, again.draw(index, 1).aus)
    assert not np.array_equal(one.draw(5, 0).aus, one.draw(5, 1).aus)
    other = plan_of(SynthesisConfig(seed=4))
    assert not np.array_equal(one.draw(5, 0).aus, other.draw(5, 0).aus)


def test_seed_zero_is_a_seed() -> None:
    assert np.array_equal(
        plan_of(SynthesisConfig(seed=0)).draw(1, 0).aus, plan_of(SynthesisConfig()).draw(1, 0).aus
    )


def test_triplets_are_shared_when_their_number_is_set() -> None:
    plan = plan_of(SynthesisConfig(samples=600, au_triplets=30))
    triplets = {
        (draw.label, draw.source, draw.aus.tobytes())
        for draw in (plan.draw(index, 0) for index in range(600))
    }
    assert len(triplets) == 30


def test_without_a_number_every_sample_has_its_own_triplet() -> None:
    plan = plan_of(SynthesisConfig(samples=600, sources=("expert:miex",)))
    assert len({plan.draw(index, 0).aus.tobytes() for index in range(600)}) == 600


def test_identities_are_chosen_by_the_seed_and_never_twice() -> None:
    chosen = [
        {plan.draw(index, 0).face for index in range(plan.samples)}
        for plan in (plan_of(SynthesisConfig(seed=seed, identities=5)) for seed in (0, 0, 1))
    ]
    assert len(chosen[0]) == 5
    assert chosen[0] == chosen[1] != chosen[2]


def test_several_photographs_of_one_identity_count_once() -> None:
    plan = plan_of(SynthesisConfig(), ["a", "a", "b"])
    assert plan.identities == 2
    assert {plan.draw(index, 0).face for index in range(9, 18)} == {2}


def test_samples_draw_among_the_photographs_of_their_identity() -> None:
    plan = plan_of(SynthesisConfig(samples=400), ["a", "b", "a"])
    draws = [plan.draw(index, 0) for index in range(400)]
    assert {draw.face for draw in draws[:200]} == {0, 2}
    assert {draw.face for draw in draws[200:]} == {1}
    assert [plan.draw(index, 3).face for index in range(400)] == [draw.face for draw in draws]
    # No class is tied to a photograph.
    for label in range(3):
        faces = [draw.face for draw in draws[:200] if draw.label == label]
        assert 0.25 < faces.count(0) / len(faces) < 0.75


def test_too_many_identities_are_refused() -> None:
    with pytest.raises(ValueError, match="21 requested, but the face table has 20"):
        plan_of(SynthesisConfig(identities=21))


def test_too_few_triplets_are_refused() -> None:
    with pytest.raises(ValueError, match="au_triplets: 8"):
        plan_of(SynthesisConfig(au_triplets=8))


def test_sample_ids_and_indices_are_inverse() -> None:
    plan = plan_of(SynthesisConfig(name="a-b"))
    assert plan.sample_id(42) == "a-b-00000042"
    assert plan.index_of("a-b-00000042") == 42
    for wrong in ("a-b-99999999", "c-00000001", "a-b", ""):
        with pytest.raises(KeyError):
            plan.index_of(wrong)


def test_identity_is_measured_on_the_stated_share() -> None:
    plan = plan_of(SynthesisConfig(samples=4000))
    share = np.mean([plan.measures_identity(index) for index in range(4000)])
    assert share == pytest.approx(0.05, abs=0.015)


def pair(onset: float, apex: float, track: list[float] | None = None) -> AUPair:
    vector = lambda value: np.full(17, value, dtype=np.float32)  # noqa: E731
    return AUPair(
        onset=vector(onset),
        apex=vector(apex),
        track=None if track is None else np.stack([vector(value) for value in track]),
        emotion=Emotion.HAPPINESS,
        source="real_mie",
        dataset="test",
        subject="1",
    )


def test_two_frames_are_onset_and_apex() -> None:
    aus, apex = expression(pair(0.5, 2), SequenceConfig())
    assert aus.shape == (2, 17)
    assert aus[:, 0].tolist() == [0.5, 2]
    assert apex == 1


def test_frames_grow_by_the_easing_and_come_back() -> None:
    aus, apex = expression(pair(0, 2), SequenceConfig(frames=3, back_to_offset=True))
    assert aus[:, 3].tolist() == [0, 1, 2, 1, 0]
    assert apex == 2


def test_a_track_keeps_its_course() -> None:
    aus, _ = expression(pair(0, 2, [0, 2, 1, 2]), SequenceConfig(frames=7))
    assert aus[:, 0].tolist() == [0, 1, 2, 1.5, 1, 1.5, 2]


def test_unmeasured_aus_do_not_move() -> None:
    onset, apex = np.ones((2, 17), dtype=np.float32)
    onset[4] = apex[5] = np.nan
    half = replace(pair(1, 2), onset=onset, apex=apex)
    aus, _ = expression(half, SequenceConfig(frames=4))
    assert np.isfinite(aus).all()
    assert (aus[:, 4:6] == 0).all()


@pytest.mark.parametrize("kind", ["linear", "smooth", "early", "late"])
def test_every_easing_grows_from_zero_to_one(kind: str) -> None:
    grown = ease(np.linspace(0, 1, 11), kind)
    assert grown[0] == 0
    assert grown[-1] == 1
    assert (np.diff(grown) > 0).all()


def test_identities_of_a_large_table_are_drawn_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miex.pipeline.synthesis.plan._DRAWN_AT_ONCE", 10)
    config = SynthesisConfig(identities=7, seed=3)
    names = [f"person {number}" for number in range(20)]
    plan = plan_of(config, names)
    faces = [plan.draw(index, 0).face for index in range(plan.samples)]
    assert plan.identities == len(set(faces)) == 7
    assert faces == sorted(faces)
    assert plan_of(config, names).draw(40, 0).face == faces[40]
    others = plan_of(SynthesisConfig(identities=7, seed=4), names)
    assert {others.draw(index, 0).face for index in range(plan.samples)} != set(faces)
    everyone = plan_of(SynthesisConfig(identities=20), names)
    assert {everyone.draw(index, 0).face for index in range(everyone.samples)} == set(range(20))


@pytest.mark.parametrize(
    ("samples", "rows"), [(90, 128), (2000, 128), (8193, 256), (45_000, 768), (90_000, 1024)]
)
def test_the_size_of_shards_follows_from_the_number_of_samples(samples, rows):
    assert SynthesisConfig().shard_rows(samples) == rows
    assert SynthesisConfig(rows_per_shard=7).shard_rows(samples) == 7
