import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_recognition import ToySamples

from miex.datasets.files import DiskFullError
from miex.pipeline.recognition import cache as caches
from miex.pipeline.recognition.block_file import write_block
from miex.pipeline.recognition.cache import Batches, compute_inputs, open_inputs
from miex.pipeline.recognition.representations.base import (
    RepresentationConfig,
    fingerprint,
    stack_pairs,
)
from miex.pipeline.recognition.sample import Sample, SampleInfo, require_usable


class MeanConfig(RepresentationConfig):
    side: int = 32


@dataclass
class Mean:
    """Mean colour of the apex, and how often it was asked."""

    config: MeanConfig = field(default_factory=MeanConfig)
    name: str = "mean"
    version: int = 1
    needs_landmarks: bool = False
    calls: int = 0

    def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        self.calls += 1
        _, apex = stack_pairs(samples, self.config.side, device)
        return {"mean": apex.float().mean((2, 3))}


@dataclass(frozen=True)
class Block:
    samples: Sequence[Sample]
    content: str

    @property
    def infos(self) -> Sequence[SampleInfo]:
        return [sample.info for sample in self.samples]

    def load(self, landmarks: bool) -> Iterator[Sample]:
        yield from self.samples


def test_inputs_are_computed_once_and_read_in_any_order(
    tmp_path: Path, toy_samples: ToySamples
) -> None:
    samples = toy_samples(80)
    blocks = [Block(samples[:50], "a" * 64), Block(samples[50:], "b" * 64)]
    mean, progress = Mean(), []
    inputs = open_inputs(
        blocks, mean, tmp_path, on_progress=lambda done, total: progress.append((done, total))
    )
    assert len(inputs) == 80
    assert progress[-1] == (80, 80)
    expected = Mean().compute(samples, torch.device("cpu"))["mean"]
    order = np.random.default_rng(0).permutation(80)
    torch.testing.assert_close(inputs.take(order)["mean"], expected[torch.from_numpy(order)])
    calls = mean.calls
    again = open_inputs(blocks, mean, tmp_path)
    assert mean.calls == calls
    torch.testing.assert_close(again.take(range(80))["mean"], expected)
    assert again.labels.tolist() == [sample.info.label for sample in samples]


def test_the_cache_knows_parameters_version_and_content(
    tmp_path: Path, toy_samples: ToySamples
) -> None:
    blocks = [Block(toy_samples(4), "a" * 64)]
    open_inputs(blocks, Mean(), tmp_path)
    for other in (Mean(MeanConfig(side=16)), Mean(version=2)):
        assert fingerprint(other) != fingerprint(Mean())
        open_inputs(blocks, other, tmp_path)
        assert other.calls == 1
    changed = Mean()
    open_inputs([Block(toy_samples(4, seed=1), "c" * 64)], changed, tmp_path)
    assert changed.calls == 1


def test_a_damaged_file_is_made_again(tmp_path: Path, toy_samples: ToySamples) -> None:
    blocks = [Block(toy_samples(6), "a" * 64)]
    whole = open_inputs(blocks, Mean(), tmp_path).take(range(6))["mean"].clone()
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-7])
    torch.testing.assert_close(open_inputs(blocks, Mean(), tmp_path).take(range(6))["mean"], whole)


def test_unusable_samples_are_named_and_counted(tmp_path: Path, toy_samples: ToySamples) -> None:
    samples = toy_samples(6)
    samples[2] = replace(samples[2], frames=samples[2].frames[:1])
    samples[4] = replace(samples[4], apex_index=0)
    inputs = open_inputs([Block(samples, "a" * 64)], Mean(), tmp_path)
    assert [info.key for info in inputs.infos] == [samples[i].info.key for i in (0, 1, 3, 5)]
    assert [each.origin for each in inputs.rejections] == [samples[i].info.key for i in (2, 4)]
    assert "a clip of 1 frame has no motion" in inputs.rejections[0].detail
    assert "apex_index is 0" in inputs.rejections[1].detail
    again = open_inputs([Block(samples, "a" * 64)], Mean(), tmp_path)
    assert again.rejections == inputs.rejections


def test_nan_is_refused_with_the_name_of_the_sample(toy_samples: ToySamples) -> None:
    class Bad(Mean):
        def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
            inputs = super().compute(samples, device)
            for row, sample in zip(inputs["mean"], samples, strict=True):
                if sample.info.subject == "toy001":
                    row[0] = torch.nan
            return inputs

    kept, reasons = compute_inputs(toy_samples(3), Bad(), torch.device("cpu"))
    assert len(kept["mean"]) == 2
    assert reasons == {1: "toy:toy001/clip: mean gave NaN or infinity in 'mean'"}


def test_a_decoding_error_reaches_the_caller(tmp_path: Path, toy_samples: ToySamples) -> None:
    @dataclass(frozen=True)
    class Broken(Block):
        def load(self, landmarks: bool) -> Iterator[Sample]:
            yield self.samples[0]
            raise ValueError("toy:toy001/clip: frame 1 cannot be decoded")

    with pytest.raises(ValueError, match="frame 1 cannot be decoded"):
        open_inputs([Broken(toy_samples(3), "a" * 64)], Mean(), tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("which", ["first", "last"])
def test_a_full_disk_is_said_and_what_is_written_stays(
    tmp_path: Path, toy_samples: ToySamples, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    blocks = [Block(toy_samples(4, seed=seed), name * 64) for seed, name in enumerate("abc")]
    full = {"first": "block-a", "last": "block-c"}[which]

    def write(path: Path, *content: Any) -> None:
        if path.name.startswith(full):
            raise DiskFullError(28, "the disk is full")
        write_block(path, *content)

    monkeypatch.setattr(caches, "write_block", write)
    with pytest.raises(DiskFullError):
        open_inputs(blocks, Mean(), tmp_path)
    assert len(list(tmp_path.rglob("*.safetensors"))) == {"first": 0, "last": 2}[which]
    monkeypatch.undo()
    again = Mean()
    assert len(open_inputs(blocks, again, tmp_path)) == 12
    assert again.calls == {"first": 3, "last": 1}[which]


def test_batches_come_in_order(tmp_path: Path, toy_samples: ToySamples) -> None:
    inputs = open_inputs([Block(toy_samples(10), "a" * 64)], Mean(), tmp_path)
    order = [np.array([3, 1]), np.array([9]), np.array([0, 2, 4])]
    seen = list(Batches(inputs, order, torch.device("cpu")))
    assert [len(labels) for _, labels in seen] == [2, 1, 3]
    for (batch, labels), indices in zip(seen, order, strict=True):
        torch.testing.assert_close(batch["mean"], inputs.take(indices)["mean"])
        assert labels.tolist() == [inputs.infos[i].label for i in indices]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": np.zeros((2, 64, 60, 3), np.uint8)}, "64 x 60 pixels, expected square"),
        ({"frames": np.zeros((2, 8, 8, 3), np.uint8)}, "8 x 8 pixels, expected square, at least"),
        ({"frames": np.zeros((2, 64, 64), np.uint8)}, r"expected uint8 \(T, S, S, 3\) RGB"),
        ({"landmarks": None}, "no landmarks, and this representation needs them"),
        ({"landmarks": np.zeros((1, 68, 2), np.float32)}, r"landmarks are \(1, 68, 2\), expected"),
        ({"landmarks": np.full((2, 68, 2), np.nan, np.float32)}, "landmarks of the onset are not"),
    ],
)
def test_wrong_samples_are_named(
    toy_samples: ToySamples, change: dict[str, object], message: str
) -> None:
    sample = replace(toy_samples(1)[0], **change)
    with pytest.raises(ValueError, match=f"toy:toy000/clip: .*{message}"):
        require_usable(sample, landmarks="pair")


def test_blocks_that_a_killed_run_left_half_written_go_and_others_stay(
    tmp_path: Path, toy_samples: ToySamples
) -> None:
    mean = Mean()
    room = tmp_path / f"mean-{fingerprint(mean)[:16]}"
    room.mkdir()
    left, growing = room / ".block-a.1-1.partial", room / ".block-b.2-2.partial"
    for path in (left, growing):
        path.write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    os.utime(left, (two_hours_ago, two_hours_ago))
    open_inputs([Block(toy_samples(2), "x" * 64)], mean, tmp_path)
    assert not left.exists()
    assert growing.exists()
