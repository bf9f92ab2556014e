"""What the guided design learns from: brightness, readings, real pairs, and the steps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from miex.au_sources.action_units import AU_NAMES
from miex.au_sources.face_motion import as_landmarks, fit_pose
from miex.datasets.processes import Processes
from miex.generators._warp_chart import CHART_SIDE, crop_positions
from miex.generators.ganimation.adversaries import Adversaries, Precision
from miex.generators.ganimation.appearance import shading_of_aus
from miex.generators.ganimation.batches import Batches, PairedFaces
from miex.generators.ganimation.checkpoint import load_checkpoint, save_checkpoint
from miex.generators.ganimation.guided_network import motion_gain, random_guided
from miex.generators.ganimation.losses import answering
from miex.generators.ganimation.reading_network import random_reading_network, teach_reading
from miex.generators.ganimation.real_pairs import find_pairs, make_pairs
from miex.generators.ganimation.recipe import choose_recipe
from miex.generators.ganimation.teacher import Teacher
from miex.generators.ganimation.training import train
from miex.generators.ganimation.training_config import TrainingConfig
from miex.generators.ganimation.training_set import TrainingFaces, TrainingSet, some_faces

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
ALONE = Processes(0, 1, CPU)
TINY = {"width": 4, "critic_width": 4, "batch": 4, "reading_steps": 2}
EVERY_AU = np.ones(17, bool)


def one_person(faces: TrainingFaces) -> TrainingFaces:
    """The drawn faces as frames of one person, a third of them quiet."""
    aus = np.random.default_rng(0).uniform(0, 4, faces.aus.shape).astype(np.float32)
    aus[::3] *= 0.1
    return replace(faces, identities=("somebody",) * len(faces), aus=aus)


def test_shading_of_an_au_is_found_where_it_is(middle_set: Path) -> None:
    """A dark spot on the chart, as dark as AU04 is strong, comes back at its place."""
    faces = one_person(TrainingSet.open(middle_set).faces("train"))
    rng = np.random.default_rng(0)
    au = AU_NAMES.index("AU04")
    aus = np.zeros_like(faces.aus)
    aus[:, au] = rng.uniform(0, 5, len(faces))
    images = np.full_like(faces.images, 160).astype(np.float32)
    spot = np.array([16.0, 32.0])  # row and column of the chart: between the brows
    for image, landmarks, intensity in zip(images, faces.landmarks, aus[:, au], strict=True):
        points = as_landmarks(landmarks)
        place = crop_positions(points, fit_pose(points))[int(spot[0]), int(spot[1])]
        y, x = np.mgrid[: len(image), : len(image)]
        near = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * 1.5**2))
        image *= 1 - 0.08 * intensity * near[..., None]
    found = shading_of_aus([replace(faces, images=images.astype(np.uint8), aus=aus)], EVERY_AU)
    darkest = np.unravel_index(found[au].argmin(), found[au].shape)
    assert found.shape == (17, CHART_SIDE, CHART_SIDE)
    assert np.abs(np.array(darkest) - spot).max() <= 2
    assert found[au].min() < -0.2
    assert not np.delete(found, au, axis=0).any()


def test_photographs_of_one_person_each_say_nothing_about_shading(middle_set: Path) -> None:
    faces = TrainingSet.open(middle_set).faces("train")
    assert len(set(faces.identities)) == len(faces)
    assert not shading_of_aus([faces], EVERY_AU).any()


def test_reading_is_learnt_and_then_left_alone(middle_set: Path) -> None:
    data = TrainingSet.open(middle_set)
    faces = one_person(data.faces("train"))
    untaught, taught = random_reading_network(0), random_reading_network(0)
    first = teach_reading(untaught, [faces], data.trusted, 0, CPU, 1)
    last = teach_reading(taught, [faces], data.trusted, 0, CPU, 30)
    assert last < 0.8 * first
    assert not any(weight.requires_grad for weight in taught.parameters())


def test_pairs_lead_from_a_quiet_frame_to_an_expressive_one(middle_set: Path) -> None:
    data = TrainingSet.open(middle_set)
    faces = one_person(data.faces("train"))
    pairs = make_pairs(faces, data.trusted, Teacher(faces, CPU, gain=motion_gain()))
    assert len(pairs) >= 3
    assert pairs.answers.shape == (len(pairs), 3, 64, 64)
    aus = np.where(faces.valid & data.trusted, faces.aus, 0)
    for quiet, apex, change in find_pairs(faces, data.trusted):
        assert change.max() * 5 >= 0.8
        np.testing.assert_allclose(change * 5, aus[apex] - aus[quiet], atol=1e-5)
    with pytest.raises(ValueError, match="no real pair"):
        make_pairs(some_faces(faces, np.array([3])), data.trusted, Teacher(faces, CPU))


def test_answers_count_in_the_face_alone() -> None:
    image, answer = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    face = torch.zeros(1, 1, 32, 32)
    face[..., 8:24, 8:24] = 1
    answer[..., 0:4, 0:4] = 1
    assert answering(image, answer, face) == 0
    answer[..., 15:17, 15:17] = 1
    assert answering(image, answer, face) > 0


def test_every_loss_reaches_every_weight(middle_set: Path) -> None:
    recipe = choose_recipe("guided", TINY)
    data = TrainingSet.open(middle_set)
    faces = data.faces("train")
    people = one_person(faces)
    moved = Teacher(people, CPU, gain=motion_gain())
    paired = PairedFaces(people, make_pairs(people, data.trusted, moved), moved)
    reader = random_reading_network(0)
    teach_reading(reader, [faces], data.trusted, 0, CPU, 2)
    networks = Adversaries(recipe, 64, 0, Precision(CPU), ALONE, reader)
    networks.start_shading(np.full((17, CHART_SIDE, CHART_SIDE), 0.1, np.float32))
    teacher = Teacher(faces, CPU, gain=motion_gain())
    batches = Batches(faces, data.trusted, recipe, 0, CPU, teacher, paired=paired)
    batch = batches.at(0)
    assert len(batch.answers) == recipe.rows("paired") == 1
    found = {}
    for step in range(3):
        found |= networks.step(batches.at(step), step, 1.0)
    assert {"reading", "answers", "painting", "adversary", "aus", "r1"} <= found.keys()
    assert "cycle" not in found
    for network in (networks.generator, networks.critic):
        assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_mirrored_faces_lie_mirrored_on_the_chart(middle_set: Path) -> None:
    data = TrainingSet.open(middle_set)
    faces = data.faces("train")
    recipe = choose_recipe("guided", TINY | {"micro_share": 1.0, "paired_share": 0.0})
    teacher = Teacher(faces, CPU, gain=motion_gain())
    batches = Batches(faces, data.trusted, recipe, 0, CPU, teacher)
    for step in range(3):
        motion = batches.at(step).motion
        assert motion is not None
        # The left of the image is the left of the chart, mirrored or not.
        middle = motion.chart[:, 32, :, 0]
        assert (middle[:, 40] > middle[:, 24]).all()


def test_the_average_holds_nothing_of_the_start(middle_set: Path) -> None:
    """Of two updates with decay .9 it is the mean weighted .9 to 1, divided by 1.9."""
    recipe = choose_recipe("guided", TINY | {"average": 0.9, "weights.reading": 0})
    data = TrainingSet.open(middle_set)
    faces = data.faces("train")
    networks = Adversaries(recipe, 64, 0, Precision(CPU), ALONE)
    teacher = Teacher(faces, CPU, gain=motion_gain())
    batches = Batches(faces, data.trusted, recipe, 0, CPU, teacher)
    seen = []
    for step in range(2):
        networks.step(batches.at(step), step, 1.0)
        seen.append(networks.generator.maps.detach().clone())
    expected = (0.9 * seen[0] + seen[1]) / 1.9
    torch.testing.assert_close(networks.average.maps, expected, atol=1e-6, rtol=1e-4)


def test_a_resumed_training_ends_with_the_same_weights(middle_set: Path, tmp_path: Path) -> None:
    def run(name: str, steps: list[int | None]) -> dict[str, torch.Tensor]:
        config = TrainingConfig(
            data=middle_set, recipe=choose_recipe("guided", TINY), steps=4,
            photographs=12, log_every=1, validate_every=2, save_every=2, device="cpu",
        )  # fmt: skip
        for limit in steps:
            minutes = None if limit is None else 1e-9
            train(config.model_copy(update={"minutes": minutes}), tmp_path / name)
        return safetensors.torch.load_file(tmp_path / name / "generator.safetensors")

    whole, parts = run("whole", [None]), run("parts", [1, 1, None])
    assert whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())


def test_a_training_begins_with_given_weights(middle_set: Path, tmp_path: Path) -> None:
    """With a learning rate of next to nothing it ends with them."""
    path = tmp_path / "start.safetensors"
    network = random_guided(5, 4)
    save_checkpoint(network, path)
    recipe = choose_recipe("guided", TINY | {"learning_rate": 1e-9})
    config = TrainingConfig(data=middle_set, recipe=recipe, steps=1, start=path, device="cpu")
    train(config, tmp_path / "run")
    found = load_checkpoint(tmp_path / "run" / "generator.safetensors").network
    for value, expected in zip(found.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(value, expected, atol=1e-3, rtol=1e-2)
    other = config.model_copy(update={"recipe": choose_recipe("guided", TINY | {"width": 6})})
    with pytest.raises(ValueError, match="guided of width 6; set width and design to theirs"):
        train(other, tmp_path / "other")


def test_a_guided_recipe_says_what_it_cannot_have() -> None:
    with pytest.raises(ValueError, match="design guided needs condition: change"):
        choose_recipe("guided", {"condition": "absolute", "micro_share": 0.0})
    with pytest.raises(ValueError, match=r"weights\.cycle is not for design guided"):
        choose_recipe("guided", {"weights.cycle": 1.0})
