"""Dense optical flow between two frames: TV-L1 for many pairs, and two faster methods.

TV-L1 minimises over the flow u

    integral of |grad u_1| + |grad u_2| + lambda |I_second(x + u) - I_first(x)|

by the method of Zach, Pock and Bischof, "A Duality Based Approach for Realtime TV-L1 Optical
Flow", DAGM 2007, with the pyramid, warping and stopping rule of Sanchez, Meinhardt-Llopis and
Facciolo, "TV-L1 Optical Flow Estimation", IPOL 3, 2013, and the median filter of OpenCV's
`DualTVL1OpticalFlow`: it has the same pyramid, boundary conditions and number of iterations
as that implementation, and the results agree to hundredths of a pixel, which
tests/benchmarks/bench_optical_flow.py measures.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from miex.datasets.config import FrozenConfig
from miex.datasets.kernels import kernels
from miex.pipeline.recognition.representations import _tvl1_compiled as compiled
from miex.pipeline.recognition.representations import _tvl1_images as images
from miex.pipeline.recognition.representations import _tvl1_solver as solver

FlowMethod = Literal["tvl1", "farneback", "dis"]


class TVL1Config(FrozenConfig):
    """Parameters of TV-L1; the defaults are those of OpenCV's `DualTVL1OpticalFlow`."""

    tau: float = Field(0.25, gt=0, le=0.25, description="step of the dual variables")
    lambda_: float = Field(0.15, gt=0, description="weight of the data; smaller is smoother")
    theta: float = Field(0.3, gt=0, description="how tightly flow and data term are coupled")
    scales: int = Field(5, ge=1)
    scale_step: float = Field(0.8, gt=0, lt=1)
    warps: int = Field(5, ge=1, description="per scale")
    epsilon: float = Field(0.01, gt=0, description="stops when the flow changes less, pixels")
    inner_iterations: int = Field(30, ge=1, description="between two median filters")
    outer_iterations: int = Field(10, ge=1)
    median: Literal[1, 3, 5] = Field(5, description="side of the median filter; 1 is none")


_DEFAULTS = TVL1Config()

_PAIRS_AT_A_TIME = 32
"""Number of pairs that a thread processes at a time on the CPU."""

_VALUES_ON_CPU = 130_000
"""Values of one plane of all slots: an operation takes many times as long as starting it, during
which the other threads wait, and what it touches still lies mostly in a core's L2 cache."""

_VALUES_ON_DEVICE = 8_000_000


def to_grey(frames: Tensor) -> Tensor:
    """Return the luma of ITU-R BT.601, not rounded.

    Args:
        frames: ``uint8 (B, 3, H, W)`` RGB.

    Returns:
        ``float32 (B, H, W)``, 0-255.

    Raises:
        ValueError: The shape or type differs.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or frames.dtype != torch.uint8:
        raise ValueError(
            f"frames are {frames.dtype} {tuple(frames.shape)}, expected uint8 (B, 3, H, W) RGB"
        )
    red, green, blue = frames.float().unbind(1)
    return red * 0.299 + green * 0.587 + blue * 0.114


def optical_flow(first: Tensor, second: Tensor, method: FlowMethod = "tvl1") -> Tensor:
    """Return the displacement of each pixel of the first image in the second.

    Args:
        first: ``float32 (B, H, W)`` grey, 0-255.
        second: The same for the second image.
        method: ``tvl1`` (the field's choice), or OpenCV's ``farneback`` (Farneback, SCIA 2003) or
            ``dis`` (Kroeger et al., ECCV 2016), which run on the CPU only and round to grey levels.

    Returns:
        ``float32 (B, 2, H, W)``: u to the right and v down, pixels, on the device of the input.

    Raises:
        ValueError: As `tvl1`.
    """
    if method == "tvl1":
        return tvl1(first, second)
    _require_images(first, second)
    one, two = (each.round().clamp(0, 255).byte().cpu().numpy() for each in (first, second))
    flows = np.zeros((*one.shape, 2), np.float32)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    for flow, before, after in zip(flows, one, two, strict=True):
        if method == "dis":
            dis.calc(before, after, flow)
        else:
            # The values of OpenCV's own example of this function.
            cv2.calcOpticalFlowFarneback(before, after, flow, 0.5, 3, 15, 3, 5, 1.2, 0)
    return torch.from_numpy(flows).permute(0, 3, 1, 2).contiguous().to(first.device)


def tvl1(first: Tensor, second: Tensor, config: TVL1Config = _DEFAULTS) -> Tensor:
    """Return the TV-L1 flow of many pairs.

    On the CPU it works in as many threads as torch has; the flow of a pair does not depend
    on the other pairs, to the bit.

    Args:
        first: ``float32 (B, H, W)`` grey, 0-255.
        second: The same for the second image.
        config: Parameters.

    Returns:
        ``float32 (B, 2, H, W)``: u to the right and v down, pixels. It satisfies
        ``second(x + u, y + v) = first(x, y)`` approximately.

    Raises:
        ValueError: The images have other types or different shapes, are too small, or contain NaN.
    """
    _require_images(first, second)
    if first.device.type != "cpu":
        return _solve(first, second, config, _VALUES_ON_DEVICE).clone()
    threads = torch.get_num_threads()
    size = max(1, min(_PAIRS_AT_A_TIME, -(-len(first) // threads)))
    pieces = list(zip(torch.split(first, size), torch.split(second, size), strict=True))

    def work(piece: tuple[Tensor, Tensor]) -> Tensor:
        return _solve(*piece, config, _VALUES_ON_CPU)

    try:
        # Threads over pairs need no synchronisation after each operation, unlike those of PyTorch.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(work, pieces)))
    finally:
        torch.set_num_threads(threads)


def _require_images(first: Tensor, second: Tensor) -> None:
    for name, image in (("first", first), ("second", second)):
        if image.ndim != 3 or image.dtype != torch.float32 or len(image) == 0:
            raise ValueError(
                f"the {name} images are {image.dtype} {tuple(image.shape)}, expected float32"
                " (B, H, W), grey, 0-255 (see to_grey)"
            )
        if min(image.shape[1:]) < images.SMALLEST_SIDE:
            raise ValueError(
                f"the {name} images are {image.shape[1]} x {image.shape[2]} pixels, expected at"
                f" least {images.SMALLEST_SIDE} on each side"
            )
        bad = ~image.isfinite().flatten(1).all(1)
        if bad.any():
            raise ValueError(
                f"{name} image {int(bad.nonzero()[0])} of {len(image)} contains NaN or infinity"
            )
    if first.shape != second.shape or first.device != second.device:
        raise ValueError(
            f"first and second images differ: {tuple(first.shape)} on {first.device} and"
            f" {tuple(second.shape)} on {second.device}"
        )


@torch.inference_mode()
def _solve(first: Tensor, second: Tensor, config: TVL1Config, values: int) -> Tensor:
    """Solve from the coarsest scale to the finest."""
    terms = solver.Terms(**config.model_dump(exclude={"scales", "scale_step"}))
    levels = [images.pyramid(each, config.scales, config.scale_step) for each in (first, second)]
    flow = first.new_zeros(len(first), 2, *levels[0][-1].shape[1:])
    library = kernels() if first.device.type == "cpu" else None
    for one, two in zip(*map(reversed, levels), strict=True):
        height, width = one.shape[1:]
        if flow.shape[2:] != (height, width):
            flow = images.enlarge(flow, height, width, config.scale_step)
        if library is not None:
            flow = compiled.solve(library, one, two, flow, terms)
            continue
        # Several pairs per slot, since slots become empty towards the end.
        slots = max(1, min(round(values / (height * width)), len(first) // 3))
        flow = solver.solve(one, two, flow, terms, slots)
    return flow
