"""The AU reader that a run of generator training keeps: sealed, and of before without a seal."""

import logging
from pathlib import Path

import pytest
import safetensors.torch
import torch

from miex.datasets.files import whole_file
from miex.datasets.seals import UNSEALED, DamagedFile
from miex.generators.ganimation.material import _read_reader
from miex.generators.ganimation.reading_network import random_reading_network


def _content(metadata: dict[str, str] | None) -> bytes:
    return safetensors.torch.save(random_reading_network(3).state_dict(), metadata)


def test_a_reader_of_before_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "reader.safetensors"
    path.write_bytes(_content(None))
    caplog.set_level(logging.WARNING, "miex")
    state = _read_reader(path)
    for name, tensor in random_reading_network(3).state_dict().items():
        assert torch.equal(state[name], tensor), name
    assert f"{path} carries no checksum" in caplog.text


def test_flipped_bits_of_a_reader_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "reader.safetensors"
    with whole_file(path, sealed=True) as temporary:
        temporary.write_bytes(_content({"sha256": UNSEALED}))
    whole = path.read_bytes()
    assert _read_reader(path).keys() == random_reading_network(3).state_dict().keys()
    for at in (len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DamagedFile, match="delete it, and it is taught again"):
            _read_reader(path)
