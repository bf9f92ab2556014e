"""Pictures of Grad-CAM on faces: single samples, and the mean of each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miex.datasets.quantity import quantity
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
"""Methods on the sheet of means, and whether each of them is HiResCAM."""


@dataclass(frozen=True, slots=True)
class ShownSample:
    """A sample that is drawn.

    Attributes:
        sample: The frames, with landmarks if the representation of the recognizer needs them.
        source: Name of the database or AU source.
        answer: Label of the predicted class.
        probability: Softmax probability of the predicted class.
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
    hirescam: bool = False,
) -> dict[str, NDArray[np.float32]]:
    """Compute Grad-CAM at the size of a panel, aligned with `_branch_face`.

    Args:
        recognizer: The recognizer, on the device of the inputs.
        inputs: Inputs of B samples.
        classes: Class of interest of each sample, ``int64 (B,)``.
        layers: See `grad_cam`.
        hirescam: See `grad_cam`.

    Returns:
        Maps ``float32 (B, PANEL, PANEL)`` by the input of the branch, at least 0, not normalized.

    Raises:
        ValueError: See `grad_cam`.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for branch in grad_cam(recognizer, inputs, classes, layers or None, hirescam=hirescam):
        for name, maps in _on_faces(recognizer, branch).items():
            # The layer distinguishes a second branch with the same input.
            key = name if name not in found else f"{name} ({branch.layers[0]})"
            found[key] = maps.cpu().numpy()
    return found


def _on_faces(recognizer: Recognizer, branch: BranchMaps) -> dict[str, Tensor]:
    maps, config = branch.maps, recognizer.config
    if isinstance(recognizer, CropNet) and maps.shape[1] > 1:
        starts = tile_starts(recognizer.config.side, recognizer.config.overlap)
        tiles = _assembled(maps[:, 1:], starts, recognizer.config.side)
        return {
            f"{branch.input}, whole": upsample(maps[:, 0], PANEL),
            f"{branch.input}, tiles": tiles,
        }
    heat = maps.mean(1)
    if isinstance(config, MiexConfig):
        # The input of this network is the central crop of the face.
        inner = round(PANEL * config.crop / config.resized)
        before = (PANEL - inner) // 2
        whole = heat.new_zeros(len(heat), PANEL, PANEL)
        whole[:, before : before + inner, before : before + inner] = upsample(heat, inner)
        return {branch.input: whole}
    return {branch.input: upsample(heat, PANEL)}


def _assembled(maps: Tensor, starts: Sequence[int], side: int) -> Tensor:
    """Place the maps of tiles at their positions, averaged where tiles overlap."""
    total = maps.new_zeros(len(maps), side, side)
    count = maps.new_zeros(side, side)
    corners = [(y, x) for y in starts for x in starts]
    half = side // 2
    for number, (y, x) in enumerate(corners):
        total[:, y : y + half, x : x + half] += upsample(maps[:, number], half)
        count[y : y + half, x : x + half] += 1
    return upsample(total / count, PANEL)


def _branch_face(recognizer: Recognizer, sample: Sample, branch: str) -> NDArray[np.uint8]:
    """Return the image that a branch gets: the onset, the apex, or a puzzle of facial regions.

    Args:
        recognizer: The recognizer.
        sample: The sample.
        branch: Input of the branch, a key of `heat_maps`.

    Returns:
        ``uint8 (PANEL, PANEL, 3)`` RGB.
    """
    frame = sample.onset if branch.startswith("onset") and "and" not in branch else sample.apex
    if isinstance(recognizer, DualAtme):
        side = recognizer.config.flow_side
        points = torch.from_numpy(scaled_landmarks(sample, side)[:1])
        where = cuts(points, recognizer.config.upper, recognizer.config.lower)
        # With puzzle=False both branches get the whole face.
        cut = puzzle_grid if branch.startswith("puzzle") else face_grid
        image = resize(to_tensor(frame[None], points.device), side).float()
        read = read_at(image, cut(where, side))[0].permute(1, 2, 0)
        frame = np.ascontiguousarray(read.round().clamp(0, 255).to(torch.uint8).numpy())
    return _scaled(frame)


def _scaled(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(frame, (PANEL, PANEL), interpolation=cv2.INTER_CUBIC), np.uint8)


def single_picture(
    recognizer: Recognizer,
    shown: Sequence[ShownSample],
    inputs: Inputs,
    classes: Sequence[str],
    *,
    correct: bool,
    layers: Sequence[str] = (),
) -> Picture:
    """Draw single samples: onset, apex, motion and heat maps.

    Args:
        recognizer: The recognizer, on the device of the inputs.
        shown: The samples.
        inputs: Inputs of the samples, in the same order.
        classes: Names of the classes.
        correct: Whether the samples were classified correctly. If so, Grad-CAM and HiResCAM of the
            class are drawn; otherwise HiResCAM of the predicted and of the annotated class.
        layers: See `grad_cam`.
    """
    device = next(recognizer.parameters()).device
    answers = torch.tensor([each.answer for each in shown], device=device)
    labels = torch.tensor([each.sample.info.label for each in shown], device=device)
    methods = {"Grad-CAM": (answers, False), "HiResCAM": (answers, True)}
    if not correct:
        methods = {
            "HiResCAM of the prediction": (answers, True),
            "HiResCAM of the annotation": (labels, True),
        }
    maps = {
        (branch, words): heat
        for words, (of, hirescam) in methods.items()
        for branch, heat in heat_maps(recognizer, inputs, of, layers, hirescam=hirescam).items()
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
            face = _branch_face(recognizer, each.sample, branch)
            panels.append(overlaid(face, normalized(heat[place])))
        answer = f"predicted {classes[each.answer]}, {each.probability:.0%}"
        colour = CLASS_COLOURS[info.label % len(CLASS_COLOURS)]
        # The name of the dataset is omitted, since it is long and the source identifies it.
        name = info.key.rpartition("/")[2] if info.au_source else info.key
        rows.append(Row(classes[info.label], (answer, each.source, name), panels, colour))
    heads = ["onset", "apex", f"motion, up to {scale:.1f} px"]
    heads += [f"{branch}: {words}" for branch, words in maps]
    kind = "correctly" if correct else "incorrectly"
    of_samples = quantity(len(shown), "sample")
    caption = (
        f"Evidence for a class in {recognizer.name}: {of_samples}, drawn at random, classified"
        f" {kind}. Bright regions increase the score of the class. Each map is divided by its"
        " largest value; in a map without colour no region increases the score."
    )
    title = f"Evidence for a class: {recognizer.name}, classified {kind}"
    subtitle = f"Layers: {', '.join(_layer_names(recognizer, inputs, layers))}."
    return png_picture(f"grad_cam_{kind}.png", caption, sheet(title, subtitle, heads, rows))


def _layer_names(recognizer: Recognizer, inputs: Inputs, layers: Sequence[str]) -> list[str]:
    first = {name: each[:1] for name, each in inputs.items()}
    return [
        name for each in grad_cam(recognizer, first, None, layers or None) for name in each.layers
    ]


def _motion_scale(peaks: Sequence[float]) -> float:
    return max(0.1, float(np.quantile(peaks, 0.75)))


def normalized(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide a map by its largest value, so that it ranges from 0 to 1; a map of zeros stays."""
    most = float(heat.max())
    return heat / most if most > 0 else heat


def mean_picture(
    recognizer: Recognizer,
    samples: Mapping[int, Sequence[Sample]],
    inputs: Mapping[int, Inputs],
    classes: Sequence[str],
    layers: Sequence[str] = (),
) -> Picture:
    """Draw the mean Grad-CAM of each class on the mean face of the class.

    Args:
        recognizer: The recognizer, on the device of the inputs.
        samples: At least one sample of each class that is drawn, by label.
        inputs: Inputs of the samples, in the same order.
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
            for words, hirescam in _METHODS.items()
            for branch, heat in heat_maps(
                recognizer, inputs[label], of, layers, hirescam=hirescam
            ).items()
        }
        heads = [f"{branch}: {words}" for branch, words in maps]
        panels: list[NDArray[np.uint8] | None] = []
        for (branch, _), heat in maps.items():
            faces = [_branch_face(recognizer, sample, branch) for sample in some]
            mean = np.mean(faces, 0).round().astype(np.uint8)
            # Normalized first, so that samples with large gradients do not dominate the mean.
            mean_heat = np.stack([normalized(each) for each in heat]).mean(0)
            panels.append(overlaid(mean, normalized(np.asarray(mean_heat, np.float32))))
        colour = CLASS_COLOURS[label % len(CLASS_COLOURS)]
        rows.append(Row(classes[label], [quantity(len(some), "sample")], panels, colour))
    caption = (
        f"Mean Grad-CAM and HiResCAM of {recognizer.name} for the annotated class, on the mean"
        f" face of {quantity(sum(map(len, samples.values())), 'sample')} that it classifies"
        " correctly."
    )
    missing = [name for label, name in enumerate(classes) if label not in samples]
    if missing:
        caption += f" It classifies no given sample of {', '.join(missing)} correctly."
    title = f"Mean of each class: {recognizer.name}"
    subtitle = "The map of each sample, and then the mean, is divided by its largest value."
    return png_picture("grad_cam_mean.png", caption, sheet(title, subtitle, heads, rows))
