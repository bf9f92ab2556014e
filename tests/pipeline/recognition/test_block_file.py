from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from miex.pipeline.recognition.block_file import is_whole, read_block, write_block


def test_a_block_is_a_safetensors_file_of_its_parts(tmp_path: Path) -> None:
    whole = {
        "frames": torch.randint(0, 255, (5, 3, 7, 7), dtype=torch.uint8),
        "flow": torch.randn(5, 2, 3),
        "half": torch.randn(5, 3).half(),
        "index": torch.arange(5),
    }
    parts = [{name: each[:2] for name, each in whole.items()}]
    # A view whose memory is in another order.
    parts.append(
        {name: each[2:].transpose(0, -1).clone().transpose(0, -1) for name, each in whole.items()}
    )
    path = tmp_path / "block.safetensors"
    write_block(path, parts, 6, {"toy/3": "no face"})
    for found in (load_file(path), read_block(path)[0]):
        assert found.keys() == whole.keys()
        assert all(torch.equal(found[name], each) for name, each in whole.items())
        assert all(found[name].dtype == each.dtype for name, each in whole.items())
    assert read_block(path)[1] == {"toy/3": "no face"}
    assert is_whole(path, 6)
    assert not is_whole(path, 5)
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_whole(path, 6)


def test_a_block_without_a_usable_sample(tmp_path: Path) -> None:
    path = tmp_path / "block.safetensors"
    write_block(path, [], 1, {"toy/0": "no face"})
    assert is_whole(path, 1)
    assert read_block(path) == ({}, {"toy/0": "no face"})


def test_a_type_that_no_cache_holds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'phase' is torch.complex64, expected one of"):
        write_block(tmp_path / "block", [{"phase": torch.zeros(1, dtype=torch.complex64)}], 1, {})
    assert list(tmp_path.iterdir()) == []


def test_rows_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "block"
    write_block(path, [{"frames": torch.zeros(0, 3)}, {"frames": torch.ones(2, 3)}], 2, {})
    assert torch.equal(read_block(path)[0]["frames"], torch.ones(2, 3))
