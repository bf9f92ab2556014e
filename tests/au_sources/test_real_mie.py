"""Pairs of annotated clips: through an estimator, and from human codes alone."""

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from miex.au_sources.action_units import AU_NAMES, AU_NUMBERS
from miex.au_sources.extraction import ExtractionConfig
from miex.au_sources.pool import AUPool
from miex.au_sources.real_mie import FacsConfig, extract, from_facs_codes
from miex.datasets.base import Rejection
from miex.datasets.clips.base import ApexRule, open_clips
from miex.datasets.clips.frames import index_frames
from miex.datasets.labels import parse_emotion

AU12 = AU_NUMBERS.index(12)


def linear(number):
    return number / 10


def test_onset_and_apex_are_read_as_annotated(reader_of, frame_estimator):
    estimator = frame_estimator(linear)
    (pair,) = extract(reader_of({}), estimator).pool
    assert (pair.onset[AU12], pair.apex[AU12]) == pytest.approx((0.1, 1.1))
    assert np.isnan([pair.onset[-1], pair.apex[-1]]).all()
    assert pair.track is None
    assert estimator.seen == [1, 11]


def test_provenance_is_complete(reader_of, frame_estimator):
    reader = reader_of({"apex_rule": ApexRule.MIDDLE_FRAME})
    config = ExtractionConfig(window=3, relative=True)
    pool = extract(reader, frame_estimator(linear), config).pool
    (pair,) = pool
    assert (pair.source, pair.dataset, pair.subject, pair.clip) == (
        *("real_mie", "listed", "s0", "c0"),
    )
    assert (pair.onset_frame, pair.apex_frame) == (1, 11)
    assert pair.estimator == (
        "fake (fake 1); apex middle frame: onset + (offset - onset) // 2; median of 3 frames; "
        "change from the onset"
    )
    assert pool.licence == "terms of listed"


def test_the_median_drops_an_outlier_and_looks_only_at_neighbours(reader_of, frame_estimator):
    estimator = frame_estimator(lambda number: 5.0 if number == 11 else 1.0)
    (alone,) = extract(reader_of({}), estimator).pool
    (denoised,) = extract(reader_of({}), estimator, ExtractionConfig(window=3)).pool
    assert (alone.apex[AU12], denoised.apex[AU12]) == (5, 1)
    assert estimator.seen[2:] == [1, 2, 10, 11, 12]


def test_the_median_passes_over_frames_without_a_face(reader_of, frame_estimator):
    estimator = frame_estimator(lambda number: None if number in (11, 12) else linear(number))
    assert extract(reader_of({}), estimator).reasons == {"no_face_at_apex": 1}
    (pair,) = extract(reader_of({}), estimator, ExtractionConfig(window=3)).pool
    assert pair.apex[AU12] == pytest.approx(1.0)


def test_relative_values_start_at_zero_and_never_fall_below(reader_of, frame_estimator):
    config = ExtractionConfig(relative=True, track=True)
    (pair,) = extract(reader_of({}), frame_estimator(linear), config).pool
    assert pair.onset[AU12] == 0
    assert pair.apex[AU12] == pytest.approx(1.0)
    assert pair.track[:, AU12] == pytest.approx(np.arange(11) / 10)
    falling = frame_estimator(lambda number: 3 - linear(number))
    (pair,) = extract(reader_of({}), falling, config).pool
    assert np.nanmax(pair.apex) == 0
    assert np.isnan(pair.apex[-1])


def test_a_track_fills_gaps(reader_of, frame_estimator):
    estimator = frame_estimator(lambda number: None if number == 5 else number**2 / 50)
    (pair,) = extract(reader_of({}), estimator, ExtractionConfig(track=True)).pool
    assert pair.track.shape == (11, 17)
    assert pair.track[4, AU12] == pytest.approx((16 + 36) / 100)
    assert np.array_equal(pair.track[-1], pair.apex, equal_nan=True)


def test_the_smallest_change_is_a_boundary(reader_of, frame_estimator):
    estimator = frame_estimator(lambda number: 0.5 if number == 11 else 0.0)
    kept = extract(reader_of({}), estimator, ExtractionConfig(min_change=0.5))
    left_out = extract(reader_of({}), estimator, ExtractionConfig(min_change=0.51))
    assert (len(kept.pool), len(left_out.pool)) == (1, 0)
    assert left_out.rejections == (
        Rejection(
            "listed:s0/c0",
            "small_change",
            "the largest change of an AU from frame 1 to 11 is 0.50, expected 0.51",
        ),
    )


def test_every_clip_is_accounted_for(reader_of, frame_estimator):
    own = Rejection("listed:s9/c9", "no_frames", "row 9: no frames are there")
    reader = reader_of({}, {"apex": None}, {"apex": 1}, {"onset": 3}, rejections=[own])
    estimator = frame_estimator(lambda number: None if number == 1 else 1.0)
    progress = []
    found = extract(reader, estimator, on_clip=lambda *done: progress.append(done))
    assert [(r.origin, r.reason) for r in found.rejections] == [
        ("listed:s9/c9", "no_frames"),
        ("listed:s0/c0", "no_face_at_onset"),
        ("listed:s1/c1", "no_apex"),
        ("listed:s2/c2", "apex_is_onset"),
    ]
    assert found.counts["clips"] == 4
    assert found.counts["pairs"] == found.counts["pairs without change"] == 1
    assert found.counts["left out"] == 4
    assert progress == [(done, 4) for done in range(5)]


def test_a_clip_with_a_damaged_frame_is_left_out_alone(reader_of, frame_estimator, tmp_path):
    for number in (1, 11):
        (tmp_path / f"img{number}.jpg").write_bytes(b"no image")
    reader = reader_of({"frames": index_frames(tmp_path)}, {})
    found = extract(reader, frame_estimator(lambda number: number / 5))
    assert [pair.clip for pair in found.pool] == ["c1"]
    assert found.reasons == {"unreadable_frame": 1}
    assert str(tmp_path / "img1.jpg") in found.rejections[0].detail


def test_the_account_lies_beside_the_pool(reader_of, frame_estimator, tmp_path):
    reader = reader_of({}, {"apex": None})
    found = extract(reader, frame_estimator(linear))
    account = found.write(tmp_path / "pool.parquet")
    content = json.loads(account.read_text())
    assert account == tmp_path / "pool.json"
    assert content["pool_sha256"] == AUPool.read(tmp_path / "pool.parquet").sha256
    assert content["reasons"] == {"no_apex": 1}
    assert content["settings"]["config"]["window"] == 1
    assert content["rejections"][0]["origin"] == "listed:s1/c1"
    with pytest.raises(ValueError, match="an AU pool ends in"):
        found.write(tmp_path / "pool.csv")
    nothing = extract(reader_of({"apex": None}), frame_estimator(linear))
    with pytest.raises(ValueError, match=r"no clip gave AUs \(1 no_apex; row 0"):
        nothing.write(tmp_path / "none.parquet")
    assert not (tmp_path / "none.parquet").exists()


def test_a_window_has_a_middle():
    with pytest.raises(ValidationError, match="take an odd number"):
        ExtractionConfig(window=4)


def test_a_database_without_frames_is_refused(reader_of, frame_estimator):
    with pytest.raises(ValueError, match="opened without frames"):
        extract(reader_of({"frames": None}), frame_estimator(linear))


def coded(*cells):
    return [{"aus": cell, "frames": None} for cell in cells]


def test_letters_are_intensities_and_the_rest_is_drawn(reader_of):
    pool = from_facs_codes(reader_of(*coded("R12B+4", "T24+25"))).pool
    apex = dict(zip(AU_NAMES, pool[0].apex.tolist(), strict=True))
    assert apex["AU12"] == 2
    assert 0.5 <= apex["AU04"] <= 1.5
    assert sum(value > 0 for value in apex.values()) == 2
    assert not pool.onset.any()
    assert pool[0].estimator == (
        "FACS codes; apex annotated; letters A-E as 1-5; AU04 drawn from U(0.5, 1.5), seed 0"
    )
    assert "AU25 drawn" in pool[1].estimator


@pytest.mark.parametrize(("letter", "expected"), [("A", 0.5), ("C", 1.0), ("E", 1.5)])
def test_micro_letters_stay_in_the_range(reader_of, letter, expected):
    config = FacsConfig(letters="micro")
    (pair,) = from_facs_codes(reader_of(*coded(f"12{letter}")), config).pool
    assert pair.apex[AU12] == expected


def test_a_draw_depends_on_seed_clip_and_au_alone(reader_of):
    both = from_facs_codes(reader_of(*coded("4+12", "12"))).pool
    turned = from_facs_codes(reader_of(*coded("12+4", "12+1"))).pool
    other = from_facs_codes(reader_of(*coded("4+12")), FacsConfig(seed=1)).pool
    assert np.array_equal(both[0].apex, turned[0].apex)
    assert both[1].apex[AU12] == turned[1].apex[AU12] != both[0].apex[AU12]
    assert other[0].apex[AU12] != both[0].apex[AU12]


def test_codes_outside_of_the_space_are_counted_and_their_clips_kept(reader_of):
    found = from_facs_codes(reader_of(*coded("24+4", "L38+R38", "13?")))
    assert len(found.pool) == 3
    assert found.counts["AU24 outside of the 17 AUs"] == 1
    assert found.counts["AU38 outside of the 17 AUs"] == 1
    assert found.counts["clips with none of the 17 AUs"] == 2
    assert found.counts["pairs without change"] == 2
    assert found.counts["uncertain codes"] == 1


def test_what_cannot_be_read_is_left_out(reader_of):
    cells = (None, "R12 or R15", "nonsense")
    found = from_facs_codes(reader_of(*coded(*cells)))
    assert found.reasons == {"not_coded": 1, "unreadable_aus": 1}
    assert found.pool[0].estimator.endswith("some codes uncertain") is False
    strict = from_facs_codes(reader_of(*coded(*cells)), FacsConfig(alternatives="error"))
    assert strict.reasons == {"unreadable_aus": 2, "not_coded": 1}
    wide = from_facs_codes(reader_of(*coded(cells[1])), FacsConfig(alternatives="all"))
    assert (wide.pool.apex > 0).sum() == 2
    assert wide.pool[0].estimator.endswith("some codes uncertain")


def test_a_wrong_range_is_refused():
    with pytest.raises(ValidationError, match="0 < low <= high <= 5"):
        FacsConfig(intensity=(0, 1))


@pytest.fixture(scope="module")
def casme3(shared):
    folder = shared / "data" / "casme3"
    if not folder.is_dir():
        pytest.skip("the sheets of CAS(ME)3 are not among the shared data")
    return from_facs_codes(open_clips(f"casme3:{folder}", frames=False))


def test_every_row_of_casme3_gives_its_pair(casme3, shared):
    clips = open_clips(f"casme3:{shared / 'data' / 'casme3'}", frames=False).clips()
    assert casme3.rejections == ()
    assert len(casme3.pool) == 860
    for clip, pair in zip(clips, casme3.pool, strict=True):
        assert (pair.dataset, pair.subject, pair.clip) == clip.key
        assert (pair.onset_frame, pair.apex_frame) == (clip.onset, clip.apex)
        assert pair.emotion is clip.emotion


def test_frequencies_of_casme3_equal_the_reference(casme3, shared):
    reference = Path(shared / "reference" / "casme3_partA_au_given_emotion.csv")
    emotions = np.array([str(emotion) for emotion in casme3.pool.emotions])
    active = casme3.pool.apex > 0
    compared = Counter()
    for row in csv.DictReader(reference.open(encoding="utf-8")):
        number = int(row.pop("AU"))
        if number not in AU_NUMBERS:
            assert casme3.counts[f"AU{number} outside of the 17 AUs"] == int(row["n_all"])
            continue
        column = active[:, AU_NUMBERS.index(number)]
        assert column.sum() == int(row.pop("n_all"))
        assert column.mean() == pytest.approx(float(row.pop("all")), abs=5e-4)
        for name, share in row.items():
            of_emotion = column[emotions == parse_emotion(name)]
            assert of_emotion.mean() == pytest.approx(float(share), abs=5.1e-4), (number, name)
            compared[name] += 1
    assert set(compared.values()) == {13}


def test_casme3_ranges(casme3):
    on = casme3.pool.apex[casme3.pool.apex > 0]
    assert 0.5 <= on.min() <= 0.52
    assert 1.48 <= on.max() <= 1.5
    again = replace(casme3, settings={})
    assert again.pool.sha256 == casme3.pool.sha256
