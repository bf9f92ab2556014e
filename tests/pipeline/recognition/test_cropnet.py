from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.recognizers.cropnet import CropNet, CropNetConfig
from miex.pipeline.recognition.representations import cgpo

SMALL = {"weights": "random", "backbone": "test_efficientnet", "stored": 64, "side": 64}


def small(**changes: Any) -> CropNet:
    torch.manual_seed(0)
    found = create_recognizer("cropnet", 3, {**SMALL, "features": 16, **changes})
    assert isinstance(found, CropNet)
    return found.eval()


def images(count: int = 2, side: int = 64) -> dict[str, Tensor]:
    generator = Generator().manual_seed(0)
    return {"image": torch.randint(0, 256, (count, 3, side, side), generator=generator).byte()}


def test_the_paper_counts_7_6_million_parameters() -> None:
    network = create_recognizer("cropnet", 3, {"weights": "random"})
    assert isinstance(network, CropNet)
    count = sum(parameter.numel() for parameter in network.parameters())
    # ReXNet-1.3 with its layer to 1000, nine positions, one layer to three classes.
    assert count == 7_557_091 + 9 * 1000 + 10 * 1000 * 3 + 3
    assert count == pytest.approx(7.6e6, rel=0.005)
    assert network.weights == "random"
    assert network.representation.config.side == 128


def test_one_backbone_sees_every_view_and_positions_are_added() -> None:
    network = small()
    assert network.position is not None
    inputs = images()
    picture = (inputs["image"] / 255 - network.mean) / network.deviation
    views = cgpo.views(picture, 0.3)
    rows = []
    for sample in views:
        features = [network.project(network.backbone(view[None]))[0] for view in sample]
        for number in range(1, 10):
            features[number] = features[number] + network.position[number - 1]
        rows.append(network.classifier(torch.cat(features)))
    assert torch.allclose(network(inputs), torch.stack(rows), atol=1e-4)


def test_positions_are_drawn_with_variance_a_fifth() -> None:
    position = small(features=2000).position
    assert position is not None
    assert position.shape == (9, 2000)
    assert position.var().item() == pytest.approx(0.2, rel=0.05)
    assert position.mean().item() == pytest.approx(0, abs=0.02)


def test_ablations() -> None:
    assert small(position_embedding=False).position is None
    whole = small(views="whole")
    assert whole.position is None
    assert whole.classifier.in_features == 16
    assert whole(images()).shape == (2, 3)
    assert small(overlap=0.0).classifier.in_features == 5 * 16
    names = {kind: small(input=kind).representation.name for kind in ("ars", "rrs", "tvl1")}
    assert names == {"ars": "residual_sum", "rrs": "residual_sum", "tvl1": "flow_image"}
    assert small(input="rrs", key_frames=7).representation.config.model_dump() == {
        "kind": "rrs",
        "key_frames": 7,
        "side": 64,
        "rigid_motion": "keep",
    }


def test_labels_are_smoothed() -> None:
    network, labels = small(), torch.tensor([0, 2])
    scores = network(images()).log_softmax(1)
    target = torch.full((2, 3), 0.1 / 3)
    target[[0, 1], labels] += 0.9
    expected = -(target * scores).sum(1).mean()
    assert torch.allclose(network.loss(images(), labels)["loss"], expected, atol=1e-6)


def test_augmentation() -> None:
    network = small()
    changed = network.augment(images(8), Generator().manual_seed(1))["image"]
    assert changed.shape == (8, 3, 64, 64)
    assert changed.dtype == torch.float32
    assert 0 <= changed.min() <= changed.max() <= 1
    assert network({"image": changed}).shape == (8, 3)
    still = small(jitter=0, hue=0, grey=0, flip=0, rotation=0)
    same = still.augment(images(), Generator().manual_seed(1))["image"]
    assert torch.allclose(same, images()["image"] / 255, atol=1e-3)


STILL = {"jitter": 0, "hue": 0, "grey": 0, "flip": 0, "rotation": 0}


def test_every_change_of_training_can_be_switched_on_its_own() -> None:
    # Smooth, coloured, and not symmetric.
    ramp = torch.linspace(40, 200, 64)
    picture = torch.stack(
        (ramp.expand(64, 64), ramp.flip(0).expand(64, 64), 0 * ramp.expand(64, 64))
    )
    inputs = {"image": picture.byte().expand(16, 3, 64, 64).contiguous()}
    plain = inputs["image"] / 255

    def changed(**switched: float) -> Tensor:
        network = small(**{**STILL, **switched})
        return network.augment(inputs, Generator().manual_seed(0))["image"]

    assert torch.allclose(changed(), plain, atol=1e-5)
    assert torch.allclose(changed(flip=1), plain.flip(-1), atol=1e-5)
    pale = changed(grey=1)
    assert torch.allclose(pale, pale.mean(1, keepdim=True).expand_as(pale), atol=1e-5)
    turned = changed(hue=0.5)
    for extreme in (Tensor.amax, Tensor.amin):
        assert torch.allclose(extreme(turned, dim=1), extreme(plain, dim=1), atol=1e-5)
    assert not torch.allclose(turned, plain, atol=0.1)
    brighter = changed(jitter=0.8).mean((1, 2, 3)) / plain.mean((1, 2, 3))
    assert brighter.min() < 0.7
    assert brighter.max() > 1.2
    rotated = changed(rotation=15)
    assert torch.allclose(rotated[..., 31:33, 31:33], plain[..., 31:33, 31:33], atol=0.02)
    assert (rotated[..., 0, 0] == 0).all(1).float().mean() > 0.4  # black comes in at the corners


def test_smaller_images_are_scaled_up() -> None:
    network = small(side=96)
    assert network(images(side=64)).shape == (2, 3)


def test_config() -> None:
    training = CropNetConfig().training
    assert (training.optimizer, training.learning_rate) == ("adamp", 1e-3)
    with pytest.raises(ValueError, match="multiple of 2"):
        CropNetConfig(side=321)
    with pytest.raises(ValueError, match="no backbone 'rexnet'"):
        create_recognizer("cropnet", 3, {"backbone": "rexnet"})


@pytest.mark.parametrize("method", ["tvl1", "farneback"])
def test_directions_of_flow_are_not_augmented_away(method: str) -> None:
    inputs = images()
    found = small(input=method).augment(inputs, Generator().manual_seed(0))
    assert torch.equal(found["image"], inputs["image"])
    assert not torch.equal(small().augment(inputs, Generator())["image"], inputs["image"])
