"""The compiled kernels: found, switched off, or of another version."""

import numpy as np
import pytest

from miex.datasets import kernels


@pytest.fixture(autouse=True)
def found_again():
    yield
    kernels.reload()


def test_the_kernels_can_be_switched_off(monkeypatch):
    for word in ("off", "OFF", "0", "no"):
        monkeypatch.setenv(kernels.SWITCH, word)
        kernels.reload()
        assert kernels.kernels() is None
        assert kernels.SWITCH in kernels.kernels_state()


def test_absent_kernels_are_no_error(monkeypatch):
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.delenv(kernels.SWITCH, raising=False)
    monkeypatch.setattr(kernels.importlib, "import_module", absent)
    kernels.reload()
    assert kernels.kernels() is None
    assert "No module named 'miex._kernels'" in kernels.kernels_state()
    assert "C compiler" in kernels.kernels_state()


def test_kernels_of_another_version_are_not_used(monkeypatch):
    if kernels.kernels() is None:
        pytest.skip(f"compiled kernels are {kernels.kernels_state()}")
    monkeypatch.setattr(kernels, "VERSION", kernels.VERSION + 1)
    kernels.reload()
    assert kernels.kernels() is None
    assert "Install miex again" in kernels.kernels_state()


def test_the_version_is_that_of_the_sources(root):
    header = (root / "kernels" / "kernels.h").read_text(encoding="utf-8")
    assert f"KERNELS_VERSION {kernels.VERSION} " in header


def test_addresses_count_values():
    array = np.zeros(4, np.float32)
    first, third = kernels.address(array).value, kernels.address(array, 2).value
    assert first is not None
    assert third == first + 8
    assert kernels.address(None).value is None
