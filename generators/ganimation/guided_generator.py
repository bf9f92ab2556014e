"""The guided design with the interface of generators: a warp, then the network."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from miex.au_sources.action_units import MAX_INTENSITY, AUArray
from miex.datasets.base import Face
from miex.datasets.device import choose_device, exact_kernels
from miex.generators._warp_chart import chart_of
from miex.generators._warp_render import move_frames
from miex.generators._warp_sampling import sample_linear
from miex.generators._warp_state import WarpState
from miex.generators.base import Condition, GeneratorConfig
from miex.generators.ganimation.computing import (
    choose_dtype,
    render_batches,
    threads_that_compute_alone,
)
from miex.generators.ganimation.guided_network import (
    INVERSION_STEPS,
    SIZE_STEP,
    GuidedGANimation,
    Motion,
)
from miex.generators.ganimation.network import to_network_range, to_pixels
from miex.generators.warp import WarpGenerator, check_intensities, check_sizes


@dataclass(frozen=True, slots=True)
class GuidedState:
    """Face prepared for rendering, on the device of the generator.

    Attributes:
        warp: State of `warp`.
        places: ``(2, n, n)``, result of `chart_of`.
        window: ``(1, S, S)``, 1 in the face, 0 where nothing may change.
    """

    warp: WarpState
    places: Tensor
    window: Tensor


class GuidedGenerator:
    """Generator with a motion-guided checkpoint.

    As in the other design, each frame is rendered alone by one thread on a CPU, so that it does not
    depend on other frames; on other devices every batch has `batch_size` frames.

    Args:
        network: The weights; converted in place to the precision of the config.
        sha256: Hash of their file.
        config: Device and precision; `name` and `checkpoint` are ignored.

    Raises:
        ValueError: There is no such device, or the config requests compilation, which does not
            speed up this small network.
    """

    name = "ganimation"
    max_intensity = 3.0
    condition: Condition = "change"
    revision = 2

    def __init__(self, network: GuidedGANimation, sha256: str, config: GeneratorConfig) -> None:
        if config.compile:
            raise ValueError(
                "these weights of ganimation are of the guided design, which is too small to gain"
                " from torch.compile; set `compile` to false"
            )
        self.sha256 = sha256
        self.device = choose_device(config.device)
        self.dtype = choose_dtype(config.precision, self.device)
        self._batch_size = config.batch_size
        self._warp = WarpGenerator(self.device, config.batch_size)
        network.requires_grad_(False).eval().to(self.device)
        network.to(memory_format=torch.channels_last)
        network.paint_in(self.dtype)
        self._gain = network.gain.cpu().numpy()
        self._network = network
        self._threads = None
        if self.device.type == "cpu":
            self._threads = threads_that_compute_alone(torch.get_num_threads())

    def prepare(self, face: Face) -> GuidedState:
        """Prepare the warp of a face and its place on the chart.

        Raises:
            ValueError: See `WarpGenerator.prepare`; or the side is no multiple of 8.
        """
        warp = self._warp.prepare(face)
        side = face.crop.shape[0]
        if side % SIZE_STEP:
            raise ValueError(
                f"{face.origin}: crop of {side} pixels a side; these weights of ganimation need a"
                f" multiple of {SIZE_STEP}; prepare the faces with"
                f" `miex faces --set size={side + -side % SIZE_STEP}`"
            )
        places, window = (torch.from_numpy(part) for part in chart_of(face.landmarks, side))
        wide = F.interpolate(window[None], size=(side, side), mode="bilinear", align_corners=False)
        inside = wide[0].to(self.device) * warp.movable
        return GuidedState(warp, places.to(self.device), inside)

    def render(self, states: Sequence[GuidedState], aus: AUArray) -> NDArray[np.uint8]:
        """Render one frame for each pair of a prepared face and a change of its AUs.

        Args:
            states: N prepared faces, all of one size S.
            aus: ``(N, 17)``, change of each AU, FACS intensity, -5 to 5; 0 is the photograph.

        Returns:
            ``uint8 (N, S, S, 3)`` RGB.

        Raises:
            ValueError: There are no states, faces differ in size, or the AUs are not ``(N, 17)``
                finite changes.
        """
        values = check_intensities(aus, len(states))
        check_sizes(state.window.shape[-1] for state in states)
        frames = torch.stack([state.warp.crop for state in states])
        moving = [int(row) for row in np.flatnonzero(values.any(axis=1))]
        if moving:
            rendered = self._render([states[i] for i in moving], values[moving])
            frames[torch.tensor(moving, device=self.device)] = rendered
        return np.ascontiguousarray(frames.permute(0, 2, 3, 1).cpu().numpy())

    def _render(self, states: list[GuidedState], values: NDArray[np.float32]) -> Tensor:
        return torch.cat(
            render_batches(self._render_batch, states, values, self._batch_size, self._threads)
        )

    @torch.inference_mode()
    def _render_batch(self, states: list[GuidedState], values: NDArray[np.float32]) -> Tensor:
        with exact_kernels(self.device):
            moved = values * self._gain
            frames, source = move_frames([s.warp for s in states], moved, INVERSION_STEPS)
            places = torch.stack([state.places for state in states])
            chart = sample_linear(places, source, frames.shape[-1]).movedim(1, -1)
            window = torch.stack([state.window for state in states])
            change = torch.from_numpy(values / np.float32(MAX_INTENSITY)).to(self.device)
            motion = Motion(to_network_range(frames), chart, window)
            return to_pixels(self._network(motion, change).image)
