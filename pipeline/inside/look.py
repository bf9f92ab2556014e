"""Looks inside a trained recognizer: every picture that applies to it, from one checkpoint."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miex.datasets.device import choose_device
from miex.datasets.labels import LABEL_SPACES, LabelSpace
from miex.pipeline.inside.actions import actions_picture
from miex.pipeline.inside.attention import attention_picture
from miex.pipeline.inside.canvas import Picture, Section
from miex.pipeline.inside.counts import count_clips, count_dataset, counts_picture
from miex.pipeline.inside.embedding import (
    MIN_SAMPLES,
    embedding_picture,
    features,
    raw_inputs,
    tsne,
    untrained,
)
from miex.pipeline.inside.grad_cam import grad_cam
from miex.pipeline.inside.grad_cam_sheet import Shown, mean_picture, single_picture
from miex.pipeline.inside.samples import (
    Choice,
    InsideConfig,
    Material,
    OnStage,
    choose,
    gather,
    pixels_of,
    source_of,
)
from miex.pipeline.recognition.checkpoint import Card, Checkpoint
from miex.pipeline.recognition.prediction import predict
from miex.pipeline.recognition.recognizers.base import (
    AnyRecognizer,
    FittedRecognizer,
    Recognizer,
)
from miex.pipeline.recognition.recognizers.dere_grl import Decomposition, DereGrl
from miex.pipeline.recognition.recognizers.uamrn import UAMRN
from miex.pipeline.recognition.sample import Sample

_IN_A_MEAN = 12
"""Samples of each class in a mean Grad-CAM, and of all classes in a mean attention matrix."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What was found inside a recognizer.

    Attributes:
        card: What is known of it.
        sections: Its pictures.
        missing: What does not apply to it, and why.
        answered: Of the samples that were looked at, how many it answered rightly.
        samples: How many were looked at, by source.
        available: How many there were to choose from.
        left_out: Clips and samples that could not be used.
        known: Of the samples that were looked at, how many show someone it was trained on.
    """

    card: Card
    sections: tuple[Section, ...]
    missing: tuple[str, ...]
    answered: int
    samples: Mapping[str, int]
    available: int
    left_out: int
    known: int


@dataclass(frozen=True, slots=True)
class _Look:
    """What every picture is made of.

    Attributes:
        recognizer: The trained one.
        card: What is known of it.
        config: How closely to look.
        material: The samples.
        space: Of the classes.
        scores: ``(N, C)`` of the samples.
        device: Where to compute.
    """

    recognizer: AnyRecognizer
    card: Card
    config: InsideConfig
    material: Material
    space: LabelSpace
    scores: NDArray[np.float32]
    device: torch.device

    @property
    def choice(self) -> Choice:
        """The samples that are shown one by one."""
        infos = self.material.inputs.infos
        return choose(infos, self.scores, self.config.shown, self.config.seed)

    def take(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Inputs of some samples, on the device."""
        taken = self.material.inputs.take(indices)
        return {name: each.to(self.device) for name, each in taken.items()}


def look_inside(
    checkpoint: Checkpoint, config: InsideConfig, cache: Path, on_stage: OnStage | None = None
) -> Inside:
    """Makes every picture that applies to a recognizer.

    Args:
        checkpoint: The trained recognizer.
        config: On what to look at it, and how closely.
        cache: Folder of cached representations and of copies of remote datasets.
        on_stage: Progress.

    Raises:
        ValueError: A source cannot be used, or has other classes; or a layer of `config.layers`
            does not exist.
        FileNotFoundError: A source is not there.
    """
    space = LABEL_SPACES[checkpoint.card.label_space]
    recognizer = checkpoint.create()
    material = gather(config, space, recognizer, cache, on_stage)
    infos = material.inputs.infos
    device = choose_device(config.device)
    scores = predict(recognizer, material.inputs, range(len(infos)), device=config.device)
    look = _Look(recognizer, checkpoint.card, config, material, space, scores, device)
    sections: list[Section] = []
    missing: list[str] = []
    makers = (_grad_cam, _attention, _actions, _embedding, _counts)
    for number, make in enumerate(makers):
        if on_stage:
            on_stage("pictures", number, len(makers))
        made = make(look)
        if isinstance(made, str):
            missing.append(made)
        elif made is not None:
            sections.append(made)
    if on_stage:
        on_stage("pictures", len(makers), len(makers))
    return Inside(
        checkpoint.card,
        tuple(sections),
        tuple(missing),
        int((scores.argmax(1) == material.inputs.labels.numpy()).sum()),
        dict(Counter(source_of(info) for info in infos)),
        material.available,
        material.left_out,
        sum(bool(info.lineage & checkpoint.card.subjects) for info in infos),
    )


def inside_pictures(inside: Inside) -> dict[str, list[tuple[str, str]]]:
    """The pictures as `results_page.write_results_page` takes them.

    Returns:
        For each heading (recognizer and kind of picture) captions and ``data:`` addresses.
    """
    name = inside.card.recognizer
    return {
        f"{name}: {section.heading}": [(each.caption, each.address) for each in section.pictures]
        for section in inside.sections
    }


def _grad_cam(look: _Look) -> Section | str:
    if isinstance(look.recognizer, FittedRecognizer):
        return f"Grad-CAM: {look.recognizer.name} is fitted without gradients."
    # A layer that was asked for by name must exist; only a recognizer without any is skipped.
    try:
        grad_cam(look.recognizer, look.take([0]))
    except ValueError as error:
        return f"Grad-CAM: {error}."
    pictures = _mean_grad_cam(look, look.recognizer)
    choice = look.choice
    for right, indices in ((True, choice.right), (False, choice.wrong)):
        if indices:
            pictures.append(_single_grad_cam(look, look.recognizer, indices, right))
    return Section(
        "Grad-CAM",
        "Where the input speaks for a class (Selvaraju et al., ICCV 2017): maps of the last"
        " convolution, weighted by the mean gradient of the class's score. It is as coarse as that"
        " layer is, and says where, not what. Of networks that weigh every place apart (all of the"
        " small ones on flow) the mean over places can mislead: where HiResCAM, which has no such"
        " mean, says something else, believe HiResCAM. The motion beside it is measured apart from"
        " the recognizer (Farneback): does it look where something moves?",
        tuple(pictures),
    )


def _mean_grad_cam(look: _Look, recognizer: Recognizer) -> list[Picture]:
    infos = look.material.inputs.infos
    members: dict[int, list[int]] = {}
    for index in choose(infos, look.scores, _IN_A_MEAN, look.config.seed).right:
        members.setdefault(infos[index].label, []).append(index)
    if not members:
        return []
    pixels = _pixels(look, [index for found in members.values() for index in found])
    samples = {label: [pixels[index] for index in found] for label, found in members.items()}
    inputs = {label: look.take(found) for label, found in members.items()}
    layers = look.config.layers
    return [mean_picture(recognizer, samples, inputs, look.space.classes, layers)]


def _single_grad_cam(
    look: _Look, recognizer: Recognizer, indices: Sequence[int], right: bool
) -> Picture:
    pixels = _pixels(look, indices)
    chances = torch.from_numpy(look.scores).softmax(1).numpy()
    shown = [
        Shown(
            pixels[index],
            source_of(pixels[index].info),
            int(look.scores[index].argmax()),
            float(chances[index].max()),
        )
        for index in indices
    ]
    inputs, classes = look.take(indices), look.space.classes
    layers = look.config.layers
    return single_picture(recognizer, shown, inputs, classes, right=right, layers=layers)


def _pixels(look: _Look, indices: Sequence[int]) -> dict[int, Sample]:
    return pixels_of(look.material, indices, look.recognizer.representation.needs_landmarks)


def _attention(look: _Look) -> Section | None:
    if not isinstance(look.recognizer, UAMRN):
        return None
    infos, choice = look.material.inputs.infos, look.choice
    first = {infos[index].label: index for index in reversed(choice.right)}
    indices = [*(first[label] for label in sorted(first)), *choice.wrong[:1]] or [0]
    titles = [
        f"{infos[index].emotion}: {source_of(infos[index])}, answer"
        f" {look.space.classes[int(look.scores[index].argmax())]}"
        for index in indices
    ]
    order = np.random.default_rng(look.config.seed).permutation(len(infos))[:_IN_A_MEAN].tolist()
    picture = attention_picture(look.recognizer, look.take(indices), titles, look.take(order))
    kind = look.recognizer.config.attention
    about = "Which magnification looks at which (figure 4 of the paper)."
    if kind == "sparse":
        about += (
            " Frames that magnification tore apart should hash into buckets of their own, and get"
            " no attention."
        )
    return Section(
        f"{kind.capitalize()} attention",
        about,
        (picture,),
    )


def _actions(look: _Look) -> Section | str | None:
    if not isinstance(look.recognizer, DereGrl):
        return None
    if not look.recognizer.config.decomposition:
        return "Actions: dere_grl was built without decomposition."
    inputs = look.material.inputs
    look.recognizer.to(look.device).eval()
    with torch.inference_mode():
        found = look.recognizer.decomposition(look.take(range(len(inputs))))
    weights = None if found.weights is None else found.weights.cpu()
    on_cpu = Decomposition(found.features.cpu(), tuple(each.cpu() for each in found.maps), weights)
    picture = actions_picture(look.recognizer, on_cpu, inputs.labels, look.space.classes)
    return Section(
        "Actions",
        "What the network decomposes motion into, and how much each action counts. Actions of one"
        " component that look alike have not found different motions.",
        (picture,),
    )


def _embedding(look: _Look) -> Section | str:
    inputs, seed = look.material.inputs, look.config.seed
    if len(inputs) < MIN_SAMPLES:
        return f"t-SNE: {len(inputs)} samples, at least {MIN_SAMPLES} are needed."
    panels = [("what goes in", tsne(raw_inputs(inputs), seed))]
    before = ""
    if isinstance(look.recognizer, Recognizer):
        fresh = untrained(look.card)
        assert isinstance(fresh, Recognizer)
        panels.append(
            ("features before training", tsne(features(fresh, inputs, look.device), seed))
        )
        trained = features(look.recognizer, inputs, look.device)
        panels.append(("features after training", tsne(trained, seed)))
        before = (
            f" Before training means the same network from the seed of its first training; its"
            f" parameters: {fresh.weights}."
        )
    picture = embedding_picture(panels, inputs.infos, look.space.classes)
    return Section(
        "t-SNE",
        "Neighbours in the plane are neighbours among the features; distances between groups, and"
        " their sizes, mean nothing. Images that go in are made small first. Samples that were"
        f" trained on lie apart more easily than others.{before}",
        (picture,),
    )


def _counts(look: _Look) -> Section:
    counts = count_clips(look.material.clips, look.space)
    counts += [each for dataset in look.material.datasets for each in count_dataset(dataset)]
    return Section(
        "Action Units",
        "Of everything in the databases and datasets that were given, not of the chosen samples"
        " alone. Annotators' codes and AUs that were asked for of a generator are not the same:"
        " compare which occur, less how often.",
        (counts_picture(counts, look.space.classes),),
    )
