import pytest
import torch
from torch.nn import functional

from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.recognizers.mmnet import MMNet

SMALL = {
    "stored": 64,
    "side": 64,
    "margin": 0,
    "stem": 12,
    "channels": [8, 8, 16, 16],
    "depth": 1,
}


def _network(**config) -> MMNet:
    torch.manual_seed(0)
    return create_recognizer("mmnet", 3, SMALL | config).eval()


@pytest.fixture
def pair() -> dict[str, torch.Tensor]:
    frames = torch.randint(0, 256, (2, 2, 3, 64, 64), dtype=torch.uint8)
    return {"onset": frames[0], "apex": frames[1]}


def test_the_program_s_sizes():
    model = create_recognizer("mmnet", 3)
    assert model.stem[0][0].weight.shape == (180, 3, 3, 3)
    assert [block.second[0].out_channels for block in model.blocks] == [128, 128, 256, 512]
    assert model.place.positions.shape == (1, 14 * 14, 512)
    assert len(model.place.blocks) == 3
    assert model.head.in_features == 512 * 14 * 14
    training = model.config.training
    assert (training.optimizer, training.learning_rate, training.weight_decay) == (
        "adamw",
        8e-4,
        0.7,
    )


def test_attention_continues_that_of_the_block_before(pair):
    model = _network()
    onset, apex = (
        (pair[name].float() / 255 - model.mean) / model.deviation for name in ("onset", "apex")
    )
    maps, maps_of_attention = model.stem(apex - onset), []
    before = None
    for block in model.blocks:
        found = functional.relu(block.second(block.first(maps)) + block.shortcut(maps))
        own = block.attend(torch.cat((found.mean(1, True), found.amax(1, True)), 1))
        if before is not None and before.shape[-1] != own.shape[-1]:
            before = functional.max_pool2d(before, 3, 2, 1)
        before = own if before is None else own * before
        maps_of_attention.append(before)
        maps = found * before
    assert [each.shape[-1] for each in maps_of_attention] == [32, 16, 8, 4]
    expected = model.head((maps + model.place(onset)).flatten(1))
    torch.testing.assert_close(model(pair), expected)
    independent = _network(continuous=False)
    assert not torch.allclose(independent(pair), expected)


def test_without_the_onset_s_branch_a_still_pair_looks_alike(pair):
    still = {"onset": pair["onset"], "apex": pair["onset"]}
    other = {"onset": pair["apex"], "apex": pair["apex"]}
    alone = _network(depth=0)
    assert alone.place is None
    torch.testing.assert_close(alone(still), alone(other))
    with_place = _network()
    assert not torch.allclose(with_place(still), with_place(other))


def test_onset_and_apex_are_augmented_alike(pair):
    model = _network(rotation=10, flip=0.5, margin=4)
    still = {"onset": pair["onset"], "apex": pair["onset"]}
    views = model.augment(still, torch.Generator().manual_seed(3))
    torch.testing.assert_close(views["onset"], views["apex"])
    assert views["onset"].shape == (2, 3, 64, 64)
    plain = model.augment(still, torch.Generator().manual_seed(4))
    assert not torch.equal(views["onset"], plain["onset"])


def test_every_parameter_learns(pair):
    model = _network().train()
    model.loss(pair, torch.tensor([0, 1]))["loss"].backward()
    silent = [n for n, each in model.named_parameters() if each.grad is None]
    assert silent == []
