"""Test the choice and the seeding of devices."""

import pytest
import torch

from miex.datasets.device import choose_device, seed_device


def test_the_seed_of_the_cpu_is_that_of_torch() -> None:
    torch.manual_seed(7)
    wanted = torch.rand(5)
    torch.rand(3)
    seed_device(7, torch.device("cpu"))
    assert torch.equal(torch.rand(5), wanted)


def test_seeding_another_device_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(torch.cuda, "manual_seed", seen.append)
    seed_device(9, torch.device("cuda"))
    assert seen == [9]


def test_an_unknown_device_is_refused_with_its_name() -> None:
    with pytest.raises(ValueError, match="'abacus' cannot be used here"):
        choose_device("abacus")
