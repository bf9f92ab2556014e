"""What every generator promises: registering one here is testing it."""

from typing import get_args

import numpy as np
import pytest

from miex.generators.base import (
    Condition,
    GeneratorConfig,
    create_generator,
    generator_facts,
    generator_names,
)

SIZE = 64


@pytest.fixture(scope="module", params=generator_names())
def generator(request, tmp_path_factory):
    """Each generator, with random weights if it needs some (`Facts.toy` writes them)."""
    toy = generator_facts(request.param).toy
    return create_generator(
        GeneratorConfig(
            name=request.param,
            checkpoint=toy and toy(tmp_path_factory.mktemp(request.param)),
            device="cpu",
            batch_size=4,
            precision="fp32",
        )
    )


@pytest.fixture(scope="module")
def states(generator, face_of):
    return [generator.prepare(face_of(SIZE, seed)) for seed in range(3)]


def random_aus(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    on = rng.random((count, 17)) < 0.2
    return (on * rng.uniform(0.5, 1.5, (count, 17))).astype(np.float32)


def test_the_names_are_files_without_underscore():
    assert "warp" in generator_names()
    assert "ganimation" in generator_names()
    assert not [name for name in generator_names() if name.startswith("_")]


def test_it_says_what_it_is(generator):
    assert generator.name in generator_names()
    assert generator_facts(generator.name).about
    assert generator.sha256 is None or len(generator.sha256) == 64
    assert 0 < generator.max_intensity <= 5
    assert generator.condition in get_args(Condition)


def test_frames_have_the_face_s_shape(generator, states):
    frames = generator.render([states[0], states[2]], random_aus(2))
    assert frames.shape == (2, SIZE, SIZE, 3)
    assert frames.dtype == np.uint8


def test_a_frame_alone_equals_the_frame_in_a_batch(generator, states):
    order = [0, 1, 2, 1, 0, 2, 2, 0, 1]
    aus = random_aus(len(order))
    together = generator.render([states[i] for i in order], aus)
    for row, state in enumerate(order):
        alone = generator.render([states[state]], aus[row : row + 1])
        assert np.array_equal(alone[0], together[row]), row
    backwards = generator.render([states[i] for i in reversed(order)], aus[::-1])
    assert np.array_equal(backwards[::-1], together)


def test_aus_are_not_changed(generator, states):
    aus = random_aus(1)
    before = aus.copy()
    generator.render(states[:1], aus)
    assert np.array_equal(aus, before)


@pytest.mark.parametrize(
    ("aus", "message"),
    [
        (np.full((1, 17), np.nan, np.float32), "(?i)nan|finite"),
        (np.full((1, 17), np.inf, np.float32), "(?i)inf|finite|5"),
        (np.zeros((1, 16), np.float32), "17"),
        (np.zeros((2, 17), np.float32), "17|2"),
        (np.zeros(17, np.float32), "17"),
    ],
)
def test_bad_aus_are_refused(generator, states, aus, message):
    with pytest.raises(ValueError, match=message):
        generator.render(states[:1], aus)


def test_a_crop_of_no_suitable_size_is_refused(generator, face_of):
    with pytest.raises(ValueError, match="4"):
        generator.prepare(face_of(SIZE + 2))


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="warp"):
        create_generator(GeneratorConfig(name="wrap"))
