import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.recognizers.dual_atme import (
    BiInception,
    Cbam,
    DualAtmeConfig,
    InceptionBlock,
    focal_loss,
)


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def create(classes=3, **config):
    torch.manual_seed(0)
    return create_recognizer("dual_atme", classes, config)


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(4, 3, 28, 28, generator=generator).half() for name in ("face", "puzzle")
    }


LABELS = torch.tensor([0, 1, 2, 1])


def test_the_paper_s_sizes(inputs):
    branch = BiInception()
    first = branch[1](branch[0](inputs["face"].float()))
    assert first.shape == (4, 24, 14, 14)
    assert branch[3](branch[2](first)).shape == (4, 48, 7, 7)
    model = create().eval()
    face, puzzle = model.features(inputs)
    assert face.shape == puzzle.shape == (4, 48, 7, 7)
    assert model(inputs).shape == (4, 3)
    training = model.config.training
    assert (training.optimizer, training.betas, training.schedule) == (
        "adam",
        (0.5, 0.999),
        "cosine",
    )
    assert (training.epochs, training.batch_size, training.learning_rate) == (60, 128, 1e-3)


def test_parameter_counts():
    def block(channels, filters):
        def convolution(into, out, kernel):
            return into * out * kernel**2 + 2 * out  # scale and shift of the normalisation

        return (
            2 * convolution(channels, filters, 1)
            + 2 * convolution(channels, 6, 1)
            + convolution(6, filters, 3)
            + convolution(6, filters, 5)
        )

    assert parameters(InceptionBlock(3, 6)) == block(3, 6)
    branch = block(3, 6) + block(24, 12)
    attention = 48 * 3 + 3 + 3 * 48 + 48 + 2 * 9 + 1
    head = 4704 * 1024 + 2 * 1024 + 1024 * 3 + 3
    assert parameters(create()) == 2 * branch + attention + head
    assert parameters(create(attention="none")) == 2 * branch + head
    assert parameters(create(attention="shared")) == 2 * branch + attention + head
    assert parameters(create(attention="both")) == 2 * branch + 2 * attention + head
    alone = branch + head - 2352 * 1024
    assert parameters(create(branches="puzzle", attention="none")) == alone
    assert parameters(create(branches="puzzle", attention="puzzle")) == alone + attention
    assert parameters(create(branches="face")) == alone + attention


@torch.no_grad()
def test_attention_against_the_equations():
    torch.manual_seed(0)
    module = Cbam(8, 4, 3)
    features = torch.randn(2, 8, 3, 3)
    into, out = module.channel[0], module.channel[2]

    def mlp(values):
        return out.weight @ (into.weight @ values + into.bias).clamp(min=0) + out.bias

    for sample, found in zip(features, module(features), strict=True):
        flat = sample.reshape(8, -1)
        channel = torch.sigmoid(mlp(flat.max(1).values) + mlp(flat.mean(1)))
        refined = channel[:, None, None] * sample
        pooled = torch.stack([refined.max(0).values, refined.mean(0)])
        weights = module.spatial.weight[0]
        spatial = torch.zeros(3, 3)
        for y in range(3):
            for x in range(3):
                total = module.spatial.bias[0].clone()
                for dy in range(3):
                    for dx in range(3):
                        at = (y + dy - 1, x + dx - 1)
                        if 0 <= at[0] < 3 and 0 <= at[1] < 3:
                            total += (weights[:, dy, dx] * pooled[:, at[0], at[1]]).sum()
                spatial[y, x] = torch.sigmoid(total)
        torch.testing.assert_close(found, spatial * refined)


def test_focal_loss_against_its_formula():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 2, 1])
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        p = row.exp()[label] / row.exp().sum()
        total += float(-((1 - p) ** 2) * p.log())
    assert float(focal_loss(logits, labels, 2)) == pytest.approx(total / 5, rel=1e-5)
    weights = torch.tensor([0.2, 0.5, 0.3])
    torch.testing.assert_close(
        focal_loss(logits, labels, 0, weights), functional.cross_entropy(logits, labels, weights)
    )


@torch.no_grad()
def test_loss_is_classification_plus_weighted_distance(inputs):
    model = create(dropout=0.0).eval()
    terms = model.loss(inputs, LABELS)
    face, puzzle = model.features(inputs)
    distance = sum(
        1 - float((a * b).sum() / (a.norm() * b.norm())) for a, b in zip(face, puzzle, strict=True)
    )
    assert float(terms["similarity"]) == pytest.approx(distance / 4, rel=1e-4)
    assert float(terms["classification"]) == pytest.approx(
        float(focal_loss(model(inputs), LABELS, 2)), rel=1e-5
    )
    assert float(terms["loss"]) == pytest.approx(
        float(terms["classification"]) + 0.01 * float(terms["similarity"])
    )
    entropy = create(classification="cross_entropy", class_weights=(0.2857, 0.1329, 0.1695)).eval()
    expected = functional.cross_entropy(
        entropy(inputs), LABELS, torch.tensor([0.2857, 0.1329, 0.1695])
    )
    torch.testing.assert_close(entropy.loss(inputs, LABELS)["classification"], expected)


def test_branches_look_at_their_own_input(inputs):
    changed = {**inputs, "puzzle": inputs["puzzle"] + 1}
    for config, same in (
        ({}, False),
        ({"branches": "face"}, True),
        ({"branches": "puzzle", "attention": "none"}, False),
        ({"puzzle": False}, True),
    ):
        model = create(**config).eval()
        assert torch.equal(model(inputs), model(changed)) == same, config
    assert set(create(branches="face").loss(inputs, LABELS)) == {"loss", "accuracy"}


def test_strain_is_lifted_to_the_size_of_the_flow(inputs):
    model = create().eval()
    seen = []
    model.branches["face"].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(inputs)
    torch.testing.assert_close(seen[0][:, :2], inputs["face"][:, :2].float())
    torch.testing.assert_close(seen[0][:, 2], 10 * inputs["face"][:, 2].float())


def test_attention_changes_the_branches_it_is_on(inputs):
    def attended(attention):
        plain, model = create(attention="none").eval(), create(attention=attention).eval()
        model.branches.load_state_dict(plain.branches.state_dict())
        pairs = zip(plain.features(inputs), model.features(inputs), strict=True)
        return [not torch.equal(a, b) for a, b in pairs]

    assert attended("face") == [True, False]
    assert attended("puzzle") == [False, True]
    assert attended("both") == [True, True]
    assert attended("shared") == [True, True]


def test_mirroring_turns_u_and_both_inputs_of_a_sample_alike(inputs):
    model = create(flip=1.0)
    generator = torch.Generator().manual_seed(0)
    mirrored = model.augment(inputs, generator)
    for name, motion in inputs.items():
        for channel, sign in ((0, -1), (1, 1), (2, 1)):
            assert torch.equal(mirrored[name][:, channel], sign * motion[:, channel].flip(-1))
    twice = model.augment(mirrored, generator)
    assert all(torch.equal(twice[name], inputs[name]) for name in inputs)
    some = create(flip=0.5).augment(
        {name: tensor.repeat(16, 1, 1, 1) for name, tensor in inputs.items()}, generator
    )
    changed = [
        (some[name] != inputs[name].repeat(16, 1, 1, 1)).flatten(1).any(1)
        for name in ("face", "puzzle")
    ]
    assert torch.equal(*changed)
    assert 10 < int(changed[0].sum()) < 54


def test_the_representation_takes_its_parameters():
    config = create(side=16, flow_side=64, upper="cheeks", lower="nose").representation.config
    assert (config.side, config.flow_side, config.upper, config.lower) == (16, 64, "cheeks", "nose")
    assert create().representation.needs_landmarks


def test_wrong_parameters():
    with pytest.raises(ValidationError, match="odd"):
        DualAtmeConfig(spatial_kernel=4)
    with pytest.raises(ValidationError, match="multiple of 4"):
        DualAtmeConfig(side=30)
    with pytest.raises(ValueError, match="2 class_weights for 3 classes"):
        create(class_weights=(1.0, 1.0))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"branches": "face", "attention": "puzzle"}, "there is only the branch 'face'"),
        ({"branches": "puzzle"}, "attention is 'face', and there is only the branch 'puzzle'"),
        ({"class_weights": (1.0, 0.0, 1.0)}, "expected numbers above 0"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_recognizer("dual_atme", 3, fields)


def test_a_weak_focus_on_a_certain_sample_has_a_gradient() -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0], [0.0, 1.0, 0.0]], requires_grad=True)
    focal_loss(logits, torch.tensor([0, 0]), 0.5).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
