"""Generator and discriminator of a training, and one step of each."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from miex.datasets.processes import Processes
from miex.generators.ganimation import losses as loss
from miex.generators.ganimation.augmentation import augment
from miex.generators.ganimation.batches import Batch
from miex.generators.ganimation.discriminator import random_discriminator
from miex.generators.ganimation.guided_network import GuidedGANimation, Motion, random_guided
from miex.generators.ganimation.network import GANimation, Rendering, random_network
from miex.generators.ganimation.reading_network import ReadingNetwork
from miex.generators.ganimation.recipe import Recipe

Losses = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Precision:
    """Device and precision of a training; they change results only by rounding.

    Attributes:
        device: The device.
        bf16: Compute matrix products in bfloat16; weights and losses are float32.
        compile: Use torch.compile for the generator.
    """

    device: torch.device
    bf16: bool = False
    compile: bool = False

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which matrix products are bfloat16."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


class Adversaries:
    """Generator, its moving average, and discriminator, with their optimisers.

    Args:
        recipe: Hyperparameters.
        image_size: Side of the images, pixels.
        seed: Seed of the initial weights.
        precision: Device and precision.
        processes: The processes that share the batches.
        reader: AU reader, if the recipe has a loss for it.
    """

    def __init__(
        self,
        recipe: Recipe,
        image_size: int,
        seed: int,
        precision: Precision,
        processes: Processes,
        reader: ReadingNetwork | None = None,
    ) -> None:
        self.recipe, self._precision, self._processes = recipe, precision, processes
        device = precision.device

        def placed(network: nn.Module) -> None:
            network.to(device).to(memory_format=torch.channels_last)

        self._reader = reader
        self.generator = _new_generator(recipe, seed)
        self.average = _new_generator(recipe, seed).requires_grad_(False).eval()
        self.critic = random_discriminator(seed, image_size, recipe.critic_width)
        for network in (self.generator, self.average, self.critic):
            placed(network)
        for name, weight in self.generator.named_parameters():
            weight.requires_grad_(recipe.train_norms or ".norm." not in name)
        trained = [p for p in self.generator.parameters() if p.requires_grad]
        fused = device.type == "cuda"
        self.generator_optimiser = torch.optim.Adam(
            trained, recipe.learning_rate, recipe.betas, fused=fused
        )
        self.critic_optimiser = torch.optim.Adam(
            self.critic.parameters(), recipe.critic_learning_rate, recipe.betas, fused=fused
        )
        self._render = torch.compile(self.generator) if precision.compile else self.generator

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The networks by name, to be saved and restored."""
        return {"generator": self.generator, "average": self.average, "critic": self.critic}

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers by name, to be saved and restored."""
        return {
            "generator_optimiser": self.generator_optimiser,
            "critic_optimiser": self.critic_optimiser,
        }

    def begin_with(self, network: nn.Module) -> None:
        """Start from the weights of a trained network, also for the average.

        Raises:
            ValueError: Its design or width differs from the recipe.
        """
        weights = network.state_dict()
        shapes = {key: value.shape for key, value in weights.items()}
        expected = {key: value.shape for key, value in self.generator.state_dict().items()}
        if shapes != expected:
            raise ValueError(
                f"the weights to begin with are a {type(network).__name__} of another width or"
                f" design than the recipe's, {self.recipe.design} of width {self.recipe.width};"
                " set width and design to theirs"
            )
        self.generator.load_state_dict(weights)
        self.average.load_state_dict(weights)

    @torch.no_grad()
    def start_shading(self, shading: NDArray[np.float32]) -> None:
        """Start from the shading that a regression found; only for guided networks.

        Args:
            shading: ``(17, CHART_SIDE, CHART_SIDE)`` of `appearance.shading_of_aus`.
        """
        for network in (self.generator, self.average):
            assert isinstance(network, GuidedGANimation)
            network.maps[:, 0] = torch.from_numpy(shading).to(network.maps.device)

    def step(self, batch: Batch, step: int, rate: float) -> Losses:
        """Train on a batch: the discriminator always, the generator every `critic_steps`.

        Args:
            batch: The batch.
            step: Number of the step, from 0.
            rate: Factor of the learning rates.

        Returns:
            Each loss without its weight, and the weighted sums `critic_total`, `generator_total`.
        """
        turn = self.recipe.generator_moves(step)
        with self._precision.autocast(), torch.set_grad_enabled(turn):
            rendering = Rendering(*self._render(_seen(batch), batch.condition))
        found = self._critic_losses(batch, rendering.image.detach().float(), step)
        weights = self.recipe.weights
        r1_weight = weights.r1 * self.recipe.r1_every
        factors = {"gradient_penalty": weights.gradient_penalty, "r1": r1_weight}
        factors |= {"critic": 1.0, "critic_aus": weights.aus, "au_pairs": weights.au_pairs}
        found["critic_total"] = _weighted(found, factors)
        self._update(self.critic, self.critic_optimiser, found["critic_total"], rate)
        if turn:
            self.critic.requires_grad_(False)
            judged = self._generator_losses(batch, rendering)
            judged["generator_total"] = _weighted(judged, weights.model_dump())
            self._update(self.generator, self.generator_optimiser, judged["generator_total"], rate)
            self.critic.requires_grad_(True)
            self._follow(step // self.recipe.critic_steps + 1)
            found |= judged
        return {name: value.detach() for name, value in found.items()}

    def _critic_losses(self, batch: Batch, fake: Tensor, step: int) -> Losses:
        weights, count = self.recipe.weights, len(fake)
        taught = batch.taught if weights.au_pairs else batch.taught[:0]
        images = torch.cat([batch.image, fake, taught])
        same = torch.cat([batch.augmentation] * 2 + [batch.augmentation[: len(taught)]])
        seen = self._augment(images, same)
        with self._precision.autocast():
            realness, aus = self.critic(seen)
        adversarial = (
            loss.hinge_critic if self.recipe.critic == "hinge" else loss.wasserstein_critic
        )
        found = {
            "critic": adversarial(realness[:count], realness[count : 2 * count]),
            "critic_aus": loss.au_error(aus[:count], batch.aus, batch.labelled),
        }
        if len(taught):
            change = aus[2 * count :].float() - aus[: len(taught)].float()
            wanted = batch.condition[: len(taught)]
            found["au_pairs"] = loss.au_error(change, wanted, torch.ones_like(wanted).bool())
        real = seen[:count]
        if weights.gradient_penalty:
            found["gradient_penalty"] = loss.gradient_penalty(
                self._score, real, seen[count : 2 * count], batch.share
            )
        if weights.r1 and step % self.recipe.r1_every == 0:
            found["r1"] = loss.r1_penalty(self._score, real)
        return found

    def _generator_losses(self, batch: Batch, rendering: Rendering) -> Losses:
        recipe, weights, count = self.recipe, self.recipe.weights, len(batch.image)
        fake = rendering.image.float()
        with self._precision.autocast():
            realness, aus = self.critic(self._augment(fake, batch.augmentation))
            if recipe.condition == "change":
                with torch.no_grad():
                    aus = aus - self.critic(self._augment(batch.image, batch.augmentation)).aus
        micro, still = recipe.rows("micro", count), recipe.rows("still", count)
        found = {
            "adversary": loss.deceive(realness),
            "aus": loss.au_error(aus, batch.condition, batch.counted),
        }
        attention = rendering.attention.float()
        if cycled := recipe.rows("cycle", count):
            with self._precision.autocast():
                there = fake[-cycled:].contiguous(memory_format=torch.channels_last)
                back = Rendering(*self._render(there, batch.back[-cycled:]))
            unasked = slice(micro, micro + still)
            found["cycle"] = loss.absolute_error(
                torch.cat([back.image.float(), fake[unasked]]),
                torch.cat([batch.image[-cycled:], batch.image[unasked]]),
            )
            both = torch.cat([attention, back.attention.float()])
        else:
            both = attention
        if weights.attention_mean:
            found["attention_mean"] = loss.attention_mean(both)
        if weights.attention_variation:
            found["attention_variation"] = loss.total_variation(both)
        if weights.attention_leak:
            face = torch.cat([batch.face, batch.face[count - (len(both) - count) :]])
            found["attention_leak"] = loss.attention_leak(both, face)
        if weights.attention_saturation:
            asked = torch.cat([attention[:micro], attention[micro + still :]])
            face = torch.cat([batch.face[:micro], batch.face[micro + still :]])
            found["attention_saturation"] = loss.attention_saturation(
                asked, face, recipe.attention_ceiling
            )
        if weights.teacher:
            found["teacher"] = loss.teaching(fake[: len(batch.taught)], batch.taught)
        if weights.reading and self._reader is not None:
            found["reading"] = self._reading(self._reader, batch, fake)
        if batch.motion is not None and weights.painting:
            found["painting"] = loss.painting(fake, batch.motion.warped)
        if len(batch.answers) and weights.answers:
            first = count - len(batch.answers)
            found["answers"] = loss.answering(fake[first:], batch.answers, batch.face[first:])
        return found

    def _reading(self, reader: ReadingNetwork, batch: Batch, fake: Tensor) -> Tensor:
        """Return the error of the change that the AU reader measures."""
        with self._precision.autocast():
            found = reader(self._augment(fake, batch.augmentation))
            with torch.no_grad():
                before = reader(self._augment(batch.image, batch.augmentation))
        return loss.au_error(found.float() - before.float(), batch.condition, batch.counted)

    def _score(self, images: Tensor) -> Tensor:
        """Return realness in float32, since a penalty differentiates twice."""
        realness: Tensor = self.critic(images).realness
        return realness

    def _augment(self, images: Tensor, parameters: Tensor) -> Tensor:
        return augment(images, parameters) if self.recipe.augment else images

    def _update(
        self, network: nn.Module, optimiser: torch.optim.Optimizer, total: Tensor, rate: float
    ) -> None:
        base = self.recipe.learning_rate
        if optimiser is self.critic_optimiser:
            base = self.recipe.critic_learning_rate
        for group in optimiser.param_groups:
            group["lr"] = base * rate
        optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self._processes.share_gradients(network.parameters())
        optimiser.step()

    @torch.no_grad()
    def _follow(self, updates: int) -> None:
        """Move the average towards the generator.

        As in Adam, the average is divided by ``1 - decay ** updates``, so that the average of k
        updates does not contain the random initial weights.
        """
        decay = self.recipe.average
        share = (1 - decay) / (1 - decay**updates)
        # With a decay of 0 the average is the generator, to the bit.
        for kept, weight in zip(
            self.average.parameters(), self.generator.parameters(), strict=True
        ):
            kept.lerp_(weight, share)


def _new_generator(recipe: Recipe, seed: int) -> GANimation | GuidedGANimation:
    """Return an untrained network of the recipe's design."""
    if recipe.design == "guided":
        return random_guided(seed, recipe.width)
    return random_network(seed, recipe.width)


def _seen(batch: Batch) -> Tensor | Motion:
    """Return the input of the generator beside the condition."""
    return batch.image if batch.motion is None else batch.motion


def _weighted(found: Losses, weights: dict[str, float]) -> Tensor:
    terms = [weights[name] * value for name, value in found.items()]
    return torch.stack(terms).sum()
