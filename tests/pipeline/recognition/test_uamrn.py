import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from miex.pipeline.recognition.checkpoint import Card, load_checkpoint, save_checkpoint
from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.recognizers.uamrn import (
    UAMRN,
    UAMRNConfig,
    aleatoric_variance,
    epistemic_variance,
    positional_encoding,
    sample_weights,
)
from miex.pipeline.recognition.representations._learned_magnification import MagnificationNetwork
from miex.pipeline.recognition.representations.magnification import magnify

_SMALL: dict[str, Any] = {
    "weights": "random",
    "side": 32,
    "stored_side": 32,
    "magnification": "linear",
    "length": 4,
    "stages": 1,
    "model_size": 16,
    "hidden_size": 16,
    "passes": 3,
}


def _network(classes: int = 3, **changes: Any) -> UAMRN:
    torch.manual_seed(0)
    network = create_recognizer("uamrn", classes, _SMALL | changes)
    assert isinstance(network, UAMRN)
    return network


def _inputs(count: int = 4, side: int = 32, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    onset = torch.randint(20, 235, (count, 3, side, side), generator=generator)
    change = torch.randint(-6, 7, (count, 3, side, side), generator=generator)
    return {"onset": onset.to(torch.uint8), "apex": (onset + change).to(torch.uint8)}


def test_defaults_are_the_papers() -> None:
    config = UAMRNConfig()
    assert (config.planes, config.length, config.tables, config.heads) == (3, 32, 4, 2)
    assert (config.factors, config.model_size, config.blocks) == ((2, 13), 1024, 3)
    assert config.side == config.stored_side == 224
    training = config.training
    assert (training.epochs, training.learning_rate, training.betas) == (40, 2e-4, (0.9, 0.999))
    assert (training.schedule, training.step_epochs, training.step_factor) == ("step", 10, 0.1)


def test_paper_sized_network() -> None:
    network = _network(
        5, length=32, stages=3, model_size=1024, hidden_size=1024, tables=4, heads=2
    ).eval()
    linear = 1024 * 1025
    block = 6 * linear + 2 * 2 * 1024
    # ResNet-18 has 11,176,512 parameters without its head, 8,393,728 of them in its last stage.
    expected = 2_782_784 + (256 + 1) * 1024 + 3 * block + 2 * 5 * 1025
    assert sum(each.numel() for each in network.parameters()) == expected == 21_961_290
    inputs = _inputs(1)
    tokens = network._tokens(inputs)
    assert tokens.shape == (1, 32, 1024)
    assert network.sequence(inputs).shape == (1, 32, 3, 32, 32)
    assert network(inputs).shape == (1, 5)
    attention = network.attention(inputs)
    assert attention.shape == (1, 3, 2, 32, 32)
    rows = attention.sum(-1)
    assert (torch.isclose(rows, torch.ones(())) | (rows == 0)).all()


def test_positional_encoding_is_the_papers() -> None:
    encoding = positional_encoding(5, 6)
    for pos in range(5):
        for d in range(3):
            angle = pos / 10000 ** (2 * d / 6)
            assert encoding[pos, 2 * d] == pytest.approx(math.sin(angle), abs=1e-6)
            assert encoding[pos, 2 * d + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def test_uncertainty_is_that_of_loops() -> None:
    torch.manual_seed(0)
    passes, batch, classes = 7, 3, 4
    logits, variances = torch.randn(passes, batch, classes) * 3, torch.rand(passes, batch, classes)
    epistemic, aleatoric = epistemic_variance(logits), aleatoric_variance(variances)
    for n in range(batch):
        first = second = third = 0.0
        for c in range(classes):
            first += sum(float(logits[m, n, c]) ** 2 for m in range(passes)) / passes
            second += (sum(float(logits[m, n, c]) for m in range(passes)) / passes) ** 2
            third += sum(float(variances[m, n, c]) for m in range(passes)) / passes
        assert epistemic[n] == pytest.approx(first - second, rel=1e-4)
        assert aleatoric[n] == pytest.approx(third, rel=1e-5)


def test_loss_is_that_of_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _network(passes=5)
    logits = torch.randn(5, 4, 3) * 2
    variances = torch.rand(5, 4, 3)
    labels = torch.tensor([0, 2, 1, 2])
    monkeypatch.setattr(network, "_tokens", lambda inputs: None)
    monkeypatch.setattr(network, "_sample", lambda tokens, drop: (logits, variances))
    torch.manual_seed(3)
    noise = torch.randn(5, 4, 3)
    torch.manual_seed(3)
    terms = network.loss(_inputs(), labels)
    gamma, entropy = [], []
    for n in range(4):
        gamma.append(
            sum(
                float(logits[:, n, c].var(correction=0) + variances[:, n, c].mean())
                for c in range(3)
            )
        )
        probability = 0.0
        for m in range(5):
            drawn = [
                float(logits[m, n, c])
                + math.sqrt(float(variances[m, n, c])) * float(noise[m, n, c])
                for c in range(3)
            ]
            total = sum(math.exp(each) for each in drawn)
            probability += math.exp(drawn[int(labels[n])]) / total / 5
        entropy.append(-math.log(probability))
    mean = sum(gamma) / 4
    expected = sum(g / mean * e for g, e in zip(gamma, entropy, strict=True)) / 4
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert terms["cross_entropy"].item() == pytest.approx(sum(entropy) / 4, rel=1e-5)
    assert (terms["epistemic"] + terms["aleatoric"]).item() == pytest.approx(mean, rel=1e-5)


def test_weight_is_a_constant_to_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _network(passes=5)
    logits = (torch.randn(5, 4, 3) * 2).requires_grad_()
    variances = torch.rand(5, 4, 3).requires_grad_()
    labels = torch.tensor([0, 2, 1, 2])
    monkeypatch.setattr(network, "_tokens", lambda inputs: None)
    monkeypatch.setattr(network, "_sample", lambda tokens, drop: (logits, variances))
    torch.manual_seed(3)
    noise = torch.randn(5, 4, 3)
    torch.manual_seed(3)
    found = torch.autograd.grad(network.loss(_inputs(), labels)["loss"], (logits, variances))
    gamma = (epistemic_variance(logits) + aleatoric_variance(variances)).detach()
    softmaxes = (logits + variances.sqrt() * noise).softmax(-1).mean(0)
    loss = -(gamma / gamma.mean() * softmaxes[torch.arange(4), labels].log()).mean()
    for given, expected in zip(found, torch.autograd.grad(loss, (logits, variances)), strict=True):
        assert torch.allclose(given, expected, atol=1e-6)


@pytest.mark.parametrize(
    "ablation",
    [{}, {"uncertainty": False}, {"attention": "full"}, {"single_factor": 8.0}, {"stages": 3}],
)
def test_gradients_reach_every_parameter(ablation: dict[str, Any]) -> None:
    network = _network(**ablation).train()
    terms = network.loss(_inputs(8), torch.arange(8) % 3)
    terms["loss"].backward()
    missing = [
        name
        for name, each in network.named_parameters()
        if each.grad is None or not each.grad.isfinite().all()
    ]
    assert missing == []
    assert ("variance.weight" in dict(network.named_parameters())) is (
        ablation.get("uncertainty", True)
    )


def test_eval_is_deterministic_and_training_is_not() -> None:
    network, inputs = _network(length=16), _inputs()
    network.eval()
    assert torch.equal(network(inputs), network(inputs))
    assert torch.equal(network.attention(inputs), network.attention(inputs))
    network.train()
    assert not torch.equal(network(inputs), network(inputs))
    assert torch.equal(network.attention(inputs), network.attention(inputs))
    assert network.training


def test_uncertainty_leaves_no_trace_and_repeats() -> None:
    network, inputs = _network(dropout=0.5), _inputs()
    network.eval()
    state = torch.random.get_rng_state()
    first, second = network.uncertainty(inputs), network.uncertainty(inputs)
    other = network.uncertainty(inputs, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.epistemic, second.epistemic)
    assert not torch.equal(first.epistemic, other.epistemic)
    assert torch.equal(first.aleatoric, second.aleatoric)
    assert (first.epistemic > 0).all()
    assert torch.allclose(first.probabilities.sum(-1), torch.ones(4))
    with pytest.raises(ValueError, match="uncertainty false"):
        _network(uncertainty=False).uncertainty(inputs)


def test_attention_of_the_ablations() -> None:
    inputs = _inputs(2)
    assert (_network(attention="full").attention(inputs) > 0).all()
    sparse = _network(length=16, tables=1).attention(inputs)
    assert sparse.shape == (2, 3, 2, 16, 16)
    assert (sparse == 0).any()
    assert _network(single_factor=8.0).attention(inputs).shape == (2, 3, 2, 1, 1)


def test_sequence_is_magnified_at_the_networks_size() -> None:
    inputs = _inputs(2)
    frames = _network(length=3, factors=(2, 8)).sequence(inputs)
    for index, factor in enumerate((2.0, 5.0, 8.0)):
        expected = magnify(inputs["onset"], inputs["apex"], factor, "linear")
        assert torch.equal(frames[:, index], expected)
    one = _network(single_factor=8.0).sequence(inputs)
    assert torch.equal(one[:, 0], magnify(inputs["onset"], inputs["apex"], 8.0, "linear"))
    assert _network(side=48).sequence(inputs).shape == (2, 4, 3, 48, 48)


def test_magnification_by_name(tmp_path: Path) -> None:
    assert _network(magnification="auto").weights == "random; magnification phase"
    path = tmp_path / "weights.pth"
    torch.save(MagnificationNetwork().state_dict(), path)
    learned = _network(magnification="auto", magnification_weights=path)
    assert "magnification learned" in learned.weights
    trained = [name for name, each in learned.named_parameters() if each.requires_grad]
    assert not any(name.startswith("magnify.") for name in trained)
    learned.loss(_inputs(2), torch.tensor([0, 1]))["loss"].backward()
    with pytest.raises(ValueError, match="needs the checkpoint"):
        _network(magnification="learned")


def test_phases_do_not_mind_autocast() -> None:
    network, inputs = _network(magnification="phase").eval(), _inputs(1)
    expected = network.sequence(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network.sequence(inputs), expected)
        terms = network.loss(inputs, torch.tensor([1]))
    assert all(each.isfinite() for each in terms.values())


def test_wrong_configs_are_refused() -> None:
    with pytest.raises(ValueError, match="an even number that 3 heads"):
        UAMRNConfig(model_size=16, heads=3)
    with pytest.raises(ValueError, match="from 0 upwards"):
        UAMRNConfig(factors=(13, 2))


def test_frames_are_normalised_and_their_order_counts() -> None:
    network = _network().eval()
    inputs = _inputs(2)
    seen: list[Tensor] = []
    network.features.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    tokens = network._tokens(inputs)
    frames = network.sequence(inputs).flatten(0, 1).float() / 255
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (frames - mean[:, None, None]) / deviation[:, None, None]
    assert torch.allclose(seen[0], expected, atol=1e-4)
    alone = network.project(network.features(expected)).unflatten(0, (2, 4))
    assert torch.allclose(tokens - alone, positional_encoding(4, 16).expand_as(tokens), atol=1e-4)


def test_a_checkpoint_needs_no_magnification_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(MagnificationNetwork().state_dict(), path)
    network = _network(magnification="auto", magnification_weights=path).eval()
    card = Card("uamrn", network.config.model_dump(mode="json"), "three_class", network.weights)
    save_checkpoint(tmp_path / "r.safetensors", network, card)
    path.unlink()
    again = load_checkpoint(tmp_path / "r.safetensors").create()
    assert isinstance(again, UAMRN)
    inputs = _inputs(2)
    assert torch.equal(again.eval()(inputs), network(inputs))
    assert again.weights == network.weights
    with pytest.raises(FileNotFoundError, match="no magnification checkpoint at"):
        _network(magnification="auto", magnification_weights=path)


def test_weights_can_be_scaled_so_that_uncertainty_counts() -> None:
    generator = torch.Generator().manual_seed(0)
    epistemic = 1e-3 * torch.rand(16, generator=generator)
    aleatoric = 1.5 + 0.02 * torch.rand(16, generator=generator)
    flat = sample_weights(epistemic, aleatoric, "mean")
    assert (flat - 1).abs().max() < 0.01
    spread = sample_weights(epistemic, aleatoric, "standardised")
    assert spread.mean() == pytest.approx(1)
    assert spread.max() / spread.min() > 3
    louder = epistemic.clone()
    louder[0] = epistemic.max() + 1e-3  # the smaller part counts too
    assert sample_weights(louder, aleatoric, "standardised")[0] > spread[0]
    terms = (
        _network(uncertainty_scaling="standardised")
        .train()
        .loss(_inputs(4), torch.tensor([0, 1, 2, 0]))
    )
    assert terms["weight_spread"] > 0.1
    alike = sample_weights(torch.ones(4), torch.ones(4), "standardised")
    assert torch.equal(alike, torch.ones(4))
