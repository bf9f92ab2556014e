"""Cache of representations on disk: computed once per block of samples, then memory-mapped.

    CACHE/flow_strain-0f3a.../block-9c41....safetensors

The name of a file is a hash of the name, version and parameters of the representation and of the
content of the block, so that it is never out of date. Files are written atomically; a damaged file
is made again.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miex.datasets.base import Rejection
from miex.datasets.files import remove_partial
from miex.pipeline.recognition.block_file import is_whole, read_block, write_block
from miex.pipeline.recognition.representations.base import (
    Inputs,
    Representation,
    fingerprint,
)
from miex.pipeline.recognition.sample import Sample, SampleBlock, SampleInfo

OnProgress = Callable[[int, int], None]
"""Called with (finished samples, all samples)."""

_AT_A_TIME = 32

_ABANDONED = 3600.0
"""Seconds without a change after which an incomplete block belongs to a killed run."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Part of the inputs from one block.

    Attributes:
        name: Its file in the cache, a hash of the content.
        tensors: Memory-mapped tensors ``(n, ...)`` by name.
        infos: Facts about the usable samples.
        rejections: Unusable samples.
    """

    name: str
    tensors: Mapping[str, Tensor]
    infos: Sequence[SampleInfo]
    rejections: Sequence[Rejection]


class CachedInputs:
    """Inputs of many samples on disk, with random access.

    Attributes:
        content: Hash of the pixels and of the representation, hexadecimal.
        infos: The usable samples, in the order of the blocks.
        rejections: Samples without a representation, with the reason.
    """

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._parts = [part for part in parts if part.infos]
        names = "\n".join(part.name for part in self._parts)
        self.content = hashlib.sha256(names.encode()).hexdigest()
        self.infos: list[SampleInfo] = [info for part in self._parts for info in part.infos]
        self.rejections: list[Rejection] = [each for part in parts for each in part.rejections]
        counts = np.array([len(part.infos) for part in self._parts], np.int64)
        self._ends: NDArray[np.int64] = np.cumsum(counts)

    def __len__(self) -> int:
        return len(self.infos)

    def joined(self, other: "CachedInputs") -> "CachedInputs":
        """Return these samples followed by others of the same representation."""
        return CachedInputs([*self._parts, *other._parts])

    @property
    def labels(self) -> Tensor:
        """``int64 (N,)``."""
        return torch.tensor([info.label for info in self.infos], dtype=torch.int64)

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> dict[str, Tensor]:
        """Read samples.

        Args:
            indices: B indices, in any order.

        Returns:
            Tensors ``(B, ...)`` by name, on the CPU, in the order of the indices.
        """
        wanted = np.asarray(indices, np.int64)
        owners = np.searchsorted(self._ends, wanted, side="right")
        inputs: dict[str, Tensor] = {}
        for owner in np.unique(owners):
            places = np.flatnonzero(owners == owner)
            part = self._parts[owner]
            begin = self._ends[owner] - len(part.infos)
            rows = torch.from_numpy(wanted[places] - begin)
            for name, tensor in part.tensors.items():
                if name not in inputs:
                    inputs[name] = tensor.new_empty((len(wanted), *tensor.shape[1:]))
                inputs[name][torch.from_numpy(places)] = tensor[rows]
        return inputs


def open_inputs(
    blocks: Sequence[SampleBlock],
    representation: Representation,
    folder: Path,
    *,
    device: torch.device | None = None,
    on_progress: OnProgress | None = None,
) -> CachedInputs:
    """Open the inputs of samples, and compute those that are not in the cache.

    Args:
        blocks: The samples.
        representation: The representation.
        folder: Folder of the cache; may be deleted when nothing runs.
        device: The device; the CPU by default.
        on_progress: Called after each batch.

    Raises:
        DiskFullError: The disk is full; finished blocks are kept.
        ValueError: A frame cannot be decoded.
    """
    device = device or torch.device("cpu")
    room = folder / f"{representation.name}-{fingerprint(representation)[:16]}"
    remove_partial(room, idle=_ABANDONED)
    paths = [room / f"block-{block.content[:32]}.safetensors" for block in blocks]
    total = sum(len(block.infos) for block in blocks)
    done = 0
    written: Future[None] | None = None
    # One block is written while the next one is computed.
    with ThreadPoolExecutor(1) as writer:
        for path, block in zip(paths, blocks, strict=True):
            if not is_whole(path, len(block.infos)):
                content = _compute_block(block, representation, device, done, total, on_progress)
                if written:
                    written.result()
                written = writer.submit(write_block, path, *content)
            done += len(block.infos)
            if on_progress:
                on_progress(done, total)
        if written:
            written.result()
    return CachedInputs([_read(path, block) for path, block in zip(paths, blocks, strict=True)])


def compute_inputs(
    samples: Sequence[Sample], representation: Representation, device: torch.device
) -> tuple[dict[str, Tensor], dict[int, str]]:
    """Compute inputs, and find unusable samples.

    Returns:
        Tensors ``(n, ...)`` of the usable samples on the CPU (empty without any), and the reasons
        of the others by index.
    """
    try:
        return _compute(samples, representation, device), {}
    except ValueError as error:
        if len(samples) == 1:
            return {}, {0: str(error)}
    kept: list[dict[str, Tensor]] = []
    reasons: dict[int, str] = {}
    for index, sample in enumerate(samples):
        try:
            kept.append(_compute([sample], representation, device))
        except ValueError as error:
            reasons[index] = str(error)
    return _concatenate(kept), reasons


def _compute(
    samples: Sequence[Sample], representation: Representation, device: torch.device
) -> dict[str, Tensor]:
    with torch.inference_mode():
        inputs = representation.compute(samples, device)
    for name, tensor in inputs.items():
        if len(tensor) != len(samples):
            raise RuntimeError(
                f"{representation.name} gave {len(tensor)} rows of {name!r} for {len(samples)}"
                " samples"
            )
        if tensor.is_floating_point():
            finite = tensor.flatten(1).isfinite().all(1)
            if not finite.all():
                bad = samples[int((~finite).nonzero()[0])].info.key
                raise ValueError(f"{bad}: {representation.name} gave NaN or infinity in {name!r}")
    return {name: tensor.cpu() for name, tensor in inputs.items()}


def _concatenate(parts: Sequence[Inputs]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in (parts[0] if parts else {})}


def _compute_block(
    block: SampleBlock,
    representation: Representation,
    device: torch.device,
    done: int,
    total: int,
    on_progress: OnProgress | None,
) -> tuple[list[dict[str, Tensor]], int, dict[str, str]]:
    """Return inputs of usable samples, the number of all, and the reasons of the others."""
    parts: list[dict[str, Tensor]] = []
    reasons: dict[str, str] = {}
    for batch in _decoded(block, representation.needs_landmarks):
        inputs, unusable = compute_inputs(batch, representation, device)
        if inputs:
            parts.append(inputs)
        reasons |= {batch[index].info.key: reason for index, reason in unusable.items()}
        done += len(batch)
        if on_progress:
            on_progress(done, total)
    return parts, len(block.infos), reasons


def _decoded(block: SampleBlock, landmarks: bool) -> Iterator[list[Sample]]:
    """Yield batches of decoded samples; the next one is decoded in the background."""
    queue: Queue[list[Sample] | BaseException | None] = Queue(maxsize=2)
    stop = threading.Event()

    def decode() -> None:
        batch: list[Sample] = []
        try:
            for sample in block.load(landmarks):
                batch.append(sample)
                if len(batch) == _AT_A_TIME:
                    queue.put(batch)
                    batch = []
                if stop.is_set():
                    return
            if batch:
                queue.put(batch)
            queue.put(None)
        except BaseException as error:
            queue.put(error)

    thread = threading.Thread(target=decode, daemon=True)
    thread.start()
    try:
        while (item := queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        while not queue.empty():
            queue.get_nowait()


def _read(path: Path, block: SampleBlock) -> _Part:
    tensors, reasons = read_block(path)
    infos = [info for info in block.infos if info.key not in reasons]
    rejections = [Rejection(key, "no_representation", text) for key, text in reasons.items()]
    return _Part(f"{path.parent.name}/{path.stem}", tensors, infos, rejections)


class Batches:
    """Read batches in advance, in the background.

    Args:
        inputs: The inputs.
        order: Indices of the samples of each batch.
        device: Device of the batches.
        ahead: Number of batches that are read in advance.
    """

    def __init__(
        self,
        inputs: CachedInputs,
        order: Sequence[NDArray[np.int64]],
        device: torch.device,
        ahead: int = 2,
    ) -> None:
        self._inputs = inputs
        self._order = order
        self._device = device
        self._ahead = ahead
        self._labels = inputs.labels

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        pinned = self._device.type == "cuda"

        def read(indices: NDArray[np.int64]) -> tuple[dict[str, Tensor], Tensor]:
            inputs = self._inputs.take(indices)
            labels = self._labels[torch.from_numpy(indices)]
            if pinned:
                inputs = {name: tensor.pin_memory() for name, tensor in inputs.items()}
            return inputs, labels

        with ThreadPoolExecutor(1) as pool:
            waiting: list[Future[tuple[dict[str, Tensor], Tensor]]] = []
            for position in range(len(self._order) + self._ahead):
                if position < len(self._order):
                    waiting.append(pool.submit(read, self._order[position]))
                if position >= self._ahead and waiting:
                    inputs, labels = waiting.pop(0).result()
                    moved = {
                        name: tensor.to(self._device, non_blocking=pinned)
                        for name, tensor in inputs.items()
                    }
                    yield moved, labels.to(self._device, non_blocking=pinned)
