import numpy as np
import pytest
import torch

from miex.datasets.device import choose_device
from miex.generators import _auto
from miex.generators.base import GeneratorConfig, create_generator, generator_names
from miex.generators.ganimation.checkpoint import load_checkpoint, save_checkpoint
from miex.generators.ganimation.generator import (
    GANimationGenerator,
    choose_dtype,
    threads_that_compute_alone,
)
from miex.generators.ganimation.network import random_network, to_network_range

SIDE = 32


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_checkpoint(random_network(0), path)
    return path


@pytest.fixture(scope="module")
def generators(weights):
    """One for each precision."""
    return {
        precision: create_generator(
            GeneratorConfig(
                name="ganimation", checkpoint=weights, device="cpu", precision=precision
            )
        )
        for precision in ("fp32", "bf16")
    }


def test_without_a_checkpoint_it_says_where_one_comes_from(tmp_path, monkeypatch):
    monkeypatch.setattr(_auto, "WEIGHTS", tmp_path / "none")
    assert "ganimation" in generator_names()
    with pytest.raises(FileNotFoundError) as caught:
        create_generator(GeneratorConfig(name="ganimation"))
    for part in ("`checkpoint`", "albertpumarola/GANimation", "donydchen/ganimation_rep", "'warp'"):
        assert part in str(caught.value)
    missing = tmp_path / "no.pth"
    with pytest.raises(FileNotFoundError, match=r"no checkpoint of a generator at .*no\.pth"):
        create_generator(GeneratorConfig(name="ganimation", checkpoint=missing))


def test_it_is_known_by_the_hash_of_its_file(generators, weights):
    generator = generators["fp32"]
    assert generator.name == "ganimation"
    assert generator.sha256 == load_checkpoint(weights).sha256
    assert generator.max_intensity == 5


def test_frames_are_those_of_the_network(generators, weights, drawn_face, random_aus):
    faces, aus = [drawn_face(seed, SIDE) for seed in range(3)], random_aus(0, 3)
    generator = generators["fp32"]
    frames = generator.render([generator.prepare(face) for face in faces], aus)
    assert frames.shape == (3, SIDE, SIDE, 3)
    assert frames.dtype == np.uint8
    crops = torch.from_numpy(np.stack([face.crop for face in faces]))
    with torch.inference_mode():
        network = load_checkpoint(weights).network
        images = network(to_network_range(crops.permute(0, 3, 1, 2)), torch.from_numpy(aus) / 5)
    levels = ((images.image + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(frames - levels).max() <= 0.51


@pytest.mark.parametrize("side", [32, pytest.param(128, marks=pytest.mark.slow)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_frame_depends_on_its_face_and_its_aus_alone(
    precision, side, generators, weights, drawn_face, random_aus
):
    """Not on its neighbours, its place, their number, nor the number of threads."""
    generator = generators[precision]
    states = [generator.prepare(drawn_face(seed % 4, side)) for seed in range(13)]
    aus = random_aus(1, 13)
    together = generator.render(states, aus)
    alone = [generator.render([s], a[None])[0] for s, a in zip(states, aus, strict=True)]
    assert np.array_equal(together, alone)
    order = np.random.default_rng(0).permutation(13)
    shuffled = generator.render([states[i] for i in order], aus[order])
    assert np.array_equal(shuffled, together[order])
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            config = GeneratorConfig(device="cpu", precision=precision, batch_size=5)
            other = GANimationGenerator(load_checkpoint(weights), config)
            again = [other.prepare(drawn_face(seed % 4, side)) for seed in range(13)]
            assert np.array_equal(other.render(again, aus), together)
    finally:
        torch.set_num_threads(threads)


def test_pairs_that_are_the_same_are_rendered_once(generators, drawn_face, monkeypatch):
    generator = generators["fp32"]
    one, two = (generator.prepare(drawn_face(seed, SIDE)) for seed in range(2))
    onset, apex = np.zeros(17, np.float32), np.full(17, 1, np.float32)
    rendered = []
    render_batch = generator._render_batch

    def counted(states, conditions):
        rendered.extend(states)
        return render_batch(states, conditions)

    monkeypatch.setattr(generator, "_render_batch", counted)
    states, aus = [one, one, two, one, two, two], np.stack([onset, apex, onset, onset, apex, onset])
    frames = generator.render(states, aus)
    assert len(rendered) == 4
    assert np.array_equal(frames[0], frames[3])
    assert np.array_equal(frames[2], frames[5])
    alone = [generator.render([s], a[None])[0] for s, a in zip(states, aus, strict=True)]
    assert np.array_equal(frames, alone)


@pytest.mark.parametrize("size", [1, 4, 32])
def test_batches_of_other_devices_are_filled_up(size, weights, drawn_face, random_aus):
    """The way that a GPU takes, on the CPU: every batch has the same size, nothing is lost."""
    config = GeneratorConfig(device="cpu", precision="fp32", batch_size=size)
    generator = GANimationGenerator(load_checkpoint(weights), config)
    states = [generator.prepare(drawn_face(seed, 16)) for seed in range(6)]
    aus = random_aus(2, 6)
    expected = generator.render(states, aus)
    generator._threads = None
    sizes = []
    render_batch = generator._render_batch
    generator._render_batch = lambda s, c: sizes.append(len(s)) or render_batch(s, c)
    frames = generator.render(states, aus)
    assert set(sizes) == {size}
    assert np.abs(frames.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("side", [8, 20, 52])
def test_any_multiple_of_four(side, generators, drawn_face, random_aus):
    generator = generators["fp32"]
    frames = generator.render([generator.prepare(drawn_face(0, side))], random_aus(0, 1))
    assert frames.shape == (1, side, side, 3)


def test_no_frames(generators):
    assert generators["fp32"].render([], np.empty((0, 17), np.float32)).shape[0] == 0


def test_unfit_input_is_named(generators, drawn_face, random_aus):
    generator = generators["fp32"]
    with pytest.raises(ValueError, match=r"drawn:0: crop of 30 x 30 pixels; .* multiple of 4"):
        generator.prepare(drawn_face(0, 30))
    with pytest.raises(ValueError, match=r"crop of 4 x 4 .* at least 8"):
        generator.prepare(drawn_face(0, 4))
    state, larger = (generator.prepare(drawn_face(0, side)) for side in (8, 12))
    with pytest.raises(ValueError, match=r"\(2, 17\) for 1 faces; expected \(1, 17\)"):
        generator.render([state], random_aus(0, 2))
    with pytest.raises(ValueError, match=r"AU01 of row 0 is 5\.5, expected a FACS intensity"):
        generator.render([state], np.full((1, 17), 5.5, np.float32))
    with pytest.raises(ValueError, match=r"faces of \[8, 12\] pixels in one call"):
        generator.render([state, larger], random_aus(0, 2))


def test_the_threads_of_the_pool_start_no_others():
    before = torch.get_num_threads()
    with threads_that_compute_alone(3) as pool:
        seen = [pool.submit(torch.get_num_threads) for _ in range(6)]
        assert {future.result() for future in seen} == {1}
    assert torch.get_num_threads() == before


def test_the_device_and_its_precision(monkeypatch):
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("cuda:99", "toaster"):
        with pytest.raises(ValueError, match=f"device '{name}' cannot be used here"):
            choose_device(name)
    cpu = torch.device("cpu")
    assert choose_dtype("fp32", cpu) == torch.float32
    assert choose_dtype("bf16", cpu) == torch.bfloat16
    for found, dtype in (
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx2": True, "avx512_bf16": False}, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found, raising=False)
        assert choose_dtype("auto", cpu) == dtype


@pytest.mark.slow
def test_compiled_frames_are_the_same_within_a_level(weights, generators, drawn_face, random_aus):
    config = GeneratorConfig(
        name="ganimation", checkpoint=weights, device="cpu", precision="fp32", compile=True
    )
    try:
        compiled = create_generator(config)
    except ValueError as error:
        pytest.skip(str(error))
    plain, aus = generators["fp32"], random_aus(0, 3)
    faces = [drawn_face(seed, 128) for seed in range(3)]
    expected = plain.render([plain.prepare(face) for face in faces], aus)
    states = [compiled.prepare(face) for face in faces]
    frames = compiled.render(states, aus)
    assert np.abs(frames.astype(int) - expected).max() <= 1
    assert np.array_equal(compiled.render(states[1:2], aus[1:2])[0], frames[1])


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_cuda_a_frame_depends_on_itself_alone(
    precision, weights, generators, drawn_face, random_aus
):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    config = GeneratorConfig(
        name="ganimation", checkpoint=weights, device="cuda", precision=precision, batch_size=8
    )
    generator = create_generator(config)
    faces, aus = [drawn_face(seed, 128) for seed in range(13)], random_aus(1, 13)
    states = [generator.prepare(face) for face in faces]
    together = generator.render(states, aus)
    alone = [generator.render([s], a[None])[0] for s, a in zip(states, aus, strict=True)]
    assert np.array_equal(together, alone)
    cpu = generators["fp32"]
    expected = cpu.render([cpu.prepare(face) for face in faces], aus)
    assert np.abs(together.astype(int) - expected).mean() < 1.5
