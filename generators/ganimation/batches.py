"""Batches of a training: photographs, requested AUs and targets.

The randomness of a step derives only from the seed, the step and the process. A resumed training
therefore continues as if it had not stopped, without a saved state of random generators.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miex.au_sources.action_units import MAX_INTENSITY
from miex.generators.ganimation.augmentation import draw_augmentations
from miex.generators.ganimation.guided_network import Motion
from miex.generators.ganimation.network import to_network_range
from miex.generators.ganimation.real_pairs import RealPairs
from miex.generators.ganimation.recipe import Recipe
from miex.generators.ganimation.targets import draw_targets
from miex.generators.ganimation.teacher import Teacher, face_area
from miex.generators.ganimation.training_set import TrainingFaces

_ORDER, _STEP = 0, 1
"""First seed numbers of the two kinds of random streams."""


@dataclass(frozen=True, slots=True)
class Batch:
    """N photographs on the device, mirrored or not, with the other data of a step.

    Attributes:
        image: ``(N, 3, S, S)`` RGB, -1 to 1, `channels_last`.
        face: ``(N, 1, S, S)``, 1 in the face and 0 outside.
        aus: ``(N, 17)``, AUs of the photographs, intensity / 5, NaN where not measured.
        labelled: bool ``(N, 17)``, True for measured and trusted AUs.
        condition: ``(N, 17)``, condition of the generator.
        back: ``(N, 17)``, condition that leads back to the photograph.
        counted: bool ``(N, 17)``, AUs of the rendered face that the losses use.
        taught: ``(M, 3, S, S)``, targets of the first M rows; M may be 0.
        augmentation: ``(N, 7)``, augmentation of the discriminators' input.
        share: ``(N, 1, 1, 1)``, 0 to 1, position of the gradient penalty between real and fake.
        motion: The faces moved by `warp`, for the guided design; else None.
        answers: ``(P, 3, S, S)``, real expressive faces, targets of the last P rows; P may be 0.
    """

    image: Tensor
    face: Tensor
    aus: Tensor
    labelled: Tensor
    condition: Tensor
    back: Tensor
    counted: Tensor
    taught: Tensor
    augmentation: Tensor
    share: Tensor
    motion: Motion | None
    answers: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class PairedFaces:
    """Frames of people in motion, in addition to the photographs.

    Attributes:
        faces: The frames.
        pairs: Their pairs.
        teacher: `warp` for them.
    """

    faces: TrainingFaces
    pairs: RealPairs
    teacher: Teacher


class Batches:
    """Batches of a training, one per step; all photographs are on the device.

    Args:
        faces: Training photographs.
        trusted: bool ``(17,)``, AUs whose labels the losses may use.
        recipe: Shares and ranges.
        seed: Seed of all random numbers.
        device: Device of the batches.
        teacher: Targets of micro rows, if the recipe has losses for them.
        process: Number of this process and number of processes, which share every batch.
        paired: Real pairs, `Recipe.paired_share` of each batch.

    Raises:
        ValueError: The number of processes does not divide the batch, or there are no faces.
    """

    def __init__(
        self,
        faces: TrainingFaces,
        trusted: NDArray[np.bool_],
        recipe: Recipe,
        seed: int,
        device: torch.device,
        teacher: Teacher | None = None,
        process: tuple[int, int] = (0, 1),
        paired: PairedFaces | None = None,
    ) -> None:
        rank, processes = process
        if recipe.batch % processes:
            raise ValueError(
                f"a batch of {recipe.batch} for {processes} processes; choose a multiple of"
                f" {processes}"
            )
        if not len(faces):
            raise ValueError("no photograph to train on; the split `train` is empty")
        self._size, self._rank, self._processes = recipe.batch // processes, rank, processes
        self._recipe, self._seed, self._device = recipe, seed, device
        self._aus, self._trusted, self._teacher = faces.aus, trusted, teacher
        self._images = torch.from_numpy(faces.images).to(device)
        areas = face_area(faces.landmarks, faces.images.shape[1])
        self._areas = torch.from_numpy(areas).to(device)
        self._paired = paired
        if paired is not None:
            areas = face_area(paired.faces.landmarks, paired.faces.images.shape[1])
            self._paired_areas = torch.from_numpy(areas).to(device)
            self._paired_images = torch.from_numpy(paired.faces.images).to(device)

    def at(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        rng = np.random.default_rng([self._seed, _STEP, step, self._rank])
        rows = self._rows(step)
        own, recipe = self._aus[rows], self._recipe
        others = self._aus[rng.integers(len(self._aus), size=len(rows))]
        targets = draw_targets(recipe, own, others, self._trusted, rng)
        flipped = self._put(rng.random((len(rows), 1, 1, 1)) < 0.5)
        augmentation = draw_augmentations(len(rows), recipe.augment, rng)
        share = rng.random((len(rows), 1, 1, 1), np.float32)
        index, condition = self._put(rows), self._put(targets.condition)
        image = to_network_range(self._images[index].permute(0, 3, 1, 2))
        taught, motion = image[:0], None
        if self._teacher is not None and recipe.design == "guided":
            motion = self._teacher.move(index, condition)
        elif self._teacher is not None:
            taught_rows = recipe.rows("micro", len(rows))
            taught = self._teacher.render(index[:taught_rows], condition[:taught_rows])
        batch = Batch(
            image=image,
            face=self._areas[index, None].float(),
            aus=self._put(own / np.float32(MAX_INTENSITY)),
            labelled=self._put(np.isfinite(own) & self._trusted),
            condition=condition,
            back=self._put(targets.back),
            counted=self._put(targets.counted),
            taught=taught,
            augmentation=self._put(augmentation),
            share=self._put(share),
            motion=motion,
            answers=image[:0],
        )
        return _mirrored(self._with_pairs(batch, rng), flipped)

    def _with_pairs(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Return the batch with its last rows replaced by real pairs."""
        paired, count = self._paired, self._recipe.rows("paired", len(batch.image))
        if paired is None or not count or batch.motion is None:
            return batch
        chosen = rng.integers(len(paired.pairs), size=count)
        rows = paired.pairs.quiet[chosen]
        index, change = self._put(rows), self._put(paired.pairs.change[chosen])
        own = paired.faces.aus[rows]
        known = self._put(np.isfinite(own) & self._trusted)
        moved = paired.teacher.move(index, change)

        def last(values: Tensor, by: Tensor) -> Tensor:
            return torch.cat([values[:-count], by])

        image = to_network_range(self._paired_images[index].permute(0, 3, 1, 2))
        return replace(
            batch,
            image=last(batch.image, image),
            face=last(batch.face, self._paired_areas[index, None].float()),
            aus=last(batch.aus, self._put(own / np.float32(MAX_INTENSITY))),
            labelled=last(batch.labelled, known),
            condition=last(batch.condition, change),
            back=last(batch.back, -change),
            counted=last(batch.counted, known),
            motion=Motion(*map(last, batch.motion, moved)),
            answers=paired.pairs.answer(chosen).to(self._device),
        )

    def _rows(self, step: int) -> NDArray[np.int64]:
        """Return the part of this process in the batch; the order differs in each epoch."""
        count, whole = len(self._aus), self._size * self._processes
        if self._recipe.replacement:
            rng = np.random.default_rng([self._seed, _ORDER, step, self._rank])
            return rng.integers(count, size=self._size)
        first = step * whole + self._rank * self._size
        places = np.arange(first, first + self._size)
        rows = np.empty(self._size, np.int64)
        for epoch in np.unique(places // count):
            here = places // count == epoch
            order = np.random.default_rng([self._seed, _ORDER, epoch]).permutation(count)
            rows[here] = order[places[here] % count]
        return rows

    def _put(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self._device, non_blocking=True)


def _mirrored(batch: Batch, flipped: Tensor) -> Batch:
    """Mirror the chosen rows; the 17 AUs do not distinguish left and right."""

    def mirror(images: Tensor, where: Tensor) -> Tensor:
        return torch.where(where, images.flip(3), images)

    motion = batch.motion
    if motion is not None:
        # Left and right are exchanged on the chart as well.
        other = motion.chart.flip(2) * motion.chart.new_tensor([-1.0, 1.0])
        motion = Motion(
            mirror(motion.warped, flipped),
            torch.where(flipped, other, motion.chart),
            mirror(motion.window, flipped),
        )
    return replace(
        batch,
        image=mirror(batch.image, flipped).contiguous(memory_format=torch.channels_last),
        face=mirror(batch.face, flipped),
        taught=mirror(batch.taught, flipped[: len(batch.taught)]),
        motion=motion,
        answers=mirror(batch.answers, flipped[len(flipped) - len(batch.answers) :]),
    )
