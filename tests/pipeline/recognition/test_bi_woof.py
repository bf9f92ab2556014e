import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.representations.bi_woof import BiWoof, BiWoofConfig, bi_woof

CPU = torch.device("cpu")


def slow_bi_woof(flow, strain, blocks, bins):
    _, height, width = flow.shape
    vector = []
    for row in range(blocks):
        for column in range(blocks):
            histogram, weight = [0.0] * bins, 0.0
            for y in range(height):
                for x in range(width):
                    if y * blocks // height != row or x * blocks // width != column:
                        continue
                    u, v = float(flow[0, y, x]), float(flow[1, y, x])
                    degrees = math.degrees(math.atan2(v, u))
                    histogram[int((degrees + 180) // (360 / bins)) % bins] += math.hypot(u, v)
                    weight += float(strain[y, x])
            total = sum(histogram) or 1.0
            vector += [weight * count / total for count in histogram]
    return np.array(vector) / (np.linalg.norm(vector) or 1.0)


@pytest.mark.parametrize(("shape", "blocks", "bins"), [((20, 20), 5, 8), ((13, 17), 3, 6)])
def test_against_a_slow_reference(shape, blocks, bins):
    generator = torch.Generator().manual_seed(0)
    flow = torch.randn(2, 2, *shape, generator=generator)
    strain = torch.rand(2, *shape, generator=generator)
    found = bi_woof(flow, strain, blocks=blocks, bins=bins)
    for vector, one, weight in zip(found, flow, strain, strict=True):
        np.testing.assert_allclose(vector, slow_bi_woof(one, weight, blocks, bins), atol=1e-6)


@pytest.mark.parametrize(
    ("u", "v", "expected"),
    [
        (-1, -0.1, 0),
        (-0.1, -1, 1),
        (0.1, -1, 2),
        (1, -0.1, 3),
        (1, 0.1, 4),
        (0.1, 1, 5),
        (-1, 0.1, 7),
    ],
)
def test_directions(u, v, expected):
    flow = torch.tensor([u, v])[None, :, None, None].expand(1, 2, 10, 10)
    found = bi_woof(flow, torch.ones(1, 10, 10), blocks=1)
    assert found[0].tolist() == pytest.approx([float(bin == expected) for bin in range(8)])


def test_to_the_left_is_one_direction():
    flow = torch.zeros(2, 2, 5, 5)
    flow[:, 0] = -1
    flow[0, 1], flow[1, 1] = 0.0, -0.0
    found = bi_woof(flow, torch.ones(2, 5, 5), blocks=1)
    assert found[0].argmax() == found[1].argmax() == 0


def test_no_motion_is_a_vector_of_zeros():
    assert not bi_woof(torch.zeros(1, 2, 10, 10), torch.zeros(1, 10, 10)).any()


def test_representation(toy_samples):
    samples = toy_samples(2)
    representation = BiWoof(BiWoofConfig(side=64))
    found = representation.compute(samples, CPU)["bi_woof"]
    assert found.shape == (2, 200)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    assert torch.equal(representation.compute(samples[1:], CPU)["bi_woof"][0], found[1])
    blocks = found.view(2, 5, 5, 8)
    up = blocks[..., 1:3].sum(-1)
    assert up[0, :2].sum() > up[0, 3:].sum()  # inner brows rise
    assert up[1, 3:].sum() > up[1, :2].sum()  # lip corners rise


def test_unusable_samples_are_named(toy_samples):
    good, bad = toy_samples(2)
    bad = replace(bad, frames=bad.frames[:, :20, :20])
    with pytest.raises(ValueError, match=bad.info.key):
        BiWoof().compute([good, bad], CPU)


def clouds(labels, seed=0):
    """Features whose mean differs by class, on scales far apart."""
    rng = np.random.default_rng(seed)
    centres = np.array([[3, 0, 0], [0, 3, 0], [0, 0, 3], [-3, -3, 0]])
    features = centres[labels] + rng.normal(0, 0.5, (len(labels), 3))
    scale, offset = np.array([1e-3, 1, 1e3]), np.array([5, -1, 1e4])
    features = np.concatenate([features * scale + offset, np.full((len(labels), 1), 7.0)], axis=1)
    return {"bi_woof": torch.from_numpy(features)}


LABELS = np.repeat([0, 1, 2], 20)


def fitted(labels=LABELS, classes=3, **config):
    model = create_recognizer("bi_woof", classes, config)
    model.fit(clouds(labels), torch.from_numpy(labels), seed=0)
    return model


def test_the_machine_separates_and_keeps_its_state():
    model = fitted()
    scores = model.scores(clouds(LABELS, seed=1))
    assert scores.shape == (60, 3)
    assert scores.dtype == torch.float32
    assert (scores.argmax(1).numpy() == LABELS).all()
    state = model.state()
    assert {name: array.dtype for name, array in state.items()} == {
        name: np.float32 for name in ("mean", "weights", "bias")
    }
    other = create_recognizer("bi_woof", 3)
    with pytest.raises(ValueError, match="not fitted"):
        other.scores(clouds(LABELS))
    other.load_state(state)
    assert torch.equal(other.scores(clouds(LABELS, seed=1)), scores)
    with pytest.raises(ValueError, match=r"bi_woof: the state has .* expected"):
        create_recognizer("bi_woof", 4).load_state(state)


@pytest.mark.parametrize(
    "present", [(0, 2, 3), (1, 3), (3, 0), (2,)], ids=["three", "two", "swapped", "one"]
)
def test_absent_classes_are_never_the_answer(present):
    labels = np.repeat(present, 15)
    scores = fitted(labels, classes=5).scores(clouds(labels, seed=1))
    assert (scores.argmax(1).numpy() == labels).all()
    absent = [number for number in range(5) if number not in present]
    assert torch.isneginf(scores[:, absent]).all()
    assert torch.isfinite(scores[:, list(present)]).all()


def test_training_alone_sets_the_scale():
    first = fitted().scores(clouds(LABELS[:4], seed=1))
    many = fitted().scores(clouds(LABELS, seed=1))
    torch.testing.assert_close(first.argmax(1), many[:4].argmax(1))
    mean = fitted().state()["mean"]
    np.testing.assert_allclose(mean, clouds(LABELS)["bi_woof"].mean(0), rtol=1e-6)


def test_c_weighs_errors_and_labels_are_checked():
    weak, strong = fitted(c=1e-4), fitted(c=10.0)
    assert np.abs(weak.state()["weights"]).sum() < np.abs(strong.state()["weights"]).sum()
    with pytest.raises(ValueError, match="expected 0 to 1"):
        fitted(classes=2)


def test_weights_count():
    crowd = np.repeat([0, 1], 30)
    features = torch.from_numpy(np.random.default_rng(0).normal(crowd[:, None] * 0.5, 1, (60, 2)))
    share = {}
    for first in (0.02, 1.0, 1.98):
        model = create_recognizer("bi_woof", 2)
        weights = np.where(crowd == 0, first, 2 - first)
        model.fit({"bi_woof": features}, torch.from_numpy(crowd), seed=0, weights=weights)
        share[first] = (model.scores({"bi_woof": features}).argmax(1) == 0).float().mean().item()
    assert share[0.02] < 0.1 < share[1.0] < 0.9 < share[1.98]


def test_balance_gives_the_few_their_say():
    many = np.repeat([0, 1], (54, 6))
    features = torch.from_numpy(np.random.default_rng(0).normal(many[:, None] * 1.0, 1, (60, 2)))
    found = {}
    for balanced in (False, True):
        model = create_recognizer("bi_woof", 2, {"balanced": balanced})
        model.fit({"bi_woof": features}, torch.from_numpy(many), seed=0)
        answers = model.scores({"bi_woof": features}).argmax(1).numpy()
        found[balanced] = (answers[many == 1] == 1).mean()
    assert found[False] < 0.5 < found[True]
