"""One step of a training: what a batch holds, what the teacher says, where each loss goes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from miex.au_sources.action_units import AU_NAMES
from miex.datasets.base import Face, FaceQuality
from miex.datasets.processes import Processes
from miex.generators.ganimation.adversaries import Adversaries, Precision
from miex.generators.ganimation.augmentation import augment, draw_augmentations
from miex.generators.ganimation.batches import Batches
from miex.generators.ganimation.monitor import constant_aus
from miex.generators.ganimation.recipe import choose_recipe
from miex.generators.ganimation.teacher import Teacher, face_area
from miex.generators.ganimation.training_set import TrainingFaces, TrainingSet
from miex.generators.warp import WarpGenerator

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
ALONE = Processes(0, 1, CPU)
TINY = {"width": 4, "critic_width": 4, "batch": 4}
PLAIN = TINY | {"weights.teacher": 0, "weights.au_pairs": 0}


def test_the_generator_moves_every_so_many_steps_only(small_set: Path) -> None:
    recipe = choose_recipe("pumarola", TINY | {"critic_steps": 3})
    data = TrainingSet.open(small_set)
    networks = Adversaries(recipe, 32, 0, Precision(CPU), ALONE)
    batches = Batches(data.faces("train"), data.trusted, recipe, 0, CPU)
    start = networks.generator.colour.weight.clone()
    for step in range(3):
        found = networks.step(batches.at(step), step, 1.0)
        moved = not torch.equal(start, networks.generator.colour.weight)
        assert moved == ("generator_total" in found) == (step == 2)
    # Without an average it is the generator itself.
    pairs = zip(networks.average.parameters(), networks.generator.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_every_loss_of_our_recipe_reaches_every_weight(middle_set: Path) -> None:
    recipe = choose_recipe("miex", TINY)
    data = TrainingSet.open(middle_set)
    faces = data.faces("train")
    networks = Adversaries(recipe, 64, 0, Precision(CPU), ALONE)
    batches = Batches(faces, data.trusted, recipe, 0, CPU, Teacher(faces, CPU))
    found = networks.step(batches.at(0), 0, 1.0)
    assert {"au_pairs", "teacher", "r1", "attention_saturation"} <= found.keys()
    weights, factors = recipe.weights.model_dump(), {"critic_aus": 100, "r1": 16, "critic": 1}
    terms = {name: value * (weights | factors).get(name, 0) for name, value in found.items()}
    critic = sum(terms[name] for name in ("critic", "critic_aus", "au_pairs", "r1"))
    assert found["critic_total"].item() == pytest.approx(critic.item(), rel=1e-5)
    for network in (networks.generator, networks.critic):
        assert all(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize("name", ["miex", "pumarola"])
def test_bfloat16_takes_the_same_steps_up_to_rounding(name: str, small_set: Path) -> None:
    recipe = choose_recipe(name, (PLAIN if name == "miex" else TINY) | {"critic_steps": 1})
    data = TrainingSet.open(small_set)
    batches = Batches(data.faces("train"), data.trusted, recipe, 0, CPU)
    exact, rounded = (
        Adversaries(recipe, 32, 0, Precision(CPU, bf16), ALONE).step(batches.at(0), 0, 1.0)
        for bf16 in (False, True)
    )
    assert exact.keys() == rounded.keys()
    for loss, value in rounded.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(exact[loss].item(), rel=0.1, abs=0.02), loss


def test_a_batch_depends_on_seed_step_and_rank_alone(small_set: Path) -> None:
    data = TrainingSet.open(small_set)
    faces = data.faces("train")
    recipe = choose_recipe("miex", PLAIN)
    batches = Batches(faces, data.trusted, recipe, 0, CPU)
    there = batches.at(5)
    fresh = Batches(faces, data.trusted, recipe, 0, CPU)
    again = fresh.at(5)
    assert torch.equal(there.image, again.image)
    assert torch.equal(there.condition, again.condition)
    assert there.image.is_contiguous(memory_format=torch.channels_last)
    halves = [Batches(faces, data.trusted, recipe, 0, CPU, process=(rank, 2)) for rank in range(2)]
    epoch = [batches._rows(step).tolist() for step in range(3)]
    assert sorted(row for rows in epoch for row in rows) == list(range(12))
    shared = [half._rows(1).tolist() for half in halves]
    assert shared[0] + shared[1] == epoch[1]
    with pytest.raises(ValueError, match="a batch of 4 for 3 processes"):
        Batches(faces, data.trusted, recipe, 0, CPU, process=(0, 3))


def test_mirrors_face_and_area_and_answer_alike(middle_set: Path) -> None:
    data = TrainingSet.open(middle_set)
    faces = data.faces("train")
    recipe = choose_recipe("miex", TINY | {"micro_share": 1.0, "still_share": 0.0})
    batches = Batches(faces, data.trusted, recipe, 0, CPU, Teacher(faces, CPU))
    for step in range(3):
        batch = batches.at(step)
        # A warp changes little: the answer lies closer to its face than to the mirror image.
        near = (batch.taught - batch.image).abs().mean((1, 2, 3))
        far = (batch.taught - batch.image.flip(3)).abs().mean((1, 2, 3))
        assert (near < far).all()
        outside = (batch.taught - batch.image).abs().sum(1, keepdim=True) * (1 - batch.face)
        assert outside.sum((1, 2, 3)).max() / batch.face[0].sum() < 0.01


def test_the_teacher_renders_as_warp_does(middle_set: Path) -> None:
    faces = TrainingSet.open(middle_set).faces("train")
    aus = np.random.default_rng(0).uniform(0, 2, (3, 17)).astype(np.float32)
    rows = [4, 0, 4]
    taught = Teacher(faces, CPU).render(torch.tensor(rows), torch.from_numpy(aus / 5))
    warp = WarpGenerator(CPU)
    states = [warp.prepare(_as_face(faces, row)) for row in rows]
    expected = warp.render(states, aus).astype(np.float32)
    found = ((taught + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    # Its fields are kept in half precision.
    assert np.abs(found - expected).mean() < 0.2
    assert taught.requires_grad is False
    (taught * torch.ones(1, requires_grad=True)).sum().backward()


def _as_face(faces: TrainingFaces, row: int) -> Face:
    quality = FaceQuality(0.0, 0.0, 0.0, 0.0, 0.0)
    empty = np.zeros(128, np.float32)
    image, landmarks = faces.images[row], faces.landmarks[row]
    return Face(image, landmarks, "", faces.origins[row], "", quality, empty)


def test_a_face_reaches_from_chin_to_forehead(middle_set: Path) -> None:
    faces = TrainingSet.open(middle_set).faces("train")
    areas = face_area(faces.landmarks, 64)
    for points, area in zip(faces.landmarks.round().astype(int), areas, strict=True):
        assert area[points[:, 1].clip(0, 63), points[:, 0].clip(0, 63)].all()
        assert 0.3 < area.mean() < 0.9


def test_augmentation_leaves_faces_alone_at_strength_zero() -> None:
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.uniform(-1, 1, (2, 3, 16, 16)).astype(np.float32))
    none = torch.from_numpy(draw_augmentations(2, 0.0, rng))
    torch.testing.assert_close(augment(image, none), image, atol=1e-5, rtol=0)
    bright = torch.zeros(2, 7)
    bright[:, 0] = 1
    torch.testing.assert_close(augment(image, bright), image + 0.3, atol=1e-5, rtol=0)
    right = torch.zeros(2, 7)
    right[:, 5] = 1 / (0.06 * 16)
    shifted = augment(image, right)
    torch.testing.assert_close(shifted[..., :-1], image[..., 1:], atol=1e-4, rtol=0)


def test_constant_prediction_skips_what_was_not_measured(small_set: Path) -> None:
    data = TrainingSet.open(small_set)
    faces = data.faces("train")
    constant = constant_aus(faces, data.trusted)
    column = faces.aus[:, AU_NAMES.index("AU10")]
    assert constant[AU_NAMES.index("AU10")] == pytest.approx(np.nanmean(column))
    assert np.isnan(constant[AU_NAMES.index("AU14")])
