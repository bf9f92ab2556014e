from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.recognizers.branches import Branches, BranchesConfig

SMALL = {"weights": "random", "backbone": "test_resnet", "side": 64, "resized": 72, "crop": 64}


def small(**changes: Any) -> Branches:
    torch.manual_seed(0)
    found = create_recognizer("branches", 3, {**SMALL, **changes})
    assert isinstance(found, Branches)
    return found.eval()


def pairs(count: int = 2) -> dict[str, Tensor]:
    draws = torch.randint(
        0, 256, (2, count, 3, 64, 64), generator=Generator().manual_seed(0)
    ).byte()
    return {"onset": draws[0], "apex": draws[1]}


def test_two_resnets_and_the_papers_head() -> None:
    network = create_recognizer("branches", 3, {"weights": "random"})
    assert isinstance(network, Branches)
    layers = [layer for layer in network.head if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in layers] == [1024, 128, 32]
    assert layers[-1].out_features == 3
    # Twice torchvision's 11,689,512 without its 513,000 of the last layer, and the head.
    backbones = 2 * (11_689_512 - 513_000)
    head = 1024 * 128 + 128 + 128 * 32 + 32 + 32 * 3 + 3
    assert sum(parameter.numel() for parameter in network.parameters()) == backbones + head
    assert network.weights == "random"
    network.eval()
    assert network(pairs()).shape == (2, 3)


def test_onset_and_apex_have_networks_of_their_own() -> None:
    network = small()
    inputs = pairs()
    swapped = {"onset": inputs["apex"], "apex": inputs["onset"]}
    assert not torch.allclose(network(inputs), network(swapped))
    # In the test the middle of the enlarged frame is seen, normalised by .5 and .5.
    large = torch.nn.functional.interpolate(inputs["apex"].float() / 255, (72, 72), mode="bilinear")
    middle = (large[..., 4:68, 4:68] - 0.5) / 0.5
    seen: list[Tensor] = []
    network.apex.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(inputs)
    assert torch.allclose(seen[0], middle, atol=1e-4)


def test_a_still_pair_stays_still() -> None:
    network = small(jitter=0.2, rotation=10)
    onset = pairs(6)["onset"]
    changed = network.augment({"onset": onset, "apex": onset}, Generator().manual_seed(0))
    assert torch.equal(changed["onset"], changed["apex"])
    assert changed["onset"].shape == (6, 3, 64, 64)
    again = network.augment({"onset": onset, "apex": onset}, Generator().manual_seed(1))
    assert not torch.equal(changed["onset"], again["onset"])
    assert network(changed).shape == (6, 3)


def test_jitter_and_rotation_are_switched_apart() -> None:
    frame = pairs(1)["onset"].float().mean((1, 2, 3), keepdim=True).expand(16, 3, 64, 64)
    frame = (frame * torch.tensor([1.2, 1.0, 0.6])[:, None, None]).byte()

    def changed(**switched: float) -> Tensor:
        network = small(**{"jitter": 0.0, "rotation": 0.0, "resized": 64, **switched})
        pair = {"onset": frame, "apex": frame}
        return network.augment(pair, Generator().manual_seed(0))["onset"]

    plain = frame / 255
    assert torch.allclose(changed(), plain, atol=1e-5)
    jittered = changed(jitter=0.4)
    assert (jittered.std((2, 3)) < 1e-5).all()  # places alike, as the frame is
    assert jittered.mean((1, 2, 3)).std() > 0.05  # brightness
    first = jittered.argmax(1)[:, 0, 0]
    assert len(first.unique()) > 1  # hue: not always red is the strongest
    assert (changed(rotation=10)[..., 0, 0] == 0).any()


@pytest.mark.parametrize("backbone", ["resnet18", "test_resnet"])
def test_part_pooling_sees_the_halves_apart(backbone: str) -> None:
    network = small(part_pooling=True, backbone=backbone)
    first = network.head[0]
    assert isinstance(first, nn.Linear)
    features = network.apex(torch.rand(2, 3, 64, 64))
    assert 2 * features.shape[1] == first.in_features
    whole = small(backbone=backbone).head[0]
    assert isinstance(whole, nn.Linear)
    assert first.in_features == 2 * whole.in_features
    (pool,) = [
        each
        for each in network.apex.modules()
        if isinstance(each, nn.AdaptiveAvgPool2d) and each.output_size == (2, 1)
    ]
    maps = pool(torch.arange(7.0).view(1, 1, 7, 1).expand(1, 1, 7, 7))
    assert maps.flatten().tolist() == [1.5, 4.5]  # rows 0 to 3, and 3 to 6: upper and lower face


def test_training_is_that_of_the_released_code() -> None:
    config = BranchesConfig()
    training = config.training
    assert (training.learning_rate, training.weight_decay) == (1e-4, 5e-4)
    assert (training.epochs, training.batch_size, training.gradient_clip) == (80, 32, 1.0)
    assert training.schedule == "linear_second_half"
    tuning = config.fine_tuning
    assert (tuning.schedule, tuning.step_epochs, tuning.step_factor) == ("step", 10, 0.8)
    with pytest.raises(ValueError, match="crop is 224 px, more than the 200 px"):
        BranchesConfig(resized=200)


@pytest.mark.parametrize("which", ["onset", "apex"])
def test_each_network_sees_its_own_frame_and_both_count(which: str) -> None:
    network, inputs = small(), pairs()
    changed = inputs | {which: 255 - inputs[which]}
    seen: dict[str, list[Tensor]] = {"onset": [], "apex": []}
    network.onset.register_forward_pre_hook(lambda _, given: seen["onset"].append(given[0]))
    network.apex.register_forward_pre_hook(lambda _, given: seen["apex"].append(given[0]))
    assert not torch.allclose(network(inputs), network(changed))
    for name, (before, after) in seen.items():
        assert torch.equal(before, after) == (name != which)


def test_early_fusion_sees_the_difference_before_anything_is_pooled() -> None:
    network = small(fusion="early", difference_gain=4.0)
    inputs = pairs()
    seen: list[Tensor] = []
    network.apex.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(inputs)
    network(inputs | {"apex": inputs["onset"]})
    late = small()
    late.apex.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    late(inputs)
    late(inputs | {"apex": inputs["onset"]})
    moved, still, apex, onset = seen
    assert torch.allclose(moved, 4 * (apex - onset), atol=1e-5)
    assert (still == 0).all()
    assert BranchesConfig().fusion == "late"
