import pytest
import torch
from torch.nn import functional

from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.recognizers.htnet import HTNet, _four_patches

SMALL = {"dim": 16, "depths": [1, 1, 2]}


def _network(**config) -> HTNet:
    torch.manual_seed(0)
    return create_recognizer("htnet", 3, config).eval()


def test_the_program_s_sizes():
    with torch.device("meta"):
        model = create_recognizer("htnet", 3)
    assert [len(level) for level in model.levels] == [2, 2, 10]
    assert model.embed.kernel_size == model.embed.stride == (7, 7)
    assert [each.convolution.weight.shape for each in model.aggregate] == [
        (512, 256, 3, 3),
        (1024, 512, 3, 3),
    ]
    # Heads of the three levels share 255, 510 and 1020 features out of 256, 512 and 1,024.
    assert [level[0].attention[1].out_features for level in model.levels] == [255, 510, 1020]
    training = model.config.training
    assert (training.learning_rate, training.batch_size, training.epochs) == (5e-5, 256, 800)
    assert model.config.published_training.epochs == 60


def test_each_half_of_the_face_is_a_row_of_patches():
    across = torch.arange(28.0).expand(28, 28)
    image = torch.stack((across, across.T))[None]
    x, y = _four_patches(image)[0]
    # Centres of the authors' program: 28 times .34, .366, .764, .735 and .395, .79, .39, .795.
    assert x[0].tolist() == [*range(2, 16), *range(3, 17)]
    assert x[14].tolist() == [*range(14, 28), *range(13, 27)]
    assert y[:14, 0].tolist() == list(range(4, 18))
    assert y[:14, 14].tolist() == list(range(14, 28))
    assert y[14:, 0].tolist() == list(range(3, 17))


def test_attention_to_a_single_token_passes_its_values():
    block = _network(**SMALL).levels[0][0]
    tokens = torch.randn(2, 4, 4, 16)
    norm, values, out, _ = block.attention
    normed = norm(tokens).reshape(-1, 1, 16)
    head = functional.scaled_dot_product_attention(
        torch.randn_like(normed), torch.randn_like(normed), normed @ values.weight.T
    )
    after = tokens + out(head).reshape(tokens.shape)
    torch.testing.assert_close(block(tokens), after + block.dense(after))


def test_aggregation_is_a_convolution_and_a_maximum_of_2x2():
    for aggregate, side in zip(_network(**SMALL).aggregate, (4, 2), strict=True):
        tokens = torch.randn(3, side, side, aggregate.convolution.in_channels)
        maps = aggregate.norm(aggregate.convolution(tokens.movedim(-1, 1)).movedim(1, -1))
        expected = functional.max_pool2d(maps.movedim(-1, 1), 3, 2, 1).movedim(1, -1)
        assert expected.shape[1:3] == (side // 2, side // 2)
        torch.testing.assert_close(aggregate(tokens), expected, rtol=1e-5, atol=1e-5)


def test_every_parameter_learns():
    model = _network(**SMALL).train()
    inputs = {"flow": torch.randn(6, 3, 28, 28)}
    model.loss(inputs, torch.tensor([0, 1, 2, 0, 1, 2]))["loss"].backward()
    silent = [n for n, each in model.named_parameters() if not (each.grad != 0).any()]
    assert silent == []


def test_published_images_are_fed_as_bytes():
    flow = torch.rand(2, 3, 28, 28)
    published, face = _network(form="published", **SMALL), _network(form="face", **SMALL)
    assert published.config.input_scale == 255
    scaled = _network(form="published", input_scale=1, **SMALL)
    with torch.no_grad():
        scaled.embed.weight.mul_(255)
    torch.testing.assert_close(
        published({"flow": flow}), scaled({"flow": flow}), rtol=1e-4, atol=1e-5
    )
    assert not torch.equal(published({"flow": flow}), face({"flow": flow}))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"side": 30}, "side"),
        ({"dim": 2, "heads": 3}, "fewer than the 3 heads"),
        ({"depths": [1, 0, 1]}, "at least one block"),
    ],
)
def test_wrong_parameters_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        create_recognizer("htnet", 3, config)
