from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from miex.au_sources.action_units import AU_NUMBERS
from miex.au_sources.base import AUSource, open_source
from miex.au_sources.expert import ExpertSource
from miex.au_sources.expert_table import ExpertTable, load_table, table_names
from miex.datasets.labels import LABEL_SPACES, Emotion

DRAWS = 20_000


def apexes(source: ExpertSource, emotion: Emotion, draws: int = DRAWS) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([source.draw_apex(emotion, rng) for _ in range(draws)])


def table_of(**emotions: dict[int, object]) -> ExpertTable:
    return ExpertTable.model_validate(
        dict(name="t", version="1", citation="c", source="s", licence="l", emotions=emotions)
    )


def conditional(table: ExpertTable, emotion: Emotion) -> np.ndarray:
    """Probability of each AU given that any is on."""
    p = table.probabilities(emotion)
    return p / (1 - np.prod(1 - p))


@pytest.mark.parametrize("name", table_names())
def test_aus_are_as_frequent_as_the_table_says(name: str) -> None:
    table = load_table(name)
    source = ExpertSource(table)
    for emotion in table.emotions:
        active = apexes(source, emotion, 4000) > 0
        p = shares(table, emotion)
        sigma = np.sqrt(p * (1 - p) / len(active))
        assert (np.abs(active.mean(axis=0) - p) <= 4.5 * sigma + 1e-9).all()


def shares(table: ExpertTable, emotion: Emotion) -> np.ndarray:
    """Return how often each AU is active: of combinations by their weights."""
    together = table.combinations.get(emotion)
    if together is None:
        return conditional(table, emotion)
    weights = {aus: float(weight) for aus, weight in together.items()}
    return np.array(
        [
            sum(w for aus, w in weights.items() if n in aus) / sum(weights.values())
            for n in AU_NUMBERS
        ]
    )


def test_no_draw_is_empty_and_combinations_follow_the_condition() -> None:
    apex = apexes(ExpertSource(load_table("miex")), Emotion.FEAR)
    on = apex > 0
    assert on.any(axis=1).all()
    used = [AU_NUMBERS.index(number) for number in (5, 20, 25, 26)]
    counts = Counter(map(tuple, on[:, used].tolist()))
    # Four fair coins without "all off": fifteen outcomes, equally likely.
    expected = DRAWS / 15
    outcomes = [o for o in product((False, True), repeat=4) if any(o)]
    chi_square = sum((counts[outcome] - expected) ** 2 / expected for outcome in outcomes)
    assert chi_square < 36.1  # 14 degrees of freedom, p = 0.001


def test_combinations_of_unequal_odds_follow_the_condition() -> None:
    p = {1: 0.1, 4: 0.02, 12: 0.3}
    on = apexes(ExpertSource(table_of(fear=p), intensity=(1, 1)), Emotion.FEAR) > 0
    counts = Counter(map(tuple, on[:, [AU_NUMBERS.index(n) for n in p]].tolist()))
    chi_square = 0.0
    any_on = 1 - np.prod([1 - x for x in p.values()])
    for outcome in product((False, True), repeat=3):
        odds = np.prod([x if o else 1 - x for o, x in zip(outcome, p.values(), strict=True)])
        if any(outcome):
            expected = DRAWS * odds / any_on
            chi_square += (counts[outcome] - expected) ** 2 / expected
        else:
            assert counts[outcome] == 0
    assert chi_square < 22.5  # 6 degrees of freedom, p = 0.001


def test_an_emotion_that_hardly_ever_shows_is_drawn_at_once() -> None:
    apex = apexes(ExpertSource(table_of(fear={5: 1e-12, 45: 3e-12})), Emotion.FEAR) > 0
    assert (apex.sum(axis=1) == 1).all()
    assert apex[:, -1].mean() == pytest.approx(0.75, abs=0.015)


def test_intensities_are_uniform_in_their_range() -> None:
    smile = AU_NUMBERS.index(12)
    values = apexes(ExpertSource(load_table("miex")), Emotion.HAPPINESS)[:, smile]
    assert 0.5 <= values.min() < 0.51
    assert 1.49 < values.max() <= 1.5
    histogram, _ = np.histogram(values, bins=10, range=(0.5, 1.5))
    assert ((histogram - DRAWS / 10) ** 2 / (DRAWS / 10)).sum() < 27.9  # 9 dof, p = 0.001


def test_an_au_may_have_its_own_range() -> None:
    table = table_of(fear={5: {"probability": 1, "intensity": [3, 4]}, 4: 1})
    apex = apexes(ExpertSource(table, intensity=(0, 1)), Emotion.FEAR)
    assert 3 <= apex[:, AU_NUMBERS.index(5)].min() <= apex[:, AU_NUMBERS.index(5)].max() <= 4
    assert 0 < apex[:, AU_NUMBERS.index(4)].min() < 0.01


def test_a_pair_starts_neutral_and_says_where_it_is_from() -> None:
    source = ExpertSource(load_table("du2014"))
    pair = source.draw("surprise", np.random.default_rng(0))
    assert not pair.onset.any()
    assert pair.emotion is Emotion.SURPRISE
    assert pair.source == "expert"
    assert pair.dataset is pair.subject is pair.track is None
    assert pair.estimator == source.description == f"table du2014 1 (sha256 {source.sha256[:12]})"


def test_the_generator_alone_decides() -> None:
    source = ExpertSource(load_table("casme3"))
    one, again, other = (
        [source.draw("negative", rng) for _ in range(50)]
        for rng in (np.random.default_rng(seed) for seed in (0, 0, 1))
    )
    same = [np.array_equal(a.apex, b.apex) for a, b in zip(one, again, strict=True)]
    assert all(same)
    assert [a.emotion for a in one] == [b.emotion for b in again]
    assert not all(np.array_equal(a.apex, b.apex) for a, b in zip(one, other, strict=True))


def test_a_draw_takes_the_same_numbers_whatever_comes_out() -> None:
    source = ExpertSource(load_table("miex"))
    states = set()
    for emotion_class in LABEL_SPACES["three_class"].classes:
        rng = np.random.default_rng(7)
        source.draw(emotion_class, rng)
        states.add(str(rng.bit_generator.state))
    assert len(states) == 1


def emotions_of(source: AUSource, draws: int = 5000) -> Counter[Emotion]:
    rng = np.random.default_rng(3)
    return Counter(source.draw("negative", rng).emotion for _ in range(draws))


def test_fine_emotions_are_equally_likely_by_default() -> None:
    counts = emotions_of(ExpertSource(load_table("miex")))
    assert set(counts) == {
        Emotion.SADNESS,
        Emotion.FEAR,
        Emotion.ANGER,
        Emotion.DISGUST,
        Emotion.CONTEMPT,
    }
    assert all(count == pytest.approx(1000, abs=110) for count in counts.values())


def test_weights_shift_the_fine_emotions() -> None:
    weights = {"Fear": 3e307, "contempt": 0} | dict.fromkeys(["sad", "angry", "disgust"], 1e307)
    counts = emotions_of(open_source("expert:miex", emotion_weights=weights))
    assert counts[Emotion.CONTEMPT] == 0
    assert counts[Emotion.FEAR] == pytest.approx(2500, abs=140)
    assert counts[Emotion.ANGER] == pytest.approx(833, abs=110)


def test_weights_of_absent_emotions_are_passed_over() -> None:
    source = open_source("expert:du2014", emotion_weights={"contempt": 5})
    assert Emotion.CONTEMPT not in emotions_of(source, 500)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf")])
def test_wrong_weights_are_named(weight: float) -> None:
    with pytest.raises(ValueError, match=r"emotion_weights\.fear: .*expected a number from 0"):
        open_source("expert:miex", emotion_weights={"fear": weight})


def test_a_class_without_emotions_is_refused() -> None:
    source = ExpertSource(table_of(fear={5: 1}, happiness={12: 1}))
    assert source.classes == {"negative", "positive"}
    with pytest.raises(
        ValueError,
        match=r"table 't' has no emotion of class 'surprise'.*it has: negative, positive",
    ):
        source.draw("surprise", np.random.default_rng(0))
    with pytest.raises(ValueError, match="has no AUs for anger; it has: fear, happiness"):
        source.draw_apex(Emotion.ANGER, np.random.default_rng(0))


def test_a_class_whose_weights_are_all_zero_cannot_be_drawn() -> None:
    source = open_source("expert:miex", emotion_weights={"surprise": 0})
    assert source.classes == {"negative", "positive"}


def test_a_table_that_has_nothing_of_the_label_space_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no emotion of label space 'samm_5class'.*has: fear"):
        ExpertSource(table_of(fear={5: 1}), LABEL_SPACES["samm_5class"])


def test_other_label_spaces() -> None:
    source = open_source("expert:casme3", label_space=LABEL_SPACES["casme3_7class"])
    assert source.classes == set(LABEL_SPACES["casme3_7class"].classes)
    assert source.draw("others", np.random.default_rng(0)).emotion is Emotion.OTHERS


@pytest.mark.parametrize("intensity", [(2, 1), (-1, 1), (0, 0), (1, 6), (float("nan"), 1)])
def test_wrong_intensities_are_refused(intensity: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="intensity: "):
        ExpertSource(load_table("miex"), intensity=intensity)


def test_sources_are_opened_by_their_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nversion: '3'\ncitation: c\nsource: s\nlicence: l\nemotions: {fear: {5: 1}}\n"
    )
    source = open_source(f"expert:{path}", intensity=(2, 2))
    assert source.name == "expert"
    assert (source.citation, source.licence) == ("c", "l")
    apex = source.draw("negative", np.random.default_rng(0)).apex
    assert apex[AU_NUMBERS.index(5)] == 2
    with pytest.raises(FileNotFoundError, match="no expert table 'none'"):
        open_source("expert:none")
    with pytest.raises(FileNotFoundError, match="no AU pool at"):
        open_source(f"pool:{tmp_path / 'absent.parquet'}")
    for spec in ("miex", "expert:", "pool", "openface:x.csv", ""):
        with pytest.raises(ValueError, match=r"expected expert:NAME, expert:FILE\.yaml or pool:"):
            open_source(spec)
    with pytest.raises(ValueError, match="unknown emotion 'angst'"):
        open_source("expert:miex", emotion_weights={"angst": 1})
