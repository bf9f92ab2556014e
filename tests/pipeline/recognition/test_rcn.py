import pytest
import torch
from torch.nn import functional

from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.recognizers.rcn import RCN, _class_attention, _Recurrent

SMALL = {"side": 28, "features": 16, "pooled": 5, "dropout": 0.0}


def _network(variant: str, **config) -> RCN:
    torch.manual_seed(0)
    return create_recognizer("rcn", 3, {**SMALL, "variant": variant, **config}).eval()


def test_the_program_s_sizes():
    model = create_recognizer("rcn", 3)
    assert model.config.variant == "a"
    assert model.head.in_features == 64 * 7 * 7
    training = model.config.training
    assert (training.learning_rate, training.batch_size, training.epochs) == (5e-4, 64, 100)


@pytest.mark.parametrize("variant", ["a", "s", "w", "c", "f"])
@pytest.mark.parametrize("side", [24, 28, 60])
def test_all_variants_take_every_side_and_learn(variant, side):
    model = _network(variant, side=side).train()
    inputs = {"flow": torch.randn(6, 3, side, side)}
    assert model(inputs).shape == (6, 3)
    model.loss(inputs, torch.tensor([0, 1, 2, 0, 1, 2]))["loss"].backward()
    assert all((each.grad != 0).any() for each in model.parameters())


def test_shared_weights_are_applied_again():
    """Wide modules, shortcuts and attention add no recurrent parameters."""

    def parameters(variant: str) -> int:
        return sum(each.numel() for each in _network(variant).parameters())

    assert parameters("a") == parameters("s")
    assert parameters("w") == parameters("c") == parameters("f")
    torch.manual_seed(0)
    block = _Recurrent(16, 0.0).eval()
    maps = torch.randn(2, 16, 8, 8)
    once = block.again(maps + block.first(maps))
    torch.testing.assert_close(block(maps), functional.max_pool2d(block.again(maps + once), 2))


def test_class_attention_against_a_loop():
    maps, weights = torch.randn(2, 4, 3, 3), torch.randn(5, 4, 3, 3)
    expected = torch.zeros(2, 1, 3, 3)
    for image in range(2):
        for each in weights:
            activation = (maps[image] * each).mean(0)
            stretched = (activation - activation.min()) / (activation.max() - activation.min())
            expected[image, 0] += stretched / len(weights)
    torch.testing.assert_close(_class_attention(maps, weights), expected)
    assert torch.isfinite(_class_attention(torch.zeros(1, 4, 3, 3), weights)).all()


def test_attention_follows_the_classifier():
    model = _network("a")
    inputs = {"flow": torch.randn(2, 3, 28, 28)}
    maps = model.block(model.stem(inputs["flow"] * torch.tensor([1.0, 1, 10])[:, None, None]))
    plain = model.head(functional.adaptive_avg_pool2d(maps, 5).flatten(1))
    assert not torch.allclose(model(inputs), plain, atol=1e-6)
    with torch.no_grad():
        model.head.weight.zero_()
    torch.testing.assert_close(model(inputs), model.head.bias.expand(2, 3))


def test_all_three_streams_of_the_fused_variant_look():
    model = _network("f")
    assert [stream[0].dilation for stream in model.stem.streams] == [(1, 1), (2, 2), (3, 3)]
    flow = torch.randn(1, 3, 28, 28)
    before = model.stem(flow)
    for stream, part in zip(model.stem.streams, before.split([8, 4, 4], 1), strict=True):
        torch.testing.assert_close(stream(flow), part)


def test_wrong_parameters_are_named():
    with pytest.raises(ValueError, match="variant"):
        create_recognizer("rcn", 3, {"variant": "x"})
    with pytest.raises(ValueError, match="features"):
        create_recognizer("rcn", 3, {"features": 18})
