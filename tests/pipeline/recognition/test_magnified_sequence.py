from pathlib import Path

import pytest
import torch

from miex.pipeline.recognition.representations import magnified_sequence
from miex.pipeline.recognition.representations._learned_magnification import MagnificationNetwork
from miex.pipeline.recognition.representations.magnification import Method, magnify
from miex.pipeline.recognition.representations.magnified_sequence import (
    MagnifiedSequence,
    amplification_factors,
    magnify_sequence,
)


def test_factors_are_those_of_the_paper() -> None:
    factors = amplification_factors()
    assert factors.shape == (32,)
    assert (factors[0], factors[-1]) == (2, 13)
    assert torch.allclose(factors.diff(), torch.full((31,), 11 / 31))


@pytest.mark.parametrize("range_", [(0, 2, 13), (4, 13, 2), (4, -1, 3), (4, 2, float("inf"))])
def test_wrong_ranges_are_refused(range_: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="expected at least one, from 0 upwards"):
        amplification_factors(*range_)


@pytest.mark.parametrize("method", ["linear", "phase", "learned"])
@pytest.mark.parametrize("at_once", [1, 2**30])
def test_sequence_is_one_magnification_after_the_other(
    method: Method, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(magnified_sequence, "_PIXELS_ON_CPU", at_once)
    torch.manual_seed(0)
    network = MagnificationNetwork() if method == "learned" else None
    onset = torch.nn.functional.interpolate(torch.rand(2, 3, 6, 6) * 255, (32, 32), mode="bicubic")
    onset = onset.clamp(0, 255).to(torch.uint8)
    apex = onset.roll(1, -1)
    factors = torch.tensor([0.0, 2.5, 13.0])
    made = magnify_sequence(onset, apex, factors, method, network)
    assert made.shape == (2, 3, 3, 32, 32)
    for index, factor in enumerate(factors.tolist()):
        expected = magnify(onset, apex, factor, method, network)
        # A batch of another size may round another way at a half.
        assert (made[:, index].int() - expected.int()).abs().max() <= 1


def test_wrong_factors_are_refused() -> None:
    frames = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"expected \(L,\)"):
        magnify_sequence(frames, frames, torch.ones(1, 2))
    with pytest.raises(ValueError, match="at least 0"):
        MagnifiedSequence(torch.tensor([-1.0]), "linear")


def test_learned_needs_its_checkpoint_and_says_which(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the checkpoint of the network of Oh et al"):
        MagnifiedSequence(amplification_factors(), "learned")
    path = tmp_path / "weights.pth"
    torch.manual_seed(0)
    torch.save(MagnificationNetwork().state_dict(), path)
    made = MagnifiedSequence(amplification_factors(2), "learned", path)
    assert str(path) in made.said
    assert "sha256" in made.said
    frames = torch.randint(0, 256, (2, 1, 3, 32, 32), dtype=torch.uint8)
    tested = made(*frames)
    assert tested.shape == (1, 2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(made(*frames), tested)
    assert MagnifiedSequence(amplification_factors(2), "phase").said == "magnification phase"
