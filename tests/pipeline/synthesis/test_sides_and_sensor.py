from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from miex.pipeline.synthesis.config import AsymmetryConfig, SensorConfig, SynthesisConfig
from miex.pipeline.synthesis.plan import Plan
from miex.pipeline.synthesis.sensor import recorded
from miex.pipeline.synthesis.sides import joined_sides, weaker_aus


def landmarks() -> np.ndarray:
    points = np.full((68, 2), 64.0, np.float32)
    points[36:42], points[42:48] = (44, 50), (84, 50)
    points[[8, 33, 51, 57]] = [(64, 120), (64, 80), (64, 90), (64, 100)]
    return points


def test_the_weaker_side_shows_a_share_of_every_change() -> None:
    aus = np.zeros((2, 17), np.float32)
    aus[:, 16] = 1.0
    aus[1, 8] = 2.0
    weaker = weaker_aus(aus, 0.25)
    assert weaker[1, 8] == 0.5
    assert (weaker[0] == aus[0]).all()
    assert weaker[1, 16] == 1.0


def test_sides_are_joined_along_the_midline() -> None:
    left, right = (np.full((128, 128, 3), value, np.uint8) for value in (50, 200))
    joined = joined_sides(left, right, landmarks())
    assert (joined[:, :52] == 50).all()
    assert (joined[:, 76:] == 200).all()
    assert (np.diff(joined[60, :, 0].astype(int)) >= 0).all()
    assert (joined_sides(left, left, landmarks()) == left).all()


def plan_of(**asymmetry: Any) -> Any:
    config = SynthesisConfig(seed=3, asymmetry=AsymmetryConfig(**asymmetry))
    plan = SimpleNamespace(_config=config)
    plan._rng = lambda *stream: Plan._rng(plan, *stream)  # type: ignore[arg-type]
    return plan


def test_asymmetry_is_drawn_by_sample_within_its_range() -> None:
    plan = plan_of(share=0.5, weakest=0.2, strongest=0.6)
    drawn = np.array([Plan.asymmetry(plan, index) for index in range(400)])
    assert abs((drawn == 0).mean() - 0.5) < 0.08
    uneven = np.abs(drawn[drawn != 0])
    assert uneven.min() >= 0.4
    assert uneven.max() <= 0.8
    assert 0.4 < (drawn[drawn != 0] > 0).mean() < 0.6
    assert drawn[7] == Plan.asymmetry(plan, 7)
    assert all(Plan.asymmetry(plan_of(), index) == 0 for index in range(20))


def test_the_config_says_what_true_means_and_refuses_what_does_not_fit() -> None:
    assert SynthesisConfig(asymmetry=True).asymmetry.share == 0.9  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=r"weakest: 0.7 is above strongest"):
        AsymmetryConfig(weakest=0.7, strongest=0.5)
    assert "asymmetry" not in SynthesisConfig().record()
    assert "sensor" not in SynthesisConfig().record()
    assert SynthesisConfig(sensor=SensorConfig(noise=1)).record()["sensor"]["noise"] == 1


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    grey = np.full((128, 128, 3), 120, np.uint8)
    noisy = recorded(grey, SensorConfig(noise=2.0), np.random.default_rng(0))
    assert abs(noisy.astype(float).std() - 2.0) < 0.1
    assert (noisy[..., 0] == noisy[..., 2]).all()
    again = recorded(grey, SensorConfig(noise=2.0), np.random.default_rng(0))
    assert (noisy == again).all()


def test_jpeg_leaves_traces_and_the_picture() -> None:
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(60, 200, (16, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    once = recorded(image, SensorConfig(jpeg=60), rng).astype(int)
    assert (once != image).any()
    assert np.abs(once - image).mean() < 12
    assert (recorded(image, SensorConfig(), rng) == image).all()
