"""The generator `ganimation`: GANimation's network with the interface of generators."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miex.au_sources.action_units import AU_COUNT, MAX_INTENSITY, AUArray, to_condition
from miex.datasets.base import Face
from miex.datasets.device import choose_device, exact_kernels
from miex.datasets.registry import Facts
from miex.generators._auto import embedded_weights
from miex.generators.base import Condition, GeneratorConfig, register_generator
from miex.generators.ganimation.checkpoint import (
    WHERE_FROM,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from miex.generators.ganimation.computing import (
    choose_dtype,
    render_batches,
    threads_that_compute_alone,
)
from miex.generators.ganimation.guided_generator import GuidedGenerator
from miex.generators.ganimation.guided_network import GuidedGANimation
from miex.generators.ganimation.network import (
    MIN_SIZE,
    SIZE_STEP,
    FastGANimation,
    GANimation,
    random_network,
    to_network_range,
    to_pixels,
)
from miex.generators.warp import check_intensities


@dataclass(frozen=True, slots=True)
class PreparedFace:
    """Face on the device: 4.2 MB in float32 and 2.3 MB in bfloat16 at 128 x 128.

    Attributes:
        image: ``(1, 3, S, S)``, -1 to 1, float32.
        features: ``(1, 64, S, S)``, the image part of the first convolution.
    """

    image: Tensor
    features: Tensor


class GANimationGenerator:
    """Generator with a checkpoint of GANimation.

    A frame must not depend on the other frames of a call (see `FaceGenerator`), but PyTorch chooses
    kernels by the shape of a batch and the number of threads. On a CPU each frame is therefore
    rendered alone by one thread, several frames in parallel, which is also the fastest way;
    `batch_size` has no effect there. On other devices every batch has `batch_size` frames, and the
    last one is filled up with repeats.

    Args:
        checkpoint: The weights.
        config: Device and precision; `name` and `checkpoint` are ignored.

    Raises:
        ValueError: There is no such device, or torch.compile does not work on this machine.
    """

    name = "ganimation"
    max_intensity = MAX_INTENSITY

    def __init__(self, checkpoint: Checkpoint, config: GeneratorConfig) -> None:
        self.sha256 = checkpoint.sha256
        # Both public codes use absolute AUs; checkpoints of miex state the condition in their card.
        self.condition: Condition = (
            "change" if checkpoint.card.get("condition") == "change" else "absolute"
        )
        self.device = choose_device(config.device)
        self._batch_size = config.batch_size
        self.dtype = choose_dtype(config.precision, self.device)
        if not isinstance(checkpoint.network, GANimation):
            raise ValueError(
                "these weights are of the guided design; `GuidedGenerator` renders with them"
            )
        self._network = FastGANimation(checkpoint.network, self.dtype, self.device)
        self._frames = self._network.forward
        self._threads = None
        if self.device.type == "cpu":
            self._threads = threads_that_compute_alone(torch.get_num_threads())
        if config.compile:
            self._compile(checkpoint.image_size)

    def prepare(self, face: Face) -> PreparedFace:
        """Normalise the crop and convolve it with the image part of the first layer.

        Raises:
            ValueError: The crop is not square, or its side is no multiple of 4 or below 8.
        """
        height, width = face.crop.shape[:2]
        if height != width or height % SIZE_STEP or height < MIN_SIZE:
            raise ValueError(
                f"{face.origin}: crop of {width} x {height} pixels; ganimation needs a square"
                f" whose side is a multiple of {SIZE_STEP}, at least {MIN_SIZE}"
            )
        pixels = torch.from_numpy(np.ascontiguousarray(face.crop)).to(self.device)
        return self._alone(pixels)

    def render(self, states: Sequence[PreparedFace], aus: AUArray) -> NDArray[np.uint8]:
        """Render one frame for each pair; equal pairs are rendered once.

        Args:
            states: N prepared faces of one size S.
            aus: ``(N, 17)``, finite: FACS intensities 0 to 5, or their change, -5 to 5, as
                `condition` says.

        Returns:
            ``uint8 (N, S, S, 3)`` RGB.

        Raises:
            ValueError: The numbers of AU vectors and faces differ, faces differ in size, or AUs are
                out of range.
        """
        if self.condition == "change":
            conditions = check_intensities(aus, len(states)) / np.float32(MAX_INTENSITY)
        else:
            conditions = to_condition(aus)
        if conditions.ndim != 2 or len(conditions) != len(states):
            raise ValueError(
                f"AUs of shape {conditions.shape} for {len(states)} faces; expected"
                f" ({len(states)}, 17), one row for each face"
            )
        sides = sorted({state.image.shape[-1] for state in states})
        if len(sides) > 1:
            raise ValueError(f"faces of {sides} pixels in one call; expected all of one size")
        if not states:
            return np.empty((0, 0, 0, 3), np.uint8)
        distinct: dict[tuple[int, bytes], int] = {}
        which = [
            distinct.setdefault((id(state), row.tobytes()), len(distinct))
            for state, row in zip(states, conditions, strict=True)
        ]
        first = np.unique(which, return_index=True)[1]
        frames = self._render([states[i] for i in first], torch.from_numpy(conditions[first]))
        return frames[which]

    def _render(self, states: list[PreparedFace], conditions: Tensor) -> NDArray[np.uint8]:
        return np.concatenate(
            render_batches(self._render_batch, states, conditions, self._batch_size, self._threads)
        )

    @torch.inference_mode()
    def _render_batch(self, states: list[PreparedFace], conditions: Tensor) -> NDArray[np.uint8]:
        image = torch.cat([state.image for state in states])
        features = torch.cat([state.features for state in states])
        with exact_kernels(self.device):
            rendered = self._frames(image, features, conditions.to(self.device))
        return to_pixels(rendered).permute(0, 2, 3, 1).cpu().numpy()

    def _alone(self, pixels: Tensor) -> PreparedFace:
        if self._threads is None:
            return self._prepare(pixels)
        return self._threads.submit(self._prepare, pixels).result()

    @torch.inference_mode()
    def _prepare(self, pixels: Tensor) -> PreparedFace:
        image = to_network_range(pixels).permute(2, 0, 1)[None]
        with exact_kernels(self.device):
            return PreparedFace(image, self._network.features(image))

    def _compile(self, side: int) -> None:
        """Compile the network and render a frame, so that errors of torch.compile occur here."""
        self._frames = torch.compile(self._network, dynamic=False)
        try:
            black = self._alone(torch.zeros(side, side, 3, dtype=torch.uint8, device=self.device))
            self._render([black], torch.zeros(1, AU_COUNT))
        except RuntimeError as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"torch.compile does not work here ({reason}); it needs a C++ compiler on a CPU,"
                " Triton on a GPU. Set `compile` to false: the frames are nearly as fast"
            ) from None


def _write_random_weights(folder: Path) -> Path:
    """Write a checkpoint of random weights, for tests and for measurements of speed.

    Args:
        folder: Folder of the file.

    Returns:
        The file.
    """
    path = folder / "random.safetensors"
    save_checkpoint(random_network(0), path)
    return path


FACTS = Facts(
    about="network of this project after Pumarola et al. (ECCV 2018), trained, guided by `warp`; "
    "`--checkpoint FILE` reads both public formats and ours, without unpickling",
    title="GANimation weights",
    written="ganimation",
    found_by=(
        "net_epoch_*_id_G.pth",
        "*_net_gen.pth",
        "*ganimation*.pth",
        "*ganimation*.pt",
        "*ganimation*.safetensors",
    ),
    toy=_write_random_weights,
)


@register_generator("ganimation", FACTS)
def create_ganimation(config: GeneratorConfig) -> GANimationGenerator | GuidedGenerator:
    """Create the generator from the checkpoint that the config names, or from embedded weights.

    Raises:
        FileNotFoundError: The config names no checkpoint and none is embedded, or the file does
            not exist.
        ValueError: The checkpoint cannot be used, or there is no such device.
    """
    checkpoint = config.checkpoint or embedded_weights()
    if checkpoint is None:
        raise FileNotFoundError(
            "generator 'ganimation' needs weights: set `checkpoint` to a file of them;"
            f" {WHERE_FROM}. Generator 'warp' needs none"
        )
    loaded = load_checkpoint(checkpoint)
    if isinstance(loaded.network, GuidedGANimation):
        return GuidedGenerator(loaded.network, loaded.sha256, config)
    return GANimationGenerator(loaded, config)
