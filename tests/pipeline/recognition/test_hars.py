import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from miex.pipeline.recognition.representations.base import scaled_landmarks
from miex.pipeline.recognition.representations.hars import (
    DualRegion,
    DualRegionConfig,
    cuts,
    face_grid,
    puzzle_grid,
    read_at,
    upright,
)

CPU = torch.device("cpu")
SMALL = DualRegion(DualRegionConfig(flow_side=64))


@pytest.fixture
def landmarks(toy_samples):
    return torch.from_numpy(toy_samples(1)[0].landmarks[:1]).double()


def turned(points, degrees, about=32.0):
    angle = math.radians(degrees)
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]],
        dtype=points.dtype,
    )
    return (points - about) @ turn.T + about


@pytest.mark.parametrize("degrees", [-50, -8, 0, 25])
def test_upright_levels_the_outer_eye_corners_and_keeps_distances(landmarks, degrees):
    given = turned(landmarks, degrees)
    turn, points = upright(given)
    torch.testing.assert_close(points[:, 45, 1], points[:, 36, 1])
    assert points[0, 45, 0] > points[0, 36, 0]
    torch.testing.assert_close(turn @ turn.mT, torch.eye(2, dtype=turn.dtype)[None])
    distances = [(p[:, :, None] - p[:, None]).norm(dim=-1) for p in (points, given)]
    torch.testing.assert_close(*distances)


def test_boxes_follow_the_formulas_of_the_paper(landmarks):
    point = upright(landmarks)[1][0].tolist()
    x, y = [p[0] for p in point], [p[1] for p in point]

    def apart(a, b):
        return math.hypot(x[a] - x[b], y[a] - y[b])

    d = ((y[38] - y[20]) + (y[43] - y[23])) / 2
    left_h, left_l = apart(19, 37), apart(17, 21)
    right_h, right_l = apart(24, 44), apart(22, 26)
    mouth_h, mouth_l = apart(33, 51), apart(48, 54)
    expected = {
        "face": [x[1], y[19] - d, x[15], y[8]],
        "left": [x[17] - left_l / 4, y[19] - left_h / 4, x[21] + left_l / 4, y[37] - left_h / 4],
        "right": [
            x[22] - right_l / 4,
            y[24] - right_h / 4,
            x[26] + right_l / 4,
            y[44] - right_h / 4,
        ],
        "lower": [
            x[48] - mouth_l / 4,
            y[51] - mouth_h / 2,
            x[54] + mouth_l / 4,
            y[57] + mouth_h / 2,
        ],
    }
    found = cuts(landmarks)
    for name, box in expected.items():
        np.testing.assert_allclose(getattr(found, name)[0], box, err_msg=name)
    # The regions are where a face has them.
    assert found.left[0, 3] < found.lower[0, 1]
    assert found.left[0, 2] < found.right[0, 2]
    assert d > 0


def test_other_regions_of_table_4_lie_between_brows_and_chin(landmarks):
    paper, other = cuts(landmarks), cuts(landmarks, "cheeks", "nose")
    torch.testing.assert_close(other.lower[:, 3], paper.lower[:, 1])
    for box in (other.left, other.right, other.lower):
        assert (box[:, 2:] - box[:, :2] > 2).all()
        assert (box[:, 1] > paper.left[:, 1]).all()
        assert (box[:, 3] < paper.face[:, 3]).all()
    assert other.left[0, 2] <= other.lower[0, 2]
    assert other.right[0, 0] >= other.lower[0, 0]


def test_puzzle_tiles_come_from_their_boxes(landmarks):
    side = 16
    where = cuts(turned(landmarks, 12))
    grid = puzzle_grid(where, side)[0] @ where.turn[0].T  # back to upright pixels
    half = side // 2
    for box, row, column, width in (
        (where.left, 0, 0, half),
        (where.right, 0, half, half),
        (where.lower, half, 0, side),
    ):
        left, top, right, bottom = box[0].tolist()
        for i in range(half):
            for j in range(width):
                x = left + (j + 0.5) / width * (right - left)
                y = top + (i + 0.5) / half * (bottom - top)
                np.testing.assert_allclose(grid[row + i, column + j], [x, y], atol=1e-9)


def test_read_at_reads_between_pixels_and_repeats_the_border():
    ys, xs = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    ramp = (10 * ys + xs)[None, None]
    grid = torch.tensor([[[[2.25, 3.5], [0, 0], [7, 7], [-5, 3]]]])
    found = read_at(ramp, grid)[0, 0, 0].tolist()
    assert found == pytest.approx([37.25, 0, 77, 30])


def test_a_tilted_face_is_cut_like_an_upright_one(landmarks):
    landmarks = landmarks + 16
    line = torch.arange(96, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)

    def picture(at):
        return (torch.sin(at[..., 0] / 9) + torch.cos(at[..., 1] / 7))[None, None]

    level, tilted = cuts(landmarks), cuts(turned(landmarks, 15, about=48.0))
    before = picture(grid)
    after = picture(turned(grid, -15, about=48.0))  # the same picture, turned by 15 degrees
    for places in (face_grid, puzzle_grid):
        expected = read_at(before, places(level, 32))
        found = read_at(after, places(tilted, 32))
        assert (found - expected).abs().max() < 0.02


@pytest.fixture(scope="module")
def motion(toy_samples):
    samples = toy_samples(3)
    return samples, SMALL.compute(samples, CPU)


def test_dual_region_shows_what_moves_where_it_moves(motion):
    samples, found = motion
    assert set(found) == {"face", "puzzle"}
    for tensor in found.values():
        assert tensor.shape == (3, 3, 28, 28)
        assert tensor.dtype == torch.float16
    for sample, face, puzzle in zip(samples, found["face"], found["puzzle"], strict=True):
        v_brows, v_mouth = puzzle[1, :13].float(), puzzle[1, 15:].float()
        strain = puzzle[2].float()
        assert (strain >= 0).all()
        if sample.info.label == 0:  # inner brows rise
            assert v_brows.mean() < -0.5
            assert v_mouth.abs().mean() < 0.3
            assert face[1, :10].float().mean() < face[1, 18:].float().mean() - 0.1
        else:  # lip corners rise or fall
            assert v_mouth.mean() * (1 if sample.info.label == 2 else -1) > 0.5
            assert v_brows.abs().mean() < 0.3


def test_dual_region_does_not_depend_on_the_batch(motion):
    samples, found = motion
    alone = SMALL.compute(samples[2:], CPU)
    for name, tensor in alone.items():
        assert torch.equal(tensor[0], found[name][2])


def test_both_frames_are_cut_by_the_onset(motion):
    samples, found = motion
    other = samples[1].landmarks.copy()
    other[1] += 5
    moved = SMALL.compute([replace(samples[1], landmarks=other)], CPU)
    assert torch.equal(moved["puzzle"][0], found["puzzle"][1])


def test_only_landmarks_that_are_read_are_asked_for(motion):
    samples, found = motion
    blind = samples[1].landmarks.copy()
    blind[1:] = np.nan  # no face was found behind the onset
    same = SMALL.compute([replace(samples[1], landmarks=blind)], CPU)
    assert torch.equal(same["puzzle"][0], found["puzzle"][1])


def test_samples_of_several_sizes(toy_samples):
    samples = [toy_samples(1, side=64)[0], toy_samples(1, side=80)[0]]
    found = SMALL.compute(samples, CPU)
    assert found["face"].shape == (2, 3, 28, 28)
    assert torch.isfinite(found["puzzle"]).all()
    assert scaled_landmarks(samples[1], 64).max() < 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: replace(s, landmarks=None), "no landmarks"),
        (lambda s: replace(s, landmarks=np.full_like(s.landmarks, np.nan)), "not finite"),
        (lambda s: replace(s, landmarks=s.landmarks + 100), "inside the frame"),
        (lambda s: replace(s, landmarks=np.full_like(s.landmarks, 30)), "smallest extent"),
        (lambda s: replace(s, landmarks=64 - s.landmarks[:, :, ::-1]), "describe no upright face"),
        (lambda s: replace(s, frames=s.frames[:1], landmarks=s.landmarks[:1]), "no motion"),
    ],
)
def test_unusable_samples_are_named(toy_samples, change, message):
    good, bad = toy_samples(2)
    with pytest.raises(ValueError, match=message) as caught:
        SMALL.compute([good, change(bad)], CPU)
    assert bad.info.key in str(caught.value)
