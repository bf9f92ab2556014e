from dataclasses import replace

import numpy as np
import pytest
import torch

from miex.pipeline.recognition.representations.landmark_graph import (
    COMPONENTS,
    NODES,
    LandmarkGraph,
    LandmarkGraphConfig,
    adjacency,
    key_landmarks,
    magnified_nodes,
)

CPU = torch.device("cpu")


@pytest.fixture
def sample(toy_samples):
    """Five frames whose apex is the third; the last two fall back."""
    made = toy_samples(1, frames=5)[0]
    return replace(made, apex_index=2)


def slow_nodes(points, amplification):
    """One number at a time."""
    left = [sum(points[0][i][k] for i in range(36, 42)) / 6 for k in (0, 1)]
    right = [sum(points[0][i][k] for i in range(42, 48)) / 6 for k in (0, 1)]
    distance = ((right[0] - left[0]) ** 2 + (right[1] - left[1]) ** 2) ** 0.5
    nodes = np.zeros((2, len(points), 31))
    for t, frame in enumerate(points):
        for k in (0, 1):
            bridge = sum(frame[i][k] for i in (27, 28, 29, 30)) / 4
            first = sum(points[0][i][k] for i in (27, 28, 29, 30)) / 4
            for v, landmark in enumerate(NODES):
                here = (frame[landmark][k] - bridge) / distance
                before = (points[0][landmark][k] - first) / distance
                nodes[k, t, v] = before + (1 + amplification) * (here - before)
    return nodes


def test_the_nodes_are_brows_nose_and_outer_mouth():
    assert len(NODES) == 31
    parts = {name: NODES[part] for name, part in COMPONENTS.items()}
    assert parts["brows"] == tuple(range(17, 27))
    assert parts["nose"] == tuple(range(27, 36))
    assert parts["mouth"] == tuple(range(48, 60))


def test_the_graph_is_in_one_piece_and_so_is_each_component():
    joined = adjacency()
    assert torch.equal(joined, joined.T)
    assert joined.diagonal().sum() == 0

    def pieces(matrix):
        reach = torch.linalg.matrix_power(matrix + torch.eye(len(matrix)), len(matrix)) > 0
        return len({tuple(row.tolist()) for row in reach})

    assert pieces(joined) == 1
    assert [pieces(joined[part, part]) for part in COMPONENTS.values()] == [1, 1, 1]
    mouth = joined[COMPONENTS["mouth"], COMPONENTS["mouth"]]
    assert (mouth.sum(1) == 2).all()


def test_the_nodes_are_those_of_a_slow_reference(toy_samples):
    points = np.stack([s.landmarks[[0, 1, 1]] for s in toy_samples(3, pixels=1.0)])
    rng = np.random.default_rng(0)
    points += rng.normal(0, 0.5, points.shape).astype(np.float32)
    fast = magnified_nodes(torch.from_numpy(points), 3.0)
    assert fast.shape == (3, 2, 3, 31)
    slow = np.stack([slow_nodes(each.tolist(), 3.0) for each in points])
    np.testing.assert_allclose(fast.numpy(), slow, atol=2e-5)


def test_alpha_multiplies_the_motion_by_one_more(toy_samples):
    points = torch.from_numpy(toy_samples(1)[0].landmarks[None])
    plain, magnified = magnified_nodes(points, 0), magnified_nodes(points, 3)
    assert torch.equal(plain[:, :, 0], magnified[:, :, 0])
    motion = plain[:, :, 1] - plain[:, :, 0]
    assert motion.abs().max() > 0.05
    np.testing.assert_allclose(magnified[:, :, 1] - magnified[:, :, 0], 4 * motion, atol=1e-6)


def test_neither_the_place_nor_the_size_of_the_face_matters(toy_samples):
    points = torch.from_numpy(toy_samples(1)[0].landmarks[None])
    moved = points * 2.5
    moved[:, 0] += torch.tensor([3.0, -7.0])
    moved[:, 1] += torch.tensor([-11.0, 5.0])
    np.testing.assert_allclose(magnified_nodes(moved, 3), magnified_nodes(points, 3), atol=1e-4)


def test_the_offset_is_the_last_frame_with_a_face(sample):
    keys = key_landmarks(sample, 0.0)
    np.testing.assert_array_equal(keys, sample.landmarks[[0, 2, 4]])
    sample.landmarks[4] = np.nan
    np.testing.assert_array_equal(key_landmarks(sample, 0.0)[2], sample.landmarks[3])


@pytest.mark.parametrize(("remains", "expected"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_without_an_offset_a_share_of_the_motion_remains(toy_samples, remains, expected):
    onset, apex, offset = key_landmarks(toy_samples(1)[0], remains)
    np.testing.assert_allclose(offset - onset, expected * (apex - onset), atol=1e-5)


def test_the_result_does_not_depend_on_the_batch(toy_samples):
    graph = LandmarkGraph()
    samples = toy_samples(4)
    together = graph.compute(samples, CPU)["nodes"]
    assert together.dtype == torch.float32
    assert together.shape == (4, 2, 3, 31)
    alone = [graph.compute([each], CPU)["nodes"] for each in samples]
    assert torch.equal(together, torch.cat(alone))


def test_unusable_samples_are_named(toy_samples):
    graph = LandmarkGraph()
    sample = toy_samples(2)[1]
    with pytest.raises(ValueError, match=r"toy:toy001/clip: no landmarks"):
        graph.compute([replace(sample, landmarks=None)], CPU)
    lost = sample.landmarks.copy()
    lost[1] = np.nan
    with pytest.raises(ValueError, match=r"toy:toy001/clip: the landmarks of the apex are not fin"):
        graph.compute([replace(sample, landmarks=lost)], CPU)
    with pytest.raises(ValueError, match=r"toy:toy001/clip: .*the eye centres coincide"):
        graph.compute([replace(sample, landmarks=np.ones_like(lost))], CPU)
    with pytest.raises(ValueError, match="a clip of 1 frame has no motion"):
        graph.compute([replace(sample, frames=sample.frames[:1])], CPU)


def test_wrong_parameters():
    with pytest.raises(ValueError, match="amplification"):
        LandmarkGraphConfig(amplification=-1)
    with pytest.raises(ValueError, match="offset_remains"):
        LandmarkGraphConfig(offset_remains=1.5)
