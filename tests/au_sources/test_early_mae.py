"""Early frames of macro-expressions."""

import numpy as np
import pytest
from pydantic import ValidationError

from miex.au_sources.action_units import AU_COUNT, AU_NUMBERS
from miex.au_sources.early_mae import EarlyMaeConfig, extract, find_rise, window
from miex.datasets.clips.base import ApexRule

AU12 = AU_NUMBERS.index(12)

FREE = {"apex": None, "apex_rule": ApexRule.NONE}


def linear(number):
    return number / 10


@pytest.mark.parametrize(
    ("n", "alpha", "first", "last"),
    [
        (20, (1 / 4, 1 / 2), 5, 10),
        (11, (1 / 4, 1 / 2), 2, 5),
        (8, (1 / 4, 1 / 2), 2, 4),
        (7, (1 / 4, 1 / 2), 1, 3),
        (3, (1 / 4, 1 / 2), 1, 1),
        (20, (0.1, 0.3), 2, 6),
        (20, (0.0, 0.2), 1, 4),
        (20, (1.0, 1.0), 19, 19),
    ],
)
def test_the_window_runs_from_floor_to_floor(n, alpha, first, last):
    frames = window(n, alpha)
    assert (frames[0], frames[-1]) == (first, last)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_clip_can_be_too_short(n):
    assert not window(n, (1 / 4, 1 / 2))


def test_apexes_come_from_the_whole_window_and_nowhere_else(reader_of, frame_estimator):
    seen = set()
    for seed in range(40):
        config = EarlyMaeConfig(seed=seed, draws=1)
        (pair,) = extract(reader_of({}), frame_estimator(linear), config).pool
        assert pair.onset_frame == 1
        assert pair.apex[AU12] == pytest.approx(pair.apex_frame / 10)
        seen.add(pair.apex_frame)
    # 11 frames to the apex: 2 to 5 frames after the first.
    assert seen == {3, 4, 5, 6}


def test_all_frames_of_the_window_are_kept_by_default(reader_of, frame_estimator):
    found = extract(reader_of({}), frame_estimator(linear))
    assert [pair.apex_frame for pair in found.pool] == [3, 4, 5, 6]
    assert found.counts["distinct pairs"] == 4
    assert "clips with fewer frames than draws" not in found.counts


def test_more_draws_are_other_frames_and_keep_the_first(reader_of, frame_estimator):
    one = extract(reader_of({}), frame_estimator(linear), EarlyMaeConfig(draws=1)).pool
    many = extract(reader_of({}), frame_estimator(linear), EarlyMaeConfig(draws=9))
    frames = [pair.apex_frame for pair in many.pool]
    assert sorted(frames) == [3, 4, 5, 6]
    assert frames[0] == one[0].apex_frame
    assert many.counts["clips with fewer frames than draws"] == 1
    assert many.counts["clips with pairs"] == 1


def test_a_draw_depends_on_seed_and_clip_alone(reader_of, frame_estimator):
    config = EarlyMaeConfig(seed=0, draws=1)
    alone = extract(reader_of({"clip": "x"}), frame_estimator(linear), config).pool
    others = [{"clip": f"{n}", "subject": "s0"} for n in range(6)]
    among = extract(
        reader_of(*others, {"clip": "x", "subject": "s0"}), frame_estimator(linear), config
    ).pool
    assert among[6].apex_frame == alone[0].apex_frame
    assert len({pair.apex_frame for pair in among}) > 1


def test_the_frames_that_are_there_are_counted(reader_of, frame_estimator):
    clip = reader_of({}).clips()[0]
    there = type(clip.frames)([1, 2, 3, 9, 10, 11])
    found = extract(reader_of({"frames": there}), frame_estimator(linear), EarlyMaeConfig(draws=5))
    # Six frames: 1 to 3 frames after the first.
    assert sorted(pair.apex_frame for pair in found.pool) == [2, 3, 9]


def test_shared_options_hold(reader_of, frame_estimator):
    config = EarlyMaeConfig(relative=True, track=True, window=3, draws=1)
    (pair,) = extract(reader_of({}), frame_estimator(linear), config).pool
    assert not np.nan_to_num(pair.onset).any()
    assert pair.track.shape == (pair.apex_frame, AU_COUNT)
    assert "median of 3 frames; change from the onset" in pair.estimator
    assert "0.25 to 0.5 of the way to the macro apex (annotated)" in pair.estimator
    small = EarlyMaeConfig(min_change=3, draws=1)
    assert extract(reader_of({}), frame_estimator(linear), small).reasons == {"small_change": 1}


def test_what_gives_no_pair_is_counted(reader_of, frame_estimator):
    reader = reader_of({"apex": 2}, {}, FREE)
    one = EarlyMaeConfig(draws=1)
    found = extract(reader, frame_estimator(lambda number: None), one)
    assert [(r.origin, r.reason) for r in found.rejections] == [
        ("listed:s0/c0", "too_short"),
        ("listed:s1/c1", "no_face_at_onset"),
        ("listed:s2/c2", "no_face"),
    ]
    still = extract(reader_of(FREE), frame_estimator(lambda number: 1.0))
    assert still.reasons == {"no_expression": 1}


def ramp(start, stop, height=3.0):
    """Rest, a rise from one frame to another, hold."""
    return lambda number: float(np.clip((number - start) / (stop - start), 0, 1)) * height


def measured(values):
    aus = np.zeros((len(values), AU_COUNT), dtype=np.float32)
    aus[:, AU12] = values
    return aus, np.ones(len(values), dtype=bool)


def test_a_rise_is_found_between_rest_and_hold():
    aus, valid = measured([ramp(40, 50)(number) for number in range(100)])
    rise = find_rise(aus, valid)
    assert (rise.onset, rise.apex) == (40, 50)
    assert rise.size == pytest.approx(3)


def test_noise_in_other_aus_a_blink_and_a_longer_rest_change_little():
    rng = np.random.default_rng(0)
    aus, valid = measured([ramp(140, 150)(number) for number in range(200)])
    aus[:, :8] += rng.uniform(0, 0.6, (200, 8)).astype(np.float32)
    aus[30:36, -1] = 5
    valid[145] = False
    aus[145] = np.nan
    rise = find_rise(aus, valid)
    assert abs(rise.onset - 140) <= 1
    assert abs(rise.apex - 150) <= 1


def test_of_two_expressions_the_stronger_is_found_with_its_own_onset():
    values = [ramp(10, 20, 2)(n) if n < 40 else ramp(60, 70, 3)(n) for n in range(100)]
    rise = find_rise(*measured(values))
    assert (rise.onset, rise.apex) == (60, 70)


@pytest.mark.parametrize("height", [0.0, 0.9])
def test_no_rise(height):
    assert find_rise(*measured([ramp(10, 20, height)(n) for n in range(30)])) is None


def test_a_free_video_is_searched_first(reader_of, frame_estimator):
    config = EarlyMaeConfig(draws=9)
    found = extract(reader_of(FREE), frame_estimator(ramp(6, 16, 1.0)), config)
    assert {pair.onset_frame for pair in found.pool} == {6}
    # 11 frames to the apex at 16.
    assert sorted(pair.apex_frame for pair in found.pool) == [8, 9, 10, 11]
    shares = np.array([pair.apex[AU12] for pair in found.pool])
    assert shares.min() == pytest.approx(0.2)
    assert shares.max() == pytest.approx(0.5)
    assert found.counts["clips whose onset and apex were found"] == 1
    assert "found along its strongest change" in found.pool[0].estimator


@pytest.mark.parametrize("alpha", [(0.5, 0.25), (-0.1, 0.5), (0.5, 1.1)])
def test_wrong_windows_are_refused(alpha):
    with pytest.raises(ValidationError, match="0 <= alpha1 <= alpha2 <= 1"):
        EarlyMaeConfig(alpha=alpha)
