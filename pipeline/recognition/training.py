"""Training of recognizers: pretraining and fine-tuning use the same loop.

The randomness of a step derives from (seed, step) and not from a state: a killed training resumes
with the losses that it would have had.
"""

import hashlib
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from miex.datasets.device import exact_kernels, seed_device
from miex.datasets.files import remove_partial
from miex.datasets.interrupts import deferred_interrupt
from miex.datasets.processes import Processes
from miex.pipeline.recognition import optimization
from miex.pipeline.recognition.batch_statistics import recompute_batch_statistics
from miex.pipeline.recognition.cache import Batches, CachedInputs
from miex.pipeline.recognition.checkpoint import (
    CHECKPOINT,
    Card,
    Progress,
    Stage,
    lineage_of,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from miex.pipeline.recognition.dead_networks import dead_warning, untrained_warning
from miex.pipeline.recognition.order import batches_of, draw_weights
from miex.pipeline.recognition.recognizers.base import (
    IS_CLIP,
    AnyRecognizer,
    FittedRecognizer,
    Hyperparameters,
    Recognizer,
)
from miex.pipeline.recognition.representations.base import Inputs
from miex.pipeline.recognition.run_config import RunConfig, computed_by, computes_bf16
from miex.pipeline.recognition.training_log import TrainingLog

OnStep = Callable[[int, int, dict[str, float]], None]
"""Called with (finished steps, all steps, terms of the loss)."""

OnWarning = Callable[[str], None]
"""Called with a sentence about a problem of the training."""

UNFINISHED = "unfinished.safetensors"
"""State from which a killed training resumes; deleted at the end."""


@dataclass(frozen=True, slots=True)
class Data:
    """Training data.

    Attributes:
        inputs: Cached representations.
        indices: Indices of the training samples.
        name: Description of the data.
        synthetic_share: Share of synthetic samples in the draws, if clips and synthetic samples are
            mixed; else None.
        epoch_samples: Number of draws per epoch; the number of samples by default.
    """

    inputs: CachedInputs
    indices: Sequence[int]
    name: str
    synthetic_share: float | None = None
    epoch_samples: int | None = None

    def tested_like(self) -> Sequence[int]:
        """Return the indices of samples like those of a test: only clips, if there are any."""
        mixed, infos = self.synthetic_share is not None, self.inputs.infos
        return [index for index in self.indices if not mixed or infos[index].au_source is None]


def train(
    recognizer: AnyRecognizer,
    data: Data,
    card: Card,
    stage: Literal["pretrain", "finetune"],
    run: RunConfig,
    *,
    hyper: Hyperparameters | None = None,
    folder: Path | None = None,
    on_step: OnStep | None = None,
    on_epoch: Callable[[int], None] | None = None,
    on_warning: OnWarning | None = None,
) -> Card:
    """Train a recognizer in place.

    Args:
        recognizer: Recognizer with the initial parameters.
        data: Training data, without test subjects.
        card: Facts about the recognizer before this training.
        stage: Name of the stage.
        run: Execution of the training.
        hyper: Hyperparameters; those of the recognizer by default.
        folder: Folder of checkpoint and log, from which a training resumes; without it nothing is
            written.
        on_step: Called after each step.
        on_epoch: Called after each epoch with its number, from 1, for choosing an epoch by other
            clips; the recognizer is in eval mode with recomputed batch normalisation.
        on_warning: Called with a sentence about a problem, as a network with constant output, which
            is also written into `metrics.jsonl`.

    Returns:
        The card with this training.

    Raises:
        ValueError: There is no sample, the loss is NaN or infinite, or the folder holds another
            training.
        DiskFullError: The disk is full; the last written state is kept.
    """
    hyper = hyper or recognizer.config.training
    infos = [data.inputs.infos[index] for index in data.indices]
    sources = Counter(info.au_source or "real" for info in infos)
    weights = draw_weights(infos, run.balance, data.synthetic_share)
    made = Stage(
        stage,
        data.name,
        len(infos),
        dict(sources),
        lineage_of(infos),
        hyper.model_dump(mode="json"),
        run.seed,
        content=_content(data, weights),
        computed=computed_by(run),
    )
    if folder and (folder / CHECKPOINT).is_file():
        return _take_finished(recognizer, folder / CHECKPOINT, card, made)
    if isinstance(recognizer, FittedRecognizer):
        inputs = data.inputs.take(list(data.indices))
        recognizer.fit(
            inputs,
            torch.tensor([info.label for info in infos]),
            run.seed,
            None if weights is None else weights * len(infos),
        )
        card = replace(card, stages=(*card.stages, replace(made, steps=1)))
    else:
        begun = replace(card, stages=(*card.stages, made))
        loop = _Loop(recognizer, data, begun, run, hyper, folder, on_warning)
        card = loop.run_all(on_step, on_epoch)
    if folder and int(os.environ.get("RANK", "0")) == 0:
        save_checkpoint(folder / CHECKPOINT, recognizer, card)
        (folder / UNFINISHED).unlink(missing_ok=True)
    return card


def _content(data: Data, weights: NDArray[np.float64] | None) -> str:
    """Return a hash of the inputs, their labels and their weights."""
    places = np.asarray(data.indices, np.int64)
    labels = data.inputs.labels.numpy()[places]
    drawn = b"" if weights is None else weights.tobytes()
    parts = (data.inputs.content.encode(), places.tobytes(), labels.tobytes(), drawn)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _take_finished(recognizer: AnyRecognizer, path: Path, card: Card, made: Stage) -> Card:
    """Restore the state of an interrupted training."""
    found = load_checkpoint(path)
    steps = found.card.stages[-1].steps if found.card.stages else 0
    if found.card != replace(card, stages=(*card.stages, replace(made, steps=steps))):
        raise ValueError(
            f"{path.parent} holds a recognizer of another training; give another folder, or delete"
            f" {path.name} to begin anew"
        )
    if isinstance(recognizer, FittedRecognizer):
        recognizer.load_state({name: each.numpy() for name, each in found.tensors.items()})
    else:
        recognizer.load_state_dict(dict(found.tensors))
        recognizer.eval()
    return found.card


class _Loop:
    """State of a training, with everything that a step changes."""

    def __init__(
        self,
        recognizer: Recognizer,
        data: Data,
        card: Card,
        run: RunConfig,
        hyper: Hyperparameters,
        folder: Path | None,
        on_warning: OnWarning | None = None,
    ) -> None:
        self.processes = Processes.start(run.device)
        self.device = self.processes.device
        self.bf16 = computes_bf16(run.precision, self.device)
        if hyper.batch_size < 2 * self.processes.count:
            raise ValueError(
                f"batches of {hyper.batch_size} cannot be shared out to {self.processes.count}"
                " processes, two samples to each; raise the batch size or start fewer"
            )
        self.recognizer, self.data, self.card = recognizer, data, card
        self.run, self.hyper = run, hyper
        optimization.place(recognizer, self.device, self.bf16)
        self.optimizer = optimization.create_optimizer(recognizer, hyper)
        infos = [data.inputs.infos[index] for index in data.indices]
        self.weights = draw_weights(infos, run.balance, data.synthetic_share)
        self.epoch_steps = len(self._epoch(0))
        self.steps = hyper.steps(self.epoch_steps)
        self.epochs = -(-self.steps // self.epoch_steps)
        self.step = 0
        self.torn, self.dead_since = False, 0
        self.on_warning = on_warning
        self.written = time.monotonic()
        self.folder = folder
        if folder and self.processes.rank == 0:
            remove_partial(folder)
        if folder and (folder / UNFINISHED).is_file():
            self._go_on(folder / UNFINISHED)
        self.log = (
            TrainingLog(folder, self.step, run.log, hyper.model_dump(mode="json"))
            if folder and self.processes.rank == 0
            else None
        )

    def run_all(self, on_step: OnStep | None, on_epoch: Callable[[int], None] | None) -> Card:
        """Run all remaining steps."""
        try:
            with exact_kernels(self.device), deferred_interrupt() as self.interrupted:
                for epoch in range(self.step // self.epoch_steps, self.epochs):
                    loss = self._run_epoch(epoch, on_step)
                    self._warn_if_dead(epoch, loss)
                    if on_epoch:
                        self._prepare_for_test()
                        on_epoch(epoch + 1)
                self._prepare_for_test()
                if not self.dead_since:
                    self._warn(untrained_warning(*self._training_samples()))
        except KeyboardInterrupt:
            # In the middle of a step the state is inconsistent.
            if not self.torn:
                self._write()
            raise
        finally:
            if self.log:
                self.log.close()
        stage = replace(self.card.stages[-1], steps=self.step)
        return replace(self.card, stages=(*self.card.stages[:-1], stage))

    def _prepare_for_test(self) -> None:
        """Recompute statistics of batch normalisation, and switch to eval mode."""
        recompute_batch_statistics(
            self.recognizer,
            self.data.inputs,
            self.data.tested_like(),
            batch_size=min(64, self.hyper.batch_size),
            seed=self.run.seed,
            device=self.device,
        )
        self.processes.share_buffers(self.recognizer.buffers())

    def _warn_if_dead(self, epoch: int, loss: float) -> None:
        """Warn of a network with the same output for all samples."""
        if not self.dead_since and self._warn(
            dead_warning(*self._training_samples(), epoch + 1, loss)
        ):
            self.dead_since = epoch + 1

    def _training_samples(self) -> tuple[Recognizer, CachedInputs, Sequence[int], torch.device]:
        return self.recognizer, self.data.inputs, self.data.indices, self.device

    def _warn(self, message: str | None) -> bool:
        if message and self.log:
            self.log.warn(self.step, -(-self.step // self.epoch_steps), message)
        if message and self.on_warning:
            self.on_warning(message)
        return bool(message)

    def _run_epoch(self, epoch: int, on_step: OnStep | None) -> float:
        """Run the remaining steps of an epoch; return the mean of their losses."""
        self.recognizer.train()
        losses = []
        for inputs, labels, keys in self._batches(epoch):
            terms = self._make_step(inputs, labels, keys)
            losses.append(terms["loss"])
            if self.log:
                self.log.step(self.step, epoch + 1, self._rate(self.step - 1), terms)
            if on_step:
                on_step(self.step, self.steps, terms)
            if self.interrupted():
                raise KeyboardInterrupt
            if time.monotonic() - self.written > self.run.checkpoint_seconds:
                self._write()
                self.written = time.monotonic()
        return sum(losses) / max(1, len(losses))

    def _make_step(
        self, inputs: dict[str, Tensor], labels: Tensor, keys: list[str]
    ) -> dict[str, float]:
        self.torn = True
        rank = self.processes.rank
        generator = Generator().manual_seed(_seed(self.run.seed, self.step, 2 * rank))
        seed_device(_seed(self.run.seed, self.step, 2 * rank + 1), self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.step)
        with torch.no_grad():
            augmented = dict(self.recognizer.augment(inputs, generator))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            terms = self._loss(augmented, labels)
        values = {name: float(term.detach()) for name, term in terms.items()}
        self._require_finite(values, keys)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(terms["loss"])
        self.processes.share_gradients(self.recognizer.parameters())
        optimization.clip_gradients(self.recognizer, self.hyper)
        self.optimizer.step()
        self.processes.share_buffers(self.recognizer.buffers())
        self.step += 1
        self.torn = False
        return values

    def _loss(self, inputs: Inputs, labels: Tensor) -> dict[str, Tensor]:
        try:
            return self.recognizer.loss(inputs, labels)
        except ValueError as error:
            if len(labels) > 1:
                raise
            raise ValueError(
                f"{self.recognizer.name} cannot be trained on a batch of one sample"
                f" ({str(error).splitlines()[0]}); raise the batch size, or give more samples"
            ) from None

    def _require_finite(self, values: dict[str, float], keys: list[str]) -> None:
        if not math.isfinite(values["loss"]):
            shown = ", ".join(keys[:4]) + (", ..." if len(keys) > 4 else "")
            raise ValueError(
                f"{self.recognizer.name}: the loss is {values['loss']} at step {self.step + 1}"
                f" ({shown}); lower the learning rate, clip the gradient, or use precision=fp32"
            )

    def _rate(self, step: int) -> float:
        return optimization.learning_rate(self.hyper, step, self.epoch_steps)

    def _epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        return batches_of(
            len(self.data.indices),
            self.hyper.batch_size,
            self.run.seed,
            epoch,
            self.weights,
            self.processes.count,
            draws=self.data.epoch_samples,
        )

    def _batches(self, epoch: int) -> Iterator[tuple[dict[str, Tensor], Tensor, list[str]]]:
        places = np.asarray(self.data.indices, np.int64)
        first = self.step % self.epoch_steps
        last = first + self.steps - self.step
        order = [places[batch] for batch in self._epoch(epoch)[first:last]]
        shares = [_share(batch, self.processes.count, self.processes.rank) for batch in order]
        ready = Batches(self.data.inputs, shares, self.device)
        for share, (inputs, labels) in zip(shares, ready, strict=True):
            infos = [self.data.inputs.infos[index] for index in share]
            marks = {IS_CLIP: torch.tensor([each.au_source is None for each in infos])}
            inputs |= marks if self.recognizer.marks_clips else {}
            yield inputs, labels, [each.key for each in infos]

    def _write(self) -> None:
        if self.folder and self.processes.rank == 0:
            progress = Progress(self.step, optimizer_tensors(self.optimizer))
            save_checkpoint(self.folder / UNFINISHED, self.recognizer, self.card, progress)

    def _go_on(self, path: Path) -> None:
        found = load_checkpoint(path)
        if found.card != self.card or found.progress is None:
            raise ValueError(
                f"{path.parent} holds an unfinished training with other data or parameters; give"
                f" another folder, or delete {path.name} to begin anew"
            )
        self.recognizer.load_state_dict(dict(found.tensors))
        self.step = found.progress.step
        restore_optimizer(self.optimizer, found.progress.optimizer)


def _seed(seed: int, step: int, stream: int) -> int:
    return int(np.random.SeedSequence([seed, step, stream]).generate_state(1, np.uint64)[0] >> 1)


def _share(batch: NDArray[np.int64], processes: int, mine: int) -> NDArray[np.int64]:
    """Return a process's share of a batch; a few samples are shown twice to make shares equal."""
    even = -(-len(batch) // processes) * processes
    return np.resize(batch, even)[mine::processes]
