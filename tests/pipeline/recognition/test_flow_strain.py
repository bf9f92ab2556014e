from dataclasses import replace

import numpy as np
import pytest
import torch

from miex.pipeline.recognition.representations.base import fingerprint, resize, to_tensor
from miex.pipeline.recognition.representations.flow_strain import (
    FlowStrain,
    FlowStrainConfig,
    middle_frame,
)
from miex.pipeline.recognition.representations.optical_flow import to_grey, tvl1
from miex.pipeline.recognition.representations.strain import strain_magnitude

CPU = torch.device("cpu")


def compute(samples, **config):
    return FlowStrain(FlowStrainConfig(**config)).compute(samples, CPU)["flow"]


def test_is_flow_and_strain_of_onset_and_apex(toy_samples):
    samples = toy_samples(3, frames=4)
    flow = compute(samples, flow_side=64)
    assert flow.shape == (3, 3, 28, 28)
    assert flow.dtype == torch.float16
    sample = samples[1]
    onset, apex = (to_grey(to_tensor(one[None], CPU)) for one in (sample.onset, sample.apex))
    expected = tvl1(onset, apex)
    expected = torch.cat([expected, strain_magnitude(expected)[:, None]], 1)
    torch.testing.assert_close(flow[1:2], resize(expected, 28).half(), atol=1e-3, rtol=1e-3)
    assert flow.abs().amax((-2, -1)).min() > 0.05  # something moves, everywhere


def test_lip_corners_rise_in_class_one(toy_samples):
    v = compute(toy_samples(3), flow_side=64)[:, 1].float()
    assert v[1].min() < -0.5
    assert v[1, 14:].sum() < v[1, :14].sum() < 0.1 * v[2, 14:].sum()


def test_parts(toy_samples):
    samples = toy_samples(2, frames=5)
    whole = compute(samples, flow_side=64)
    assert torch.equal(compute(samples, flow_side=64, strain=False), whole[:, :2])
    # A clip that ends at its apex is half of the way in its middle; one that goes on is not.
    assert torch.equal(compute(samples, flow_side=64, target="middle"), whole)
    onwards = [replace(sample, apex_index=3) for sample in samples]
    middle = compute(onwards, flow_side=64, target="middle")
    halfway = [replace(sample, apex_index=2) for sample in samples]
    assert torch.equal(middle, compute(halfway, flow_side=64))
    assert middle[0, 1].abs().max() < whole[0, 1].abs().max()
    pairs = toy_samples(2)
    assert torch.equal(compute(pairs, flow_side=64), compute(pairs, flow_side=64, target="middle"))


def test_middle_frame_is_never_the_onset():
    assert [middle_frame(count) for count in (2, 3, 4, 5, 9)] == [1, 1, 2, 2, 4]


def test_a_sample_does_not_depend_on_the_others(toy_samples):
    samples = [*toy_samples(2), *toy_samples(2, side=48, seed=1)]
    together = compute(samples, flow_side=64)
    alone = torch.cat([compute([sample], flow_side=64) for sample in samples])
    assert torch.equal(together, alone)


def test_bad_samples_are_named(toy_samples):
    good, bad = toy_samples(2)
    short = replace(bad, frames=bad.frames[:1])
    with pytest.raises(ValueError, match=r"toy001.*1 frame"):
        compute([good, short])
    tiny = replace(bad, frames=np.ascontiguousarray(bad.frames[:, :20, :20]))
    with pytest.raises(ValueError, match=r"toy001.*20 x 20"):
        compute([good, tiny])


def test_parameters_decide_the_fingerprint():
    variants = [{}, {"side": 32}, {"method": "dis"}, {"target": "middle"}, {"strain": False}]
    found = {fingerprint(FlowStrain(FlowStrainConfig(**each))) for each in variants}
    assert len(found) == len(variants)
