"""Monitor a training: metrics, a grid of samples, and reasons to stop early."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miex.au_sources.action_units import AU_COUNT, AU_NAMES, MAX_INTENSITY, AUArray
from miex.datasets.files import whole_file
from miex.datasets.trackers import Trackers
from miex.generators.ganimation.adversaries import Adversaries
from miex.generators.ganimation.guided_network import Motion
from miex.generators.ganimation.network import Rendering, to_network_range, to_pixels
from miex.generators.ganimation.targets import draw_targets
from miex.generators.ganimation.teacher import Teacher, face_area
from miex.generators.ganimation.training_set import TrainingFaces, some_faces

METRICS = "metrics.jsonl"
GRIDS = "samples"

_PATIENCE = 3
"""Number of consecutive validations with the same fault that end the training."""

_SATURATED = 0.98
"""Mean attention over the face above which the output is the input."""

_MOTIONLESS = 0.05
"""Mean change over the face, grey levels (0-255), below which a face has not moved."""

_INDIFFERENT = 1e-4
"""Standard deviation of the critic's scores, over photographs and renderings, below which they are
constant."""

WATCHED = 256
"""Number of photographs of other identities that are used for validation."""

_CHUNK = 32
_SHOWN_FACES = 6
_SHOWN_AUS = ("AU01", "AU04", "AU06", "AU09", "AU12", "AU15", "AU17", "AU26")
_SHOWN_INTENSITIES = (1.0, 2.0, 3.0)
_VALIDATION = 2
"""First seed number of the random stream; `batches` has others."""


class TrainingFailedError(RuntimeError):
    """The training has failed; the message states the reason."""


@dataclass(frozen=True, slots=True)
class Validation:
    """Metrics of a training on validation photographs.

    Attributes:
        au_error: Mean squared error of the critic's AUs, intensity squared, over measured and
            trusted AUs.
        au_error_constant: The same of the mean AUs of the training photographs.
        attention: Mean over the face where a change is requested, 0-1; 1 shows the photograph.
        motion: Mean absolute change over the face where one is requested, grey levels (0-255).
        response: Correlation of the requested AU changes and those that the critic reads, over
            counted AUs. The critic trains the generator, so that this is an upper bound.
        score_gap: Mean score of photographs minus that of renderings.
        score_spread: Standard deviation of the scores of both.
    """

    au_error: float
    au_error_constant: float
    attention: float
    motion: float
    response: float
    score_gap: float
    score_spread: float


def constant_aus(faces: TrainingFaces, trusted: NDArray[np.bool_]) -> AUArray:
    """Return the mean of each AU over its measured photographs, ``(17,)``; NaN without any."""
    counted = faces.valid & trusted
    sums = np.where(counted, faces.aus, 0).sum(axis=0, dtype=np.float64)
    counts = counted.sum(axis=0)
    with np.errstate(invalid="ignore"):
        means: AUArray = (sums / counts).astype(np.float32)
    return means


def first_faces(faces: TrainingFaces, count: int) -> TrainingFaces:
    """Return the first photographs of a split."""
    return some_faces(faces, np.arange(min(count, len(faces))))


class Watch:
    """Measure a training on validation photographs.

    Args:
        faces: The photographs; the first 256 are used.
        trusted: bool ``(17,)``, AUs whose labels are used.
        constant: ``(17,)``, constant prediction for comparison.
        seed: Seed of the requested AUs, which are the same in every validation.
        adversaries: The networks.
        limit: Largest number of photographs.
        teacher: `warp` for these photographs, for the guided design.

    Raises:
        ValueError: There are no photographs.
    """

    def __init__(
        self,
        faces: TrainingFaces,
        trusted: NDArray[np.bool_],
        constant: AUArray,
        seed: int,
        adversaries: Adversaries,
        limit: int = WATCHED,
        teacher: Teacher | None = None,
    ) -> None:
        if not len(faces):
            raise ValueError("no photograph to watch the training on; the split is empty")
        self._faces = first_faces(faces, limit)
        self._networks, self._recipe, self._teacher = adversaries, adversaries.recipe, teacher
        self._constant = constant
        rng = np.random.default_rng([seed, _VALIDATION])
        own = self._faces.aus
        self._counted = self._faces.valid & trusted & np.isfinite(constant)
        others = own[rng.permutation(len(own))]
        self._targets = draw_targets(self._recipe, own, others, trusted, rng)
        self._areas = face_area(self._faces.landmarks, self._faces.images.shape[1])
        self._device = next(adversaries.average.parameters()).device

    @torch.no_grad()
    def measure(self) -> Validation:
        """Return the metrics of the moving average of the generator and of the critic."""
        networks, targets, count = self._networks, self._targets, len(self._faces)
        change = self._recipe.condition == "change"
        read, moved, attention, motion, real_scores, fake_scores = [], [], [], [], [], []
        for start in range(0, count, _CHUNK):
            rows = slice(start, start + _CHUNK)
            image = self._images(rows)
            area = torch.from_numpy(self._areas[rows]).to(self._device)[:, None].float()
            condition = torch.from_numpy(targets.condition[rows]).to(self._device)
            fake = self._render(rows, image, condition)
            real_verdict, fake_verdict = networks.critic(image), networks.critic(fake.image)
            weight = area / area.sum((2, 3), keepdim=True).clamp(min=1)
            difference = (fake.image - image).abs().mean(1, keepdim=True) * 127.5
            attention.append((fake.attention * weight).sum((1, 2, 3)))
            motion.append((difference * weight).sum((1, 2, 3)))
            read.append(real_verdict.aus)
            moved.append(fake_verdict.aus - (real_verdict.aus if change else 0))
            real_scores.append(real_verdict.realness.flatten())
            fake_scores.append(fake_verdict.realness.flatten())
        predicted = _numpy(read) * MAX_INTENSITY
        scores = _numpy(real_scores), _numpy(fake_scores)
        asked = np.abs(targets.condition).max(axis=1) > 0
        return Validation(
            au_error=self._au_error(predicted),
            au_error_constant=self._au_error(np.broadcast_to(self._constant, predicted.shape)),
            attention=float(_numpy(attention)[asked].mean()) if asked.any() else math.nan,
            motion=float(_numpy(motion)[asked].mean()) if asked.any() else math.nan,
            response=_correlation(
                targets.condition[targets.counted], _numpy(moved)[targets.counted]
            ),
            score_gap=float(scores[0].mean() - scores[1].mean()),
            score_spread=float(np.concatenate(scores).std()),
        )

    @torch.no_grad()
    def grid(self) -> NDArray[np.uint8]:
        """Render a grid: one row per face with the photograph, single AUs, and attention.

        Returns:
            ``uint8 (H, W, 3)`` RGB. The last column is the attention for AU12 at 3, white where
            the photograph shows through.
        """
        count = min(_SHOWN_FACES, len(self._faces))
        image = self._images(slice(0, count))
        columns = [image]
        for au in _SHOWN_AUS:
            for intensity in _SHOWN_INTENSITIES:
                columns.append(self._single(image, au, intensity).image)
        attention = self._single(image, "AU12", _SHOWN_INTENSITIES[-1]).attention
        columns.append(attention.expand_as(image) * 2 - 1)
        tiles = to_pixels(torch.stack(columns, 1)).permute(0, 3, 1, 4, 2)
        rows, side, number = tiles.shape[0], tiles.shape[1], tiles.shape[2]
        return tiles.reshape(rows * side, number * side, 3).cpu().numpy()

    def _single(self, image: Tensor, au: str, intensity: float) -> Rendering:
        """Render the faces with one AU at an intensity (or increased by it)."""
        condition = np.zeros((len(image), AU_COUNT), np.float32)
        if self._recipe.condition == "absolute":
            condition = np.nan_to_num(self._faces.aus[: len(image)]) / np.float32(MAX_INTENSITY)
        condition[:, AU_NAMES.index(au)] = intensity / MAX_INTENSITY
        asked = torch.from_numpy(condition).to(self._device)
        return self._render(slice(0, len(image)), image, asked)

    def _render(self, rows: slice, image: Tensor, condition: Tensor) -> Rendering:
        """Render some of the faces with the moving average."""
        seen: Tensor | Motion = image
        if self._teacher is not None:
            index = torch.arange(rows.start, rows.start + len(image), device=self._device)
            seen = self._teacher.move(index, condition)
        rendering: Rendering = self._networks.average(seen, condition)
        return rendering

    def _images(self, rows: slice) -> Tensor:
        pixels = torch.from_numpy(self._faces.images[rows]).to(self._device)
        return to_network_range(pixels.permute(0, 3, 1, 2))

    def _au_error(self, predicted: NDArray[np.float32]) -> float:
        if not self._counted.any():
            return math.nan
        error = np.where(self._counted, predicted - np.nan_to_num(self._faces.aus), 0)
        return float((error**2).sum() / self._counted.sum())


def _numpy(parts: list[Tensor]) -> NDArray[np.float32]:
    return torch.cat(parts).float().cpu().numpy()


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    if a.size < 2 or a.std() == 0 or b.std() == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


class Monitor:
    """Write metrics and samples, and stop a training that has failed.

    Args:
        folder: Folder of `metrics.jsonl` and `samples/`.
        paints: Whether all motion is painted; with a warp as input, an attention of 1 also moves.
        step: Number of finished steps; lines of later steps, from a killed run, are deleted.
        trackers: Trackers that get the same numbers; closed with the monitor.
    """

    def __init__(
        self, folder: Path, step: int, *, paints: bool = True, trackers: Trackers | None = None
    ) -> None:
        self._paints, self._trackers = paints, trackers
        self._folder, self._path = folder, folder / METRICS
        self._faults: dict[str, int] = {}
        kept = ""
        if self._path.is_file():
            lines = self._path.read_text("utf-8", errors="replace").splitlines()
            kept = "".join(f"{line}\n" for line in lines if _step_of(line) <= step)
        with whole_file(self._path) as temporary:
            temporary.write_text(kept, "utf-8")

    def close(self) -> None:
        """End the runs of the trackers."""
        if self._trackers:
            self._trackers.close()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a line of losses.

        Raises:
            TrainingFailedError: A loss is not finite.
        """
        self._write(step, values)
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            raise TrainingFailedError(
                f"step {step}: {', '.join(wrong)} is not finite: the training has diverged. Go on"
                " from the last state with a lower learning_rate, or with fewer weights"
            )

    def validated(self, step: int, found: Validation, grid: NDArray[np.uint8]) -> None:
        """Add a line of metrics and a grid of samples.

        Raises:
            TrainingFailedError: For the third consecutive time the attention is saturated, no face
                moves, or the scores of the critic are constant.
        """
        self._write(step, {f"validation_{name}": value for name, value in asdict(found).items()})
        path = self._folder / GRIDS / f"{step:08d}.png"
        encoded = cv2.imencode(".png", cv2.cvtColor(grid, cv2.COLOR_RGB2BGR))[1]
        with whole_file(path) as temporary:
            temporary.write_bytes(encoded.tobytes())
        self._judge(step, found)

    def _judge(self, step: int, found: Validation) -> None:
        faults = {
            f"the attention is saturated (mean {found.attention:.3f} over the face, above"
            f" {_SATURATED}): the photograph shows through and nothing moves. The usual reasons:"
            " wrong AUs, unaligned crops, no loss on the attention": found.attention > _SATURATED
            and self._paints,
            f"no face moves ({found.motion:.3f} grey levels, below {_MOTIONLESS}): the losses that"
            " ask for AUs are too weak beside those that keep the photograph": found.motion
            < _MOTIONLESS,
            f"the discriminator says the same of everything (deviation {found.score_spread:.1e},"
            f" below {_INDIFFERENT:g}): lower its learning rate": found.score_spread < _INDIFFERENT,
        }
        for number, (reason, is_so) in enumerate(faults.items()):
            key = str(number)
            self._faults[key] = self._faults.get(key, 0) + 1 if is_so else 0
            if self._faults[key] >= _PATIENCE:
                raise TrainingFailedError(f"step {step}: {reason}")

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        # JSON has no NaN.
        known = {n: float(f"{v:.6g}") if math.isfinite(v) else None for n, v in values.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **known}) + "\n")
        if self._trackers:
            self._trackers.log(step, {n: v for n, v in known.items() if v is not None})


def _step_of(line: str) -> float:
    """Return the step of a line; None for a truncated line."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
