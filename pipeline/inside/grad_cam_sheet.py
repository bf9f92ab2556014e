"""Draws Grad-CAM on the faces it was computed of: single samples, and the mean of each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miex.pipeline.inside.canvas import (
    PANEL,
    Picture,
    Row,
    overlaid,
    png_picture,
    sheet,
)
from miex.pipeline.inside.grad_cam import BranchMaps, grad_cam, upsample
from miex.pipeline.recognition.recognizers._miex import MiexConfig
from miex.pipeline.recognition.recognizers.base import Recognizer
from miex.pipeline.recognition.recognizers.cropnet import CropNet
from miex.pipeline.recognition.recognizers.dual_atme import DualAtme
from miex.pipeline.recognition.representations.base import (
    Inputs,
    resize,
    scaled_landmarks,
    to_tensor,
)
from miex.pipeline.recognition.representations.cgpo import tile_starts
from miex.pipeline.recognition.representations.hars import (
    cuts,
    face_grid,
    puzzle_grid,
    read_at,
)
from miex.pipeline.recognition.sample import Sample
from miex.pipeline.reports.motion_panel import flow_length, measure_flow, motion_panel
from miex.pipeline.reports.sheet import CLASS_COLOURS

_METHODS = {"Grad-CAM": False, "HiResCAM": True}
"""Both on the sheet of means, and whether they go place by place."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A sample that is drawn.

    Attributes:
        sample: With its pixels; with landmarks where the recognizer's representation needs them.
        source: Where it is from, in few words.
        answer: The class that the recognizer takes it for.
        probability: Of that class, softmax.
    """

    sample: Sample
    source: str
    answer: int
    probability: float


def heat_maps(
    recognizer: Recognizer,
    inputs: Inputs,
    classes: Tensor,
    layers: Sequence[str] = (),
    *,
    placewise: bool = False,
) -> dict[str, NDArray[np.float32]]:
    """Grad-CAM at the size of a panel, registered with the face of each branch (`faces_of`).

    Args:
        recognizer: Which one, on the device of the inputs.
        inputs: Of B samples.
        classes: ``int64 (B,)``.
        layers: See `grad_cam`.
        placewise: See `grad_cam`.

    Returns:
        ``float32 (B, PANEL, PANEL)`` by what the branch sees, 0 and more, not scaled.

    Raises:
        ValueError: See `grad_cam`.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for branch in grad_cam(recognizer, inputs, classes, layers or None, placewise=placewise):
        for name, maps in _on_faces(recognizer, branch).items():
            # A second branch on the same input, or a layer of another size, is named by its layer.
            key = name if name not in found else f"{name} ({branch.layers[0]})"
            found[key] = maps.cpu().numpy()
    return found


def _on_faces(recognizer: Recognizer, branch: BranchMaps) -> dict[str, Tensor]:
    maps, config = branch.maps, recognizer.config
    if isinstance(recognizer, CropNet) and maps.shape[1] > 1:
        starts = tile_starts(recognizer.config.side, recognizer.config.overlap)
        tiles = _assembled(maps[:, 1:], starts, recognizer.config.side)
        return {
            f"{branch.sees}, whole": upsample(maps[:, 0], PANEL),
            f"{branch.sees}, tiles": tiles,
        }
    heat = maps.mean(1)
    if isinstance(config, MiexConfig):
        # The network sees the middle of the face only.
        inner = round(PANEL * config.crop / config.resized)
        before = (PANEL - inner) // 2
        whole = heat.new_zeros(len(heat), PANEL, PANEL)
        whole[:, before : before + inner, before : before + inner] = upsample(heat, inner)
        return {branch.sees: whole}
    return {branch.sees: upsample(heat, PANEL)}


def _assembled(maps: Tensor, starts: Sequence[int], side: int) -> Tensor:
    """Maps of tiles where the tiles are; the mean where they overlap."""
    total = maps.new_zeros(len(maps), side, side)
    count = maps.new_zeros(side, side)
    corners = [(y, x) for y in starts for x in starts]
    half = side // 2
    for number, (y, x) in enumerate(corners):
        total[:, y : y + half, x : x + half] += upsample(maps[:, number], half)
        count[y : y + half, x : x + half] += 1
    return upsample(total / count, PANEL)


def faces_of(recognizer: Recognizer, sample: Sample, branch: str) -> NDArray[np.uint8]:
    """The face as a branch sees it: the onset, the apex, or a puzzle cut out of it.

    Returns:
        ``uint8 (PANEL, PANEL, 3)`` RGB.
    """
    frame = sample.onset if branch.startswith("onset") and "and" not in branch else sample.apex
    if isinstance(recognizer, DualAtme):
        side = recognizer.config.flow_side
        points = torch.from_numpy(scaled_landmarks(sample, side)[:1])
        where = cuts(points, recognizer.config.upper, recognizer.config.lower)
        # With puzzle=False both branches look at the face.
        cut = puzzle_grid if branch.startswith("puzzle") else face_grid
        image = resize(to_tensor(frame[None], points.device), side).float()
        read = read_at(image, cut(where, side))[0].permute(1, 2, 0)
        frame = np.ascontiguousarray(read.round().clamp(0, 255).to(torch.uint8).numpy())
    return _scaled(frame)


def _scaled(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(frame, (PANEL, PANEL), interpolation=cv2.INTER_CUBIC), np.uint8)


def single_picture(
    recognizer: Recognizer,
    shown: Sequence[Shown],
    inputs: Inputs,
    classes: Sequence[str],
    *,
    right: bool,
    layers: Sequence[str] = (),
) -> Picture:
    """Draws samples one by one: onset, apex, motion, and what speaks for a class.

    Args:
        recognizer: Which one, on the device of the inputs.
        shown: The samples.
        inputs: Theirs, in this order.
        classes: Names of the classes.
        right: Whether they were answered rightly: then Grad-CAM and HiResCAM of the class, else
            HiResCAM of the answer and of the annotation.
        layers: See `grad_cam`.
    """
    device = next(recognizer.parameters()).device
    answers = torch.tensor([each.answer for each in shown], device=device)
    labels = torch.tensor([each.sample.info.label for each in shown], device=device)
    asked = {"Grad-CAM": (answers, False), "HiResCAM": (answers, True)}
    if not right:
        asked = {
            "HiResCAM of the answer": (answers, True),
            "HiResCAM of the annotation": (labels, True),
        }
    maps = {
        (branch, words): heat
        for words, (of, placewise) in asked.items()
        for branch, heat in heat_maps(recognizer, inputs, of, layers, placewise=placewise).items()
    }
    flows = [measure_flow(each.sample.onset, each.sample.apex) for each in shown]
    scale = _motion_scale([float(np.quantile(flow_length(flow), 0.995)) for flow in flows])
    rows = []
    for place, (each, flow) in enumerate(zip(shown, flows, strict=True)):
        info = each.sample.info
        motion = np.asarray(motion_panel(each.sample.onset, flow, scale, PANEL), np.uint8)
        panels: list[NDArray[np.uint8] | None] = [
            _scaled(each.sample.onset),
            _scaled(each.sample.apex),
            motion,
        ]
        for (branch, _), heat in maps.items():
            face = faces_of(recognizer, each.sample, branch)
            panels.append(overlaid(face, to_share(heat[place])))
        answer = f"answer {classes[each.answer]}, {each.probability:.0%}"
        colour = CLASS_COLOURS[info.label % len(CLASS_COLOURS)]
        # The name of its dataset, which is long, is told by the source.
        name = info.key.rpartition("/")[2] if info.au_source else info.key
        rows.append(Row(classes[info.label], (answer, each.source, name), panels, colour))
    heads = ["onset", "apex", f"motion, up to {scale:.1f} px"]
    heads += [f"{branch}: {words}" for branch, words in maps]
    kind = "rightly" if right else "wrongly"
    of_samples = "1 sample" if len(shown) == 1 else f"{len(shown)} samples"
    caption = (
        f"What speaks for a class in {recognizer.name}: {of_samples} answered {kind}, drawn at"
        " random. Bright is where the input speaks for the class, each map by its own largest"
        " value; a map without any colour says that nothing in this branch does."
    )
    title = f"What speaks for a class: {recognizer.name}, answered {kind}"
    subtitle = f"Layers: {', '.join(_layer_names(recognizer, inputs, layers))}."
    return png_picture(f"grad_cam_{kind}.png", caption, sheet(title, subtitle, heads, rows))


def _layer_names(recognizer: Recognizer, inputs: Inputs, layers: Sequence[str]) -> list[str]:
    first = {name: each[:1] for name, each in inputs.items()}
    return [
        name for each in grad_cam(recognizer, first, None, layers or None) for name in each.layers
    ]


def _motion_scale(peaks: Sequence[float]) -> float:
    return max(0.1, float(np.quantile(peaks, 0.75)))


def to_share(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map by its own largest value, 0 to 1; 0 where it is 0 everywhere."""
    most = float(heat.max())
    return heat / most if most > 0 else heat


def mean_picture(
    recognizer: Recognizer,
    samples: Mapping[int, Sequence[Sample]],
    inputs: Mapping[int, Inputs],
    classes: Sequence[str],
    layers: Sequence[str] = (),
) -> Picture:
    """Draws the mean Grad-CAM of each class on the mean of its faces.

    Args:
        recognizer: Which one, on the device of the inputs.
        samples: Of each class that is drawn, one or more.
        inputs: Theirs, in the same order.
        classes: Names of the classes.
        layers: See `grad_cam`.
    """
    device = next(recognizer.parameters()).device
    rows: list[Row] = []
    heads: list[str] = []
    for label, some in samples.items():
        of = torch.full((len(some),), label, device=device)
        maps = {
            (branch, words): heat
            for words, placewise in _METHODS.items()
            for branch, heat in heat_maps(
                recognizer, inputs[label], of, layers, placewise=placewise
            ).items()
        }
        heads = [f"{branch}: {words}" for branch, words in maps]
        panels: list[NDArray[np.uint8] | None] = []
        for (branch, _), heat in maps.items():
            faces = [faces_of(recognizer, sample, branch) for sample in some]
            mean = np.mean(faces, 0).round().astype(np.uint8)
            # Each sample counts alike, whatever the size of its gradients.
            shares = np.stack([to_share(each) for each in heat]).mean(0)
            panels.append(overlaid(mean, to_share(np.asarray(shares, np.float32))))
        colour = CLASS_COLOURS[label % len(CLASS_COLOURS)]
        rows.append(Row(classes[label], [f"{len(some)} samples"], panels, colour))
    caption = (
        f"Mean Grad-CAM and HiResCAM of {recognizer.name} for the annotated class, on the mean"
        f" face: {sum(map(len, samples.values()))} samples that it answers rightly."
    )
    silent = [name for label, name in enumerate(classes) if label not in samples]
    if silent:
        caption += f" Of {', '.join(silent)} it answers none of those that were given."
    title = f"Mean of each class: {recognizer.name}"
    subtitle = "Each sample's map by its own largest value, then the mean by its own."
    return png_picture("grad_cam_mean.png", caption, sheet(title, subtitle, heads, rows))
