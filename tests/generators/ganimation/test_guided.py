"""The motion-guided design: a warp moves the face, a network paints over it."""

import numpy as np
import pytest
import safetensors.torch
import torch

from miex.au_sources.action_units import AU_NAMES
from miex.generators._warp_chart import CHART_SIDE, chart_of, crop_positions
from miex.generators._warp_render import move_frames
from miex.generators.base import GeneratorConfig, create_generator, told
from miex.generators.ganimation.checkpoint import load_checkpoint, save_checkpoint
from miex.generators.ganimation.guided_generator import GuidedGenerator
from miex.generators.ganimation.guided_network import (
    INVERSION_STEPS,
    GuidedGANimation,
    Motion,
    motion_gain,
    random_guided,
)
from miex.generators.ganimation.network import random_network

pytestmark = pytest.mark.usefixtures("one_thread")


def painter(seed: int = 0) -> GuidedGANimation:
    """A network that paints: no weight of it is zero."""
    network = random_guided(seed, 8)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            if not weight.any():
                weight.normal_(0, 0.2, generator=generator)
    return network


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guided")
    paths = {}
    for name, network in {"untrained": random_guided(0, 8), "paints": painter()}.items():
        paths[name] = folder / f"{name}.safetensors"
        save_checkpoint(network, paths[name], card={"condition": "change"}, dtype=torch.float16)
    return paths


def opened(path, precision="fp32", **settings):
    config = GeneratorConfig(
        name="ganimation", checkpoint=path, device="cpu", precision=precision, **settings
    )
    return create_generator(config)


def changes(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    chosen = rng.random((count, 17)) < 0.2
    return np.where(chosen, rng.uniform(-1, 3, (count, 17)), 0).astype(np.float32)


def test_the_design_is_read_from_the_file(weights):
    generator = opened(weights["paints"])
    assert isinstance(generator, GuidedGenerator)
    assert (generator.name, generator.condition) == ("ganimation", "change")
    checkpoint = load_checkpoint(weights["paints"])
    assert generator.sha256 == checkpoint.sha256
    assert isinstance(checkpoint.network, GuidedGANimation)
    assert torch.equal(checkpoint.network.gain, motion_gain().half().float())


def test_before_training_it_is_the_warp_with_its_gain(weights, face_of):
    generator = opened(weights["untrained"])
    face, aus = face_of(128), changes(5)
    frames = generator.render([generator.prepare(face)] * 5, aus)
    warp = create_generator(GeneratorConfig(name="warp", device="cpu"))
    state = warp.prepare(face)
    for frame, vector in zip(frames, aus, strict=True):
        moved = vector[None] * motion_gain().half().float().numpy()
        expected = move_frames([state], moved, INVERSION_STEPS).frames[0].permute(1, 2, 0).numpy()
        assert np.array_equal(frame, expected)


def test_nothing_asked_is_the_photograph_itself(weights, face_of):
    generator = opened(weights["paints"])
    face = face_of(128)
    assert np.array_equal(
        generator.render([generator.prepare(face)], np.zeros((1, 17), np.float32))[0], face.crop
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_frame_depends_on_its_face_and_its_change_alone(weights, face_of, precision):
    generator = opened(weights["paints"], precision)
    states = [generator.prepare(face_of(64, seed % 3)) for seed in range(7)]
    aus = changes(7, 1)
    together = generator.render(states, aus)
    alone = [generator.render([s], a[None])[0] for s, a in zip(states, aus, strict=True)]
    assert np.array_equal(together, np.stack(alone))
    assert np.array_equal(generator.render(states[::-1], aus[::-1])[::-1], together)


@pytest.mark.parametrize("yaw", [0.0, 25.0])
def test_nothing_is_painted_outside_the_face(weights, face_of, yaw):
    generator = opened(weights["paints"])
    face = face_of(128, yaw=yaw)
    state = generator.prepare(face)
    frame = generator.render([state], np.full((1, 17), 2.0, np.float32))[0]
    changed = (frame != face.crop).any(axis=2)
    assert changed.mean() > 0.2
    assert not changed[~state.warp.movable[0].numpy()].any()
    far = state.window[0].numpy() == 0
    assert far.mean() > 0.1


def test_a_side_that_does_not_fit_names_the_next_one(weights, face_of):
    generator = opened(weights["untrained"])
    with pytest.raises(ValueError, match=r"crop of 68 pixels a side.*--set size=72"):
        generator.prepare(face_of(68))
    with pytest.raises(ValueError, match="too small to gain"):
        opened(weights["untrained"], compile=True)


def test_damaged_weights_are_named(weights, tmp_path):
    tensors = safetensors.torch.load_file(weights["paints"])
    del tensors["film.bias"]
    path = tmp_path / "cut.safetensors"
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(ValueError, match=r"design guided\): key 'film\.bias' missing"):
        load_checkpoint(path)
    tensors["film.bias"] = torch.full((64,), torch.nan)
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(ValueError, match="NaN or infinity"):
        load_checkpoint(path)


@pytest.mark.parametrize("width", [8, 24, 64])
def test_the_width_of_either_design_is_read_from_the_file(tmp_path, width):
    path = tmp_path / "any.safetensors"
    for network in (random_network(1, width), random_guided(1, width)):
        save_checkpoint(network, path)
        found = load_checkpoint(path).network
        assert type(found) is type(network)
        assert all(
            torch.equal(a, b) for a, b in zip(found.parameters(), network.parameters(), strict=True)
        )


def test_what_is_painted_grows_from_nothing():
    """No jump between the photograph and the smallest change."""
    network = painter()
    rng = torch.Generator().manual_seed(0)
    warped = torch.rand(1, 3, 64, 64, generator=rng) * 2 - 1
    chart = torch.rand(1, 64, 64, 2, generator=rng) * 2 - 1
    motion = Motion(warped, chart, torch.ones(1, 1, 64, 64))
    painted = []
    with torch.inference_mode():
        for intensity in (0.0, 0.01, 0.1, 1.0):
            condition = torch.full((1, 17), intensity / 5 / 17)
            painted.append((network(motion, condition).image - warped).abs().mean().item())
    assert painted[0] == 0
    assert painted[1] < 0.1 * painted[3]
    assert painted == sorted(painted)


def test_the_chart_shows_the_same_place_in_every_face(face_of):
    """From crop to chart and back: landmarks come out where they went in."""
    for yaw in (0.0, 20.0):
        face = face_of(128, yaw=yaw)
        places, window = chart_of(face.landmarks, 128)
        from miex.au_sources.face_motion import as_landmarks, fit_pose

        points = as_landmarks(face.landmarks)
        back = crop_positions(points, fit_pose(points))
        side = places.shape[-1]
        for number in (8, 30, 36, 45, 48, 54):
            x, y = np.round((points[number] + 0.5) * side / 128 - 0.5).astype(int).clip(0, side - 1)
            node = (np.array([x, y]) + 0.5) * 128 / side - 0.5
            cell = np.round((places[:, y, x] + 1) * CHART_SIDE / 2 - 0.5).astype(int)
            found = back[cell[1].clip(0, 63), cell[0].clip(0, 63)]
            assert np.linalg.norm(found - node) < 3.0, number
        assert window.max() == 1
        assert window.min() == 0


def test_changes_are_told_as_differences_to_the_onset(weights):
    warp = create_generator(GeneratorConfig(name="warp", device="cpu"))
    aus = np.zeros((3, 17), np.float32)
    aus[:, AU_NAMES.index("AU12")] = (1.0, 2.0, 0.5)
    found = told(warp, aus)
    assert found[:, AU_NAMES.index("AU12")].tolist() == [0.0, 1.0, -0.5]
    assert not np.delete(found, AU_NAMES.index("AU12"), axis=1).any()
    absolute = create_generator(
        GeneratorConfig(name="ganimation", checkpoint=_public(weights), device="cpu")
    )
    assert absolute.condition == "absolute"
    assert told(absolute, aus) is aus


def _public(weights):
    path = weights["paints"].parent / "absolute.safetensors"
    save_checkpoint(random_network(0, 8), path)
    return path
