from dataclasses import replace

import numpy as np
import pytest
import torch

from miex.datasets.base import Rejection
from miex.datasets.clips.base import ApexRule, Clip, open_clips
from miex.datasets.labels import LABEL_SPACES, Emotion
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.crop import crop_transform, cut, eye_centres
from miex.pipeline.faces.detection import DlibDetector
from miex.pipeline.fictitious_databases.write import write_fictitious
from miex.pipeline.recognition.clip_samples import (
    EARLY,
    LARGEST_MOTION,
    ClipSampleConfig,
    clip_blocks,
)
from miex.pipeline.recognition.frame_choice import chosen_frames, early_frame, largest_motion
from miex.pipeline.recognition.representations.landmark_graph import LandmarkGraph
from miex.pipeline.recognition.sample import require_usable

THREE = LABEL_SPACES["three_class"]


@pytest.fixture(scope="module")
def detector():
    """dlib without its CNN, which takes most of a second."""
    return DlibDetector(FaceConfig(cnn=False))


@pytest.fixture(scope="module")
def specs(tmp_path_factory, sample_table):
    folder = tmp_path_factory.mktemp("databases")
    return {
        name: write_fictitious(name, folder / name, 2, 3, seed=0, faces=sample_table).spec
        for name in ("casme2", "casme3", "video_folder")
    }


class Drawn:
    """A database of clips whose frames are drawn by the toy."""

    name, licence = "drawn", "none"

    def __init__(self, *clips, rejections=()):
        self._clips, self._rejections = clips, rejections

    def clips(self):
        return self._clips

    def report(self):
        return self

    @property
    def rejections(self):
        return self._rejections


class Images:
    def __init__(self, frames, first=10):
        self._frames = dict(enumerate(frames, start=first))
        self.numbers = list(self._frames)

    def images(self, numbers):
        return (self._frames[number] for number in numbers)


class Known:
    """Finds the face that it was told, unless the frame is black."""

    name = "known 1"

    def __init__(self, landmarks):
        self._landmarks = landmarks

    def find(self, image):
        return [(10.0, 10.0, 50.0, 50.0)] if image.any() else []

    def landmarks(self, image, box):
        return self._landmarks


@pytest.fixture
def toy(toy_samples):
    """A clip of nine frames from 10 on that is at its apex in frame 14, and its detector."""
    sample = toy_samples(1, frames=5, pixels=2.0)[0]
    rise = list(sample.frames)
    clip = Clip(
        database="drawn",
        subject="s1",
        clip="c1",
        emotion=Emotion.HAPPINESS,
        emotion_text="happiness",
        onset=10,
        apex=None,
        offset=18,
        apex_rule=ApexRule.NONE,
        frames=Images([*rise, *rise[3::-1]]),
    )
    return clip, Known(sample.landmarks[0])


def one(clip, detector, **config):
    blocks, rejections = clip_blocks(
        [Drawn(clip)], THREE, ClipSampleConfig(**config), detector=detector
    )
    assert not rejections
    (block,) = blocks
    (sample,) = block.load(landmarks=True)
    return block, sample


def test_every_clip_of_a_database_is_a_sample_or_a_rejection(specs, detector):
    reader = open_clips(specs["casme2"])
    progress = []
    blocks, rejections = clip_blocks(
        [reader], THREE, detector=detector, on_clip=lambda *at: progress.append(at)
    )
    infos = [info for block in blocks for info in block.infos]
    assert len(infos) + len(rejections) == reader.report().listed
    assert {rejection.reason for rejection in rejections} == {"no_class", "no_frames"}
    assert progress[0][0] == 0
    assert progress[-1] == (len(reader.clips()), len(reader.clips()))
    assert [{info.person for info in block.infos} for block in blocks] == [
        {("casme2", "sub01")},
        {("casme2", "sub02")},
    ]
    assert all(info.lineage == {info.person} and info.au_source is None for info in infos)
    clips = {clip.origin: clip for clip in reader.clips()}
    for info in infos:
        clip = clips[info.key]
        assert info.label == THREE.label(clip.emotion)
        assert info.emotion == THREE.classes[info.label]
        assert info.apex_rule == clip.apex_rule
    assert {info.apex_rule for info in infos} == {ApexRule.ANNOTATED, ApexRule.MIDDLE_FRAME}


def test_samples_are_cut_as_synthesized_faces_are(specs, detector):
    reader = open_clips(specs["casme2"])
    blocks, _ = clip_blocks([reader], THREE, detector=detector)
    samples = [sample for block in blocks for sample in block.load(landmarks=True)]
    assert [s.info for s in samples] == [info for block in blocks for info in block.infos]
    for sample in samples:
        require_usable(sample, landmarks="pair", side=128)
        assert sample.frames.shape == (2, 128, 128, 3)
        left, right = eye_centres(sample.landmarks[0])
        assert left[1] == pytest.approx(right[1], abs=0.01)
        assert right[0] - left[0] == pytest.approx(0.30 * 128, abs=0.01)
        assert left[1] == pytest.approx(0.38 * 128 - 0.5, abs=0.01)
    clip = reader.clips()[0]
    onset, apex = clip.images([clip.onset, clip.apex])
    points = detector.landmarks(onset, max(detector.find(onset), key=lambda box: box[2] - box[0]))
    matrix = crop_transform(points, 128, 0.30, 0.38)
    np.testing.assert_array_equal(samples[0].frames[0], cut(onset, matrix, 128))
    np.testing.assert_array_equal(samples[0].frames[1], cut(apex, matrix, 128))
    without = next(iter(blocks[0].load(landmarks=False)))
    assert without.landmarks is None
    nodes = LandmarkGraph().compute(samples, torch.device("cpu"))["nodes"]
    assert nodes.shape == (len(samples), 2, 3, 31)


def test_the_apex_of_a_video_is_found_where_it_was_drawn(specs, detector):
    reader = open_clips(specs["video_folder"])
    blocks, rejections = clip_blocks(
        [reader], THREE, ClipSampleConfig(frames="to_offset"), detector=detector
    )
    assert not rejections
    clips = {clip.origin: clip for clip in reader.clips()}
    found = 0
    for block in blocks:
        for sample in block.load(landmarks=False):
            clip = clips[sample.info.key]
            assert len(sample.frames) == len(clip.numbers())
            assert sample.apex_index == 7
            if clip.apex is None:
                assert sample.info.apex_rule == LARGEST_MOTION
                found += 1
    assert found == 3
    config = ClipSampleConfig(missing_apex="refuse")
    _, rejections = clip_blocks([reader], THREE, config, detector=detector)
    assert [rejection.reason for rejection in rejections] == ["no_apex"] * 3


def test_apexes_can_be_spotted_although_they_are_annotated(specs, detector):
    """Pitfall 11: with annotated apexes a score is that of perfect spotting."""
    reader = open_clips(specs["casme2"])
    config = ClipSampleConfig(apex="spotted")
    blocks, _ = clip_blocks([reader], THREE, config, detector=detector)
    rules = {info.apex_rule for block in blocks for info in block.infos}
    assert rules == {LARGEST_MOTION}
    annotated, _ = clip_blocks([reader], THREE, detector=detector)
    assert any("annotated" in info.apex_rule for block in annotated for info in block.infos)
    assert blocks[0].infos[0].aus == annotated[0].infos[0].aus is not None


def test_apex_on_the_onset_is_left_out(specs, detector):
    _, rejections = clip_blocks([open_clips(specs["casme3"])], THREE, detector=detector)
    reasons = {rejection.reason: rejection for rejection in rejections}
    assert "label', row 2: onset and apex are both frame 98" in reasons["apex_is_onset"].detail
    assert "belongs to no class of three_class" in reasons["no_class"].detail


def test_the_real_smile(shared, detector, tmp_path):
    video = shared / "data" / "videos" / "smile.mov"
    if not video.is_file():
        pytest.skip("no smile.mov in shared/data/videos")
    table = tmp_path / "clips.csv"
    (tmp_path / "smile.mov").write_bytes(video.read_bytes())
    table.write_text("path,subject,emotion,onset,offset\nsmile.mov,a,happiness,1,40\n")
    blocks, rejections = clip_blocks(
        [open_clips(f"video_folder:{table}")],
        THREE,
        ClipSampleConfig(frames="to_apex", most=6),
        detector=detector,
    )
    assert not rejections
    (sample,) = blocks[0].load(landmarks=True)
    assert sample.info.emotion == "positive"
    assert len(sample.frames) <= 6
    assert sample.apex_index == len(sample.frames) - 1
    corners = sample.landmarks[:, [48, 54], 0]
    width = corners[:, 1] - corners[:, 0]
    assert width[-1] > width[0] + 2


@pytest.mark.parametrize(
    ("frames", "most", "expected"),
    [
        ("pair", 3, [10, 14]),
        ("to_apex", 32, [10, 11, 12, 13, 14]),
        ("to_apex", 3, [10, 12, 14]),
        ("to_offset", 32, list(range(10, 20))),
        ("to_offset", 3, [10, 14, 19]),
        ("to_offset", 4, [10, 14, 16, 19]),
    ],
)
def test_which_frames_are_used(frames, most, expected):
    assert chosen_frames(range(10, 20), 14, frames, most) == expected


def test_thinning_always_keeps_the_ends_and_the_apex():
    for count in range(2, 40):
        there = list(range(100, 100 + 2 * count, 2))
        for apex in there[1:]:
            for most in (3, 5, 8):
                used = chosen_frames(there, apex, "to_offset", most)
                assert used == sorted(set(used))
                assert len(used) == min(most, count)
                assert {there[0], apex, there[-1]} <= set(used)


def test_the_largest_motion_is_the_apex_whatever_the_head_does(toy_samples):
    sample = toy_samples(1, frames=5, side=96)[0]
    frames = [*sample.frames, *sample.frames[3:0:-1]]
    moved = [np.roll(frame, shift, axis=1) for frame, shift in zip(frames, range(8), strict=True)]
    assert largest_motion(frames, sample.landmarks[0]) == 4
    assert largest_motion(moved, sample.landmarks[0]) == 4


def test_landmarks_of_later_frames(toy):
    clip, known = toy
    _, followed = one(clip, known, frames="to_offset")
    assert np.isfinite(followed.landmarks).all()
    assert np.ptp(followed.landmarks, axis=0).max() > 1
    dark = [*clip.images()]
    dark[3] = np.zeros_like(dark[3])
    blind = replace(clip, apex=14, apex_rule=ApexRule.ANNOTATED, frames=Images(dark))
    _, detected = one(blind, known, frames="to_offset", landmarks="detected")
    lost = np.isnan(detected.landmarks).all(axis=(1, 2))
    assert lost.tolist() == [number == 13 for number in range(10, 19)]
    np.testing.assert_allclose(detected.landmarks[4], detected.landmarks[0], atol=1e-4)


def test_content_is_what_decides_the_pixels(toy):
    clip, known = toy
    block, _ = one(clip, known)
    frames = [*clip.images()]
    touched = [frame.copy() for frame in frames]
    touched[0][0, 0] ^= 1
    unused = [frame.copy() for frame in frames]
    unused[-1][0, 0] ^= 1
    assert one(clip, known)[0].content == block.content
    assert one(replace(clip, emotion=Emotion.SURPRISE), known)[0].content == block.content
    assert one(replace(clip, frames=Images(unused)), known)[0].content == block.content
    different = [
        one(replace(clip, frames=Images(touched)), known)[0],
        one(replace(clip, apex=13, apex_rule=ApexRule.ANNOTATED), known)[0],
        one(clip, known, size=64)[0],
        one(clip, known, landmarks="detected")[0],
    ]
    assert len({block.content, *(each.content for each in different)}) == 5


def test_reasons_of_rejections(toy):
    clip, known = toy
    short = Images([*clip.images([10])])
    dark = Images([np.zeros((64, 64, 3), np.uint8)] * 9)
    cases = {
        "single_frame": replace(clip, clip="a", offset=10, frames=short),
        "no_face": replace(clip, clip="b", frames=dark),
        "apex_missing": replace(clip, clip="c", apex=30),
        "no_class": replace(clip, clip="d", emotion=Emotion.OTHERS),
        "listed_twice": clip,
    }
    own = Rejection("drawn:s1/z", "no_frames", "x")
    reader = Drawn(clip, *cases.values(), rejections=(own,))
    blocks, rejections = clip_blocks([reader], THREE, detector=known)
    assert [info.key for block in blocks for info in block.infos] == ["drawn:s1/c1"]
    assert rejections[0] == own
    assert {r.reason: r.origin for r in rejections[1:]} == {
        reason: each.origin for reason, each in cases.items()
    }
    blocks, rejections = clip_blocks(
        [Drawn(clip)], THREE, detector=Known(np.ones((68, 2), np.float32))
    )
    assert not blocks
    assert [r.reason for r in rejections] == ["bad_landmarks"]


def test_a_challenge_s_list_has_the_say_in_its_own_space(toy):
    clip, known = toy
    listed = replace(clip, listed_label=2)
    blocks, _ = clip_blocks([Drawn(listed)], THREE, detector=known)
    assert blocks[0].infos[0].emotion == "surprise"
    blocks, _ = clip_blocks([Drawn(listed)], LABEL_SPACES["casme2_5class"], detector=known)
    assert blocks[0].infos[0].emotion == "happiness"


def test_a_damaged_frame(specs, detector, tmp_path):
    reader = open_clips(specs["casme2"])
    blocks, before = clip_blocks([reader], THREE, detector=detector)
    clip = reader.clips()[2]
    path = clip.frames.path(clip.apex)
    good = path.read_bytes()
    path.write_bytes(good[:100])
    try:
        with pytest.raises(ValueError, match=rf"{clip.origin}: .*{path.name} cannot be decoded"):
            list(blocks[0].load(landmarks=False))
        _, after = clip_blocks([reader], THREE, detector=detector)
        (new,) = set(after) - set(before)
        assert (new.origin, new.reason) == (clip.origin, "unreadable_frame")
        assert path.name in new.detail
    finally:
        path.write_bytes(good)


def test_a_database_without_frames(specs, detector):
    with pytest.raises(ValueError, match="was opened without frames"):
        clip_blocks([open_clips(specs["casme2"], frames=False)], THREE, detector=detector)


@pytest.mark.parametrize("config", [{"size": 20}, {"most": 2}, {"frames": "all"}, {"margin": 1}])
def test_wrong_parameters(config):
    with pytest.raises(ValueError, match=next(iter(config))):
        ClipSampleConfig(**config)


def test_macro_expressions_stand_for_micro_expressions_by_an_early_frame(
    tmp_path, sample_table, detector
) -> None:
    spec = write_fictitious("ckplus", tmp_path / "ckplus", 2, 3, seed=0, faces=sample_table).spec
    reader = open_clips(spec)
    by_key = {clip.origin: clip for clip in reader.clips()}
    config = ClipSampleConfig(macro="early")
    blocks, _ = clip_blocks([reader], THREE, config, detector=detector)
    infos = [info for block in blocks for info in block.infos]
    assert {info.key for info in infos} == set(by_key)
    assert {info.apex_rule for info in infos} == {EARLY.format(0.25, 0.5)}
    for clip in by_key.values():
        there = clip.numbers()
        number = early_frame(clip, there, (1 / 4, 1 / 2))
        # Eight frames to the peak: floor(8/4) to floor(8/2) behind the onset.
        assert number in there[2:5]
        assert number == early_frame(clip, list(there), (1 / 4, 1 / 2))
    whole, _ = clip_blocks([reader], THREE, detector=detector)
    assert {info.apex_rule for block in whole for info in block.infos} == {"last frame"}
    assert blocks[0].content != whole[0].content
    (sample, *_), (other, *_) = (list(each[0].load(False)) for each in (blocks, whole))
    assert np.array_equal(sample.onset, other.onset)
    assert np.abs(sample.apex.astype(int) - sample.onset).sum() < (
        np.abs(other.apex.astype(int) - other.onset).sum()
    )


def test_a_macro_expression_of_two_frames_has_no_early_one() -> None:
    clip = Clip("ckplus", "S1", "001", Emotion.ANGER, "1", 1, 2, 2, ApexRule.LAST_FRAME)
    assert early_frame(clip, [1, 2], (1 / 4, 1 / 2)) is None
