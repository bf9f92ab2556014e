import numpy as np
import pytest
import torch

from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.recognizers.dere_grl import (
    DereGrl,
    DereGrlConfig,
    balance_loss,
    mean_centre_loss,
    moved_centres,
    normalised_adjacency,
    weight_centre_loss,
)
from miex.pipeline.recognition.representations.landmark_graph import COMPONENTS, adjacency

CPU = torch.device("cpu")


@pytest.fixture
def inputs(toy_samples):
    return DereGrl(DereGrlConfig(), 3).representation.compute(toy_samples(6), CPU)


def make(classes=3, **config):
    torch.manual_seed(0)
    return create_recognizer("dere_grl", classes, config)


def disturbed(model):
    """In eval mode with statistics and parameters that are not at their start."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    return model.eval()


class Slow:
    """The network again, for one sample, in float64 and by loops."""

    def __init__(self, model):
        self.model = model
        self.state = {k: v.double().numpy() for k, v in model.state_dict().items()}
        joined = adjacency().numpy()
        self.graph = self.kipf(joined)
        self.parts = {name: self.kipf(joined[part, part]) for name, part in COMPONENTS.items()}

    @staticmethod
    def kipf(joined):
        linked = joined + np.eye(len(joined))
        degree = linked.sum(1)
        out = np.zeros_like(linked)
        for i in range(len(linked)):
            for j in range(len(linked)):
                out[i, j] = linked[i, j] / np.sqrt(degree[i] * degree[j])
        return out

    def gc(self, x, name, mixing):
        weight, bias = (
            self.state[f"{name}.linear.weight"][..., 0, 0],
            self.state[f"{name}.linear.bias"],
        )
        out = np.zeros((len(weight), *x.shape[1:]))
        for t in range(x.shape[1]):
            features = weight @ x[:, t] + bias[:, None]
            for v in range(x.shape[2]):
                out[:, t, v] = sum(mixing[v, u] * features[:, u] for u in range(x.shape[2]))
        return out

    def tc(self, x, name, pad):
        weight, bias = self.state[f"{name}.weight"][..., 0], self.state[f"{name}.bias"]
        x = np.pad(x, ((0, 0), (pad, pad), (0, 0)))
        steps = x.shape[1] - 2
        out = np.zeros((len(weight), steps, x.shape[2]))
        for t in range(steps):
            out[:, t] = sum(weight[:, :, k] @ x[:, t + k] for k in range(3)) + bias[:, None]
        return out

    def norm(self, x, name):
        s = {
            k: self.state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")
        }
        shape = (-1, *([1] * (x.ndim - 1)))
        scale = s["weight"] / np.sqrt(s["running_var"] + 1e-5)
        return (x - s["running_mean"].reshape(shape)) * scale.reshape(shape) + s["bias"].reshape(
            shape
        )

    def __call__(self, nodes):
        coordinates = nodes.transpose(0, 2, 1).reshape(62, 3)
        x = self.norm(coordinates, "standardise").reshape(2, 31, 3).transpose(0, 2, 1)
        for layer in ("backbone.0", "backbone.1"):
            x = np.maximum(
                self.norm(self.gc(x, f"{layer}.spatial", self.graph), f"{layer}.norms.0"), 0
            )
            x = np.maximum(self.norm(self.tc(x, f"{layer}.temporal", 1), f"{layer}.norms.1"), 0)
        actions, maps = [], []
        for name, part in COMPONENTS.items():
            here = x[..., part]
            hidden = np.maximum(self.gc(here, f"decompose.{name}.0", self.parts[name]), 0)
            logits = self.tc(hidden, f"decompose.{name}.2", 0)[:, 0].T  # nodes, K
            share = np.exp(logits) / np.exp(logits).sum(0)
            maps.append(share)
            for k in range(share.shape[1]):
                actions.append(sum(share[v, k] * here[:, :, v] for v in range(len(share))))
        f = np.stack(actions, -1)  # features, frames, actions
        count = f.shape[-1]
        mixing = np.full((count, count), 0.5 / count) + 0.5 * np.eye(count)
        hidden = np.maximum(self.gc(f, "relate.0", mixing), 0)
        columns = self.tc(hidden, "relate.2", 0)[:, 0]
        weights = np.array([np.sqrt((columns[:, i] ** 2).sum()) for i in range(count)])
        rows = np.stack([f[..., i].T.ravel() for i in range(count)])
        weighted = np.concatenate([weights[i] * rows[i] for i in range(count)])
        logits = self.state["classifier.weight"] @ weighted + self.state["classifier.bias"]
        return rows, maps, weights, logits


def test_the_network_is_that_of_a_slow_reference(inputs):
    model = disturbed(make(channels=5, actions=2))
    slow = Slow(model)
    with torch.no_grad():
        found, logits = model.decomposition(inputs), model(inputs)
    for n, nodes in enumerate(inputs["nodes"].double().numpy()):
        rows, maps, weights, expected = slow(nodes)
        np.testing.assert_allclose(found.features[n], rows, atol=1e-4)
        np.testing.assert_allclose(found.weights[n], weights, atol=1e-4)
        np.testing.assert_allclose(logits[n], expected, atol=1e-4)
        for fast, each in zip(found.maps, maps, strict=True):
            np.testing.assert_allclose(fast[n], each, atol=1e-5)


@pytest.mark.parametrize(("channels", "parameters"), [(16, 6618), (8, 2482)])
def test_sizes_of_the_paper(inputs, channels, parameters):
    """16 features a node on CASME II, 8 on SAMM; three actions of each of three components.

    The count is ours, layer by layer: the paper states none.
    """
    model = make(classes=5, channels=channels).eval()
    d, k = channels, 3
    backbone = (2 * d + d) + (d * d + d) + 2 * (3 * d * d + d) + 4 * 2 * d
    decomposition = 3 * ((d * d + d) + (3 * d * k + k))
    relation = (d * d + d) + (3 * d * d + d)
    expected = 2 * 62 + backbone + decomposition + relation + 9 * 3 * d * 5 + 5
    assert sum(p.numel() for p in model.parameters()) == expected == parameters
    found = model.decomposition(inputs)
    assert found.features.shape == (6, 9, 3 * channels)
    assert [each.shape for each in found.maps] == [(6, n, 3) for n in (10, 9, 12)]
    assert model.action_weights(inputs).shape == (6, 9)
    assert model.action_names[0] == "brows 1"
    assert len(model.action_names) == 9


def test_an_action_is_a_convex_combination_of_its_nodes(inputs):
    found = make().eval().decomposition(inputs)
    for share in found.maps:
        assert (share > 0).all()
        np.testing.assert_allclose(share.sum(1).detach(), np.ones((6, 3)), rtol=1e-5)


def test_kipf_normalisation():
    path = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
    a, b = 1 / 2, 1 / 6**0.5
    expected = torch.tensor([[a, b, 0], [b, 1 / 3, b], [0, b, a]])
    np.testing.assert_allclose(normalised_adjacency(path), expected, rtol=1e-5)


def test_losses_by_hand():
    rng = np.random.default_rng(0)
    features, weights = rng.normal(size=(4, 3, 5)), rng.uniform(size=(4, 3))
    labels, centres = np.array([0, 2, 2, 0]), rng.uniform(size=(3, 3))
    mean_centre = 0.0
    for n in range(4):
        for i in range(3):
            centre = sum(features[m, i] for m in range(4)) / 4
            mean_centre += ((features[n, i] - centre) ** 2).sum() / (4 * 3 * 5)
    weight_centre = sum(((weights[n] - centres[labels[n]]) ** 2).sum() for n in range(4)) / 4
    balance = sum(abs(sum(weights[n, i] for n in range(4)) / 4 - 1 / 3) for i in range(3))
    f, w, c, y = map(torch.from_numpy, (features, weights, centres, labels))
    assert mean_centre_loss(f).item() == pytest.approx(mean_centre)
    assert weight_centre_loss(w, y, c).item() == pytest.approx(weight_centre)
    assert balance_loss(w).item() == pytest.approx(balance)
    moved = centres.copy()
    for j in range(3):
        members = [weights[n] for n in range(4) if labels[n] == j]
        step = sum((centres[j] - w for w in members), np.zeros(3)) / (1 + len(members))
        moved[j] -= 0.5 * step
    np.testing.assert_allclose(moved_centres(c, w, y), moved)
    assert (moved[1] == centres[1]).all()


def test_the_loss_is_the_weighted_sum_of_its_terms(inputs):
    labels = torch.arange(6) % 3
    model = make(mean_centre=0.5, weight_centre=2.0, balance=0.25)
    terms = model.loss(inputs, labels)
    total = terms["cross_entropy"] + 0.5 * terms["mean_centre"]
    total = total + 2 * terms["weight_centre"] + 0.25 * terms["balance"]
    assert terms["loss"].item() == pytest.approx(total.item(), rel=1e-5)
    default = DereGrlConfig()
    assert (default.mean_centre, default.weight_centre, default.balance) == (1, 1, 0.1)
    assert default.graph.amplification == 3


def test_centres_move_in_training_alone(inputs):
    labels = torch.tensor([0, 0, 0, 2, 2, 2])
    model = make()
    model.eval().loss(inputs, labels)
    assert model.weight_centres.abs().sum() == 0
    for _ in range(30):
        terms = model.train().loss(inputs, labels)
    with torch.no_grad():
        weights = model.decomposition(inputs).weights
    np.testing.assert_allclose(model.weight_centres[0], weights[:3].mean(0), atol=1e-3)
    assert model.weight_centres[1].abs().sum() == 0
    terms["loss"].backward()
    again = make()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.weight_centres, model.weight_centres)


@pytest.mark.parametrize(
    ("config", "terms", "rows"),
    [
        ({"decomposition": False, "reconstruction": False}, {"cross_entropy"}, 31),
        ({"reconstruction": False}, {"cross_entropy", "mean_centre"}, 9),
        ({"actions": 8}, {"cross_entropy", "mean_centre", "weight_centre", "balance"}, 24),
    ],
)
def test_ablations(inputs, config, terms, rows):
    model = make(**config)
    losses = model.loss(inputs, torch.arange(6) % 3)
    assert set(losses) == {"loss", "accuracy", *terms}
    losses["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.decomposition(inputs).features.shape == (6, rows, 48)
    assert model.classifier.in_features == rows * 48
    if "weight_centre" not in terms:
        with pytest.raises(ValueError, match="without reconstruction"):
            model.action_weights(inputs)


def test_relations_need_actions():
    with pytest.raises(ValueError, match="reconstruction weighs the actions"):
        DereGrlConfig(decomposition=False)


def test_jitter_has_the_stated_size(inputs):
    model = make(shape_jitter=0.01, motion_jitter=0.002)
    many = {"nodes": inputs["nodes"][:1].repeat(4000, 1, 1, 1)}
    noise = model.augment(many, torch.Generator().manual_seed(0))["nodes"] - many["nodes"]
    onset, apex, offset = noise.unbind(2)
    assert onset.std().item() == pytest.approx((0.01**2 + 0.002**2) ** 0.5, rel=0.03)
    for frame in (apex, offset):
        assert (frame - onset).std().item() == pytest.approx(4 * 0.002 * 2**0.5, rel=0.03)
    # Both motions are measured from the one onset.
    both = torch.stack([(apex - onset).flatten(), (offset - onset).flatten()])
    assert torch.corrcoef(both)[0, 1].item() == pytest.approx(0.5, abs=0.02)
    again = model.augment(many, torch.Generator().manual_seed(0))["nodes"] - many["nodes"]
    assert torch.equal(again, noise)


def test_one_sample_in_training_and_half_precision(inputs):
    model = make()
    one = {"nodes": inputs["nodes"][:1]}
    terms = model.train().loss(one, torch.tensor([1]))
    terms["loss"].backward()
    assert torch.isfinite(terms["loss"])
    with torch.autocast("cpu", torch.bfloat16):
        terms = model.loss(inputs, torch.arange(6) % 3)
        assert torch.isfinite(terms["loss"])
        assert model.eval()(one).shape == (1, 3)
    assert model.weight_centres.dtype == torch.float32


def test_a_sample_is_judged_alone(inputs):
    model = make().eval()
    with torch.no_grad():
        together = model(inputs)
        alone = torch.cat([model({"nodes": each[None]}) for each in inputs["nodes"]])
    np.testing.assert_allclose(together, alone, atol=1e-6, rtol=1e-5)
