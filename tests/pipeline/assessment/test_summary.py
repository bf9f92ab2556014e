"""Tests that generators with known errors get the expected measures."""

import numpy as np
import pytest

from miex.au_sources.action_units import AU_NAMES
from miex.pipeline.assessment.config import Targets
from miex.pipeline.assessment.measure import Measurements
from miex.pipeline.assessment.summary import fidelity, fidelity_error, motion, realism
from miex.pipeline.assessment.targets import (
    judge_fidelity,
    judge_identity,
    judge_motion,
    judge_realism,
)

MEASURED = [name for name in AU_NAMES if name != "AU14"]


def test_a_perfect_generator_is_perfect(perfect):
    measured, cases = perfect
    found = fidelity(measured, cases, 0)
    own = np.array([one.au != "AU14" for one in found.aus])
    assert np.allclose(found.leakage[own][:, own], np.eye(16), atol=0.02)
    assert np.isnan(found.leakage[:, ~own]).all()
    for one in found.aus:
        if one.au == "AU14":
            assert one.correlation is one.specificity is one.micro is None
            assert set(one.direction.values()) == {None}
            continue
        assert one.correlation == pytest.approx(1, abs=1e-3)
        assert one.specificity == pytest.approx(1, abs=1e-3)
        assert one.direction == {"1": 1.0, "2": 1.0, "3": 1.0}
        assert one.change["2"] == pytest.approx(2, abs=0.02)
        assert one.leak == pytest.approx(0, abs=0.01)
    assert found.aus[8].micro == pytest.approx(1, abs=1e-3)
    assert found.aus[0].micro is None  # never asked for
    assert found.sample == pytest.approx(1, abs=0.01)
    assert found.lost == 0
    verdicts = judge_fidelity(
        found, fidelity_error(measured, cases, 0, MEASURED, 0), MEASURED, Targets()
    )
    assert [verdict.met for verdict in verdicts] == [True, True]
    assert judge_identity(measured.distance, Targets()).value == 1
    moved = motion(measured, cases, (0.5, 3.0), 0.002)
    assert moved.nulls == moved.micro_nulls == 0
    assert [verdict.met for verdict in judge_motion(moved, Targets())] == [True, True]


def test_one_that_ignores_aus_does_nothing(measure_with, fake_generator):
    measured, cases = measure_with(fake_generator(lambda aus: 0 * aus))
    found = fidelity(measured, cases, 0)
    assert {one.correlation for one in found.aus} == {None}
    assert found.mean_correlation(MEASURED) == 0
    assert found.mean_direction(MEASURED, 2) == 0
    assert found.aus[0].silent == {"1": 1.0, "2": 1.0, "3": 1.0}
    assert found.sample is None
    moved = motion(measured, cases, (0.5, 3.0), 0.002)
    assert moved.nulls == 1
    assert moved.null_aus == list(AU_NAMES)
    verdicts = [*judge_fidelity(found, 0, MEASURED, Targets()), *judge_motion(moved, Targets())]
    assert [verdict.met for verdict in verdicts] == [False] * 4


def test_one_that_moves_the_wrong_au_leaks(measure_with, fake_generator):
    measured, cases = measure_with(fake_generator(lambda aus: np.roll(aus, 1)))
    found = fidelity(measured, cases, 0)
    assert found.leakage[0, 1] == pytest.approx(1, abs=0.02)
    assert found.leakage[0, 0] == 0
    assert found.aus[0].correlation is None
    assert found.aus[0].leak == pytest.approx(1 / 15, abs=0.01)
    assert found.aus[0].specificity < 0
    assert found.mean_direction(MEASURED, 2) == 0
    assert found.sample < 0.6


def test_one_that_moves_backwards_goes_in_the_wrong_direction(measure_with, fake_generator):
    measured, cases = measure_with(fake_generator(lambda aus: 3 - aus))
    found = fidelity(measured, cases, 0)
    assert found.mean_correlation(MEASURED) == pytest.approx(-1, abs=1e-3)
    assert found.leakage[3, 3] == pytest.approx(-1, abs=0.02)
    assert found.aus[3].direction == {"1": 0.0, "2": 0.0, "3": 0.0}


def test_one_that_always_moves_as_far_has_direction_without_correlation(
    measure_with, fake_generator
):
    measured, cases = measure_with(fake_generator(lambda aus: 1.0 * (aus > 0)))
    found = fidelity(measured, cases, 0)
    assert found.mean_correlation(MEASURED) == 0
    assert found.mean_direction(MEASURED, 2) == 1
    assert found.aus[0].specificity > 0.8


def test_another_person_is_noticed(measure_with, fake_generator):
    measured, _ = measure_with(fake_generator(stranger=True))
    verdict = judge_identity(measured.distance, Targets())
    assert verdict.value == 0
    assert verdict.met is False


def test_realism_compares_generators_on_equal_splits(perfect, measure_with, fake_generator):
    measured, cases = perfect
    same = realism(measured, cases, 0, 5)
    again = realism(measured, cases, 0, 5)
    assert [row.embedding for row in same[:3]] == ["id"] * 3
    assert [row.cases for row in same[:3]] == ["all", "single", "micro"]
    assert np.array_equal(same[0].terms, again[0].terms)
    stranger, _ = measure_with(fake_generator(stranger=True))
    other = realism(stranger, cases, 0, 5)
    assert other[0].kid > same[0].kid
    assert other[0].floor == same[0].floor
    assert judge_realism(same[0], other[0]).met is True
    assert judge_realism(other[0], same[0]).met is False
    assert judge_realism(same[0], same[0]).met is False
    assert judge_realism(same[0], None).met is None


def test_measurements_survive_a_file(perfect, tmp_path):
    measured, _ = perfect
    measured.save(tmp_path / "part.npz")
    loaded = Measurements.load(tmp_path / "part.npz")
    assert np.array_equal(loaded.asked, measured.asked)
    assert loaded.rendered.keys() == measured.rendered.keys()
    assert np.array_equal(loaded.rendered["texture"], measured.rendered["texture"])
    joined = Measurements.join([loaded, measured])
    assert len(joined.asked) == 12


def test_motion_is_stated_for_a_frame_of_128(perfect):
    measured, cases = perfect
    micro = [number for number, case in enumerate(cases) if case.kind == "micro"]
    # The frame shifts by a whole number of pixels, 1 or 2 of them.
    assert 0.7 < float(np.median(measured.motion[:, micro])) < 2.2
    assert np.allclose(measured.motion_iod, measured.motion / 40, rtol=1e-4)
