"""Read and prepare the data of a training: photographs, warps, real pairs, an AU reader."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from miex.datasets.files import whole_file
from miex.datasets.processes import Processes
from miex.datasets.seals import UNSEALED, check_seal
from miex.generators.ganimation.batches import PairedFaces
from miex.generators.ganimation.computing import choose_dtype
from miex.generators.ganimation.guided_network import motion_gain
from miex.generators.ganimation.reading_network import (
    ReadingNetwork,
    random_reading_network,
    teach_reading,
)
from miex.generators.ganimation.real_pairs import make_pairs
from miex.generators.ganimation.recipe import Recipe
from miex.generators.ganimation.teacher import Teacher
from miex.generators.ganimation.training_config import TrainingConfig
from miex.generators.ganimation.training_set import TrainingFaces, TrainingSet, some_faces

_READER = "reader.safetensors"
"""File of the trained `ReadingNetwork` in the folder of a run."""

Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""Called with the stage (faces, warps, reader, steps), finished units, their total, and losses."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Data of a training.

    Attributes:
        faces: The photographs that are rendered.
        everybody: All photographs and frames with AUs.
        teacher: `warp` for them, if the recipe asks for it.
        paired: Real pairs, if the recipe asks for them and there are any.
        pairs: Their file, a training set.
        reader: Reads AUs, if the recipe asks for it.
    """

    faces: TrainingFaces
    everybody: Sequence[TrainingFaces]
    teacher: Teacher | None
    paired: PairedFaces | None
    pairs: TrainingSet | None
    reader: ReadingNetwork | None


def read_material(
    config: TrainingConfig, out: Path, data: TrainingSet, processes: Processes, tell: Progress
) -> Material:
    """Read the photographs and prepare what the recipe asks for.

    Args:
        config: Config of the training.
        out: Folder of the run.
        data: Its training set.
        processes: The processes that train.
        tell: Called with the progress.

    Raises:
        FileNotFoundError: The file of the real pairs does not exist.
        ValueError: The crops of the pairs have another size, or there is no pair among them.
    """
    recipe, device = config.recipe, processes.device
    count = data.count("train")
    whole = faces = data.faces("train", lambda done: tell("faces", done, count, {}))
    if config.photographs is not None and config.photographs < len(faces):
        rng = np.random.default_rng([config.seed, 4])
        chosen = np.sort(rng.choice(len(faces), config.photographs, replace=False))
        faces = some_faces(faces, chosen)
    paired, frames = None, None
    if config.pairs is not None and recipe.paired_share:
        frames = TrainingSet.open(config.pairs)
        if frames.image_size != data.image_size:
            raise ValueError(
                f"{config.pairs} has crops of {frames.image_size} pixels, {data.path} of"
                f" {data.image_size}; make both with `miex training-set --size"
                f" {data.image_size}`"
            )
        people = frames.faces("train")
        moved = Teacher(people, device, gain=motion_gain())
        trusted = frames.trusted & data.trusted
        paired = PairedFaces(people, make_pairs(people, trusted, moved), moved)
    everybody = [whole, paired.faces] if paired else [whole]
    reader = None
    if recipe.weights.reading:
        reader = _reader(config, out, data, everybody, processes, tell)
    teacher = None
    if recipe.design == "guided" or recipe.weights.teacher or recipe.weights.au_pairs:
        teacher = Teacher(
            faces,
            device,
            on_progress=lambda done: tell("warps", done, len(faces), {}),
            gain=motion_gain() if recipe.design == "guided" else None,
        )
    return Material(faces, everybody, teacher, paired, frames, reader)


def guide_of(recipe: Recipe, faces: TrainingFaces, processes: Processes) -> Teacher | None:
    """Return `warp` for some faces, if the design is guided by it."""
    if recipe.design != "guided":
        return None
    return Teacher(faces, processes.device, gain=motion_gain())


def _reader(
    config: TrainingConfig,
    out: Path,
    data: TrainingSet,
    faces: Sequence[TrainingFaces],
    processes: Processes,
    tell: Progress,
) -> ReadingNetwork:
    """Return the AU reader of a run: trained at its first start, loaded by the next ones."""
    network = random_reading_network(config.seed)
    path = out / _READER
    if path.is_file():
        network.load_state_dict(_read_reader(path))
        network.requires_grad_(False).eval()
        return network.to(processes.device)
    tell("reader", 0, config.recipe.reading_steps, {})
    device = processes.device
    bf16 = choose_dtype("auto", device) == torch.bfloat16
    error = teach_reading(
        network, faces, data.trusted, config.seed, device, config.recipe.reading_steps, bf16=bf16
    )
    tell("reader", config.recipe.reading_steps, config.recipe.reading_steps, {"error": error})
    if processes.rank == 0:
        state = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
        with whole_file(path, sealed=True) as temporary:
            temporary.write_bytes(safetensors.torch.save(state, {"sha256": UNSEALED}))
    return network


def _read_reader(path: Path) -> dict[str, Tensor]:
    remedy = "delete it, and it is taught again"
    try:
        tensors = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}); {remedy}") from None
    check_seal(path, remedy)
    return tensors
