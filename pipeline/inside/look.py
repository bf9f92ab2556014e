"""Inspection of a trained recognizer: all pictures that apply to it, from one checkpoint."""

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
from miex.pipeline.inside.config import InsideConfig
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
from miex.pipeline.inside.grad_cam_sheet import ShownSample, mean_picture, single_picture
from miex.pipeline.inside.samples import (
    Choice,
    ChosenSamples,
    choose_samples,
    choose_shown,
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
from miex.pipeline.workers import OnStage

_IN_A_MEAN = 12
"""Number of samples per class in a mean Grad-CAM, and in total in a mean attention matrix."""


@dataclass(frozen=True, slots=True)
class Inside:
    """Result of the inspection of a recognizer.

    Attributes:
        card: Card of the checkpoint.
        sections: The pictures.
        missing: Pictures that do not apply to the recognizer, with the reason.
        answered: Number of inspected samples that were classified correctly.
        samples: Number of inspected samples by source.
        available: Number of samples from which they were drawn.
        left_out: Number of clips and samples that could not be used.
        known: Number of inspected samples that show or derive from a training subject.
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
class _Inspection:
    """Data from which the pictures are made.

    Attributes:
        recognizer: The trained recognizer.
        card: Card of the checkpoint.
        config: The config.
        chosen: The inspected samples.
        space: Label space of the recognizer.
        scores: Scores of N samples and C classes, ``float32 (N, C)``.
        device: Device of the computation.
    """

    recognizer: AnyRecognizer
    card: Card
    config: InsideConfig
    chosen: ChosenSamples
    space: LabelSpace
    scores: NDArray[np.float32]
    device: torch.device

    @property
    def choice(self) -> Choice:
        """The samples that are drawn in one row each."""
        infos = self.chosen.inputs.infos
        return choose_shown(infos, self.scores, self.config.shown, self.config.seed)

    def take(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return the inputs of some samples on the device."""
        taken = self.chosen.inputs.take(indices)
        return {name: each.to(self.device) for name, each in taken.items()}


def look_inside(
    checkpoint: Checkpoint, config: InsideConfig, cache: Path, on_stage: OnStage | None = None
) -> Inside:
    """Make all pictures that apply to a recognizer.

    Args:
        checkpoint: Checkpoint of the trained recognizer.
        config: Sources and number of samples, layers and seed.
        cache: Folder for cached representations and for copies of remote datasets.
        on_stage: Progress callback.

    Returns:
        The pictures, and the counts of the samples.

    Raises:
        ValueError: A source cannot be used or has other classes, or a layer of `config.layers` does
            not exist.
        FileNotFoundError: A source does not exist.
    """
    space = LABEL_SPACES[checkpoint.card.label_space]
    recognizer = checkpoint.create()
    chosen = choose_samples(config, space, recognizer, cache, on_stage)
    infos = chosen.inputs.infos
    device = choose_device(config.device)
    scores = predict(recognizer, chosen.inputs, range(len(infos)), device=config.device)
    inspection = _Inspection(recognizer, checkpoint.card, config, chosen, space, scores, device)
    sections: list[Section] = []
    missing: list[str] = []
    makers = (_grad_cam, _attention, _actions, _embedding, _counts)
    for number, make in enumerate(makers):
        if on_stage:
            on_stage("pictures", number, len(makers))
        made = make(inspection)
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
        int((scores.argmax(1) == chosen.inputs.labels.numpy()).sum()),
        dict(Counter(source_of(info) for info in infos)),
        chosen.available,
        chosen.left_out,
        sum(bool(info.lineage & checkpoint.card.subjects) for info in infos),
    )


def inside_pictures(inside: Inside) -> dict[str, list[tuple[str, str]]]:
    """Return the pictures in the form that `results_page.write_results_page` expects.

    Returns:
        For each heading (recognizer and kind of picture) the captions and ``data:`` addresses.
    """
    name = inside.card.recognizer
    return {
        f"{name}: {section.heading}": [(each.caption, each.address) for each in section.pictures]
        for section in inside.sections
    }


def _grad_cam(inspection: _Inspection) -> Section | str:
    if isinstance(inspection.recognizer, FittedRecognizer):
        return f"Grad-CAM: {inspection.recognizer.name} is fitted without gradients."
    # The default layers are tried first: a recognizer without feature maps is skipped, but a layer
    # that is named in the config must exist.
    try:
        grad_cam(inspection.recognizer, inspection.take([0]))
    except ValueError as error:
        return f"Grad-CAM: {error}."
    pictures = _mean_grad_cam(inspection, inspection.recognizer)
    choice = inspection.choice
    for correct, indices in ((True, choice.correct), (False, choice.incorrect)):
        if indices:
            pictures.append(_single_grad_cam(inspection, inspection.recognizer, indices, correct))
    return Section(
        "Grad-CAM",
        "Grad-CAM (Selvaraju et al., ICCV 2017) shows the regions of the input that increase the"
        " score of a class: the maps of the last convolution, weighted by the mean gradient of the"
        " score. Its resolution is that of this layer, and it shows where the evidence is, but not"
        " what it is. For networks with a weight for every position (all small networks on optical"
        " flow) the mean gradient can be misleading. HiResCAM has no such mean; where both"
        " disagree, HiResCAM is more reliable. The motion (Farneback's optical flow) is measured"
        " independently of the recognizer and shows whether the recognizer uses moving regions.",
        tuple(pictures),
    )


def _mean_grad_cam(inspection: _Inspection, recognizer: Recognizer) -> list[Picture]:
    infos = inspection.chosen.inputs.infos
    members: dict[int, list[int]] = {}
    for index in choose_shown(infos, inspection.scores, _IN_A_MEAN, inspection.config.seed).correct:
        members.setdefault(infos[index].label, []).append(index)
    if not members:
        return []
    pixels = _pixels(inspection, [index for found in members.values() for index in found])
    samples = {label: [pixels[index] for index in found] for label, found in members.items()}
    inputs = {label: inspection.take(found) for label, found in members.items()}
    layers = inspection.config.layers
    return [mean_picture(recognizer, samples, inputs, inspection.space.classes, layers)]


def _single_grad_cam(
    inspection: _Inspection, recognizer: Recognizer, indices: Sequence[int], correct: bool
) -> Picture:
    pixels = _pixels(inspection, indices)
    probabilities = torch.from_numpy(inspection.scores).softmax(1).numpy()
    shown = [
        ShownSample(
            pixels[index],
            source_of(pixels[index].info),
            int(inspection.scores[index].argmax()),
            float(probabilities[index].max()),
        )
        for index in indices
    ]
    inputs, classes = inspection.take(indices), inspection.space.classes
    layers = inspection.config.layers
    return single_picture(recognizer, shown, inputs, classes, correct=correct, layers=layers)


def _pixels(inspection: _Inspection, indices: Sequence[int]) -> dict[int, Sample]:
    return pixels_of(
        inspection.chosen, indices, inspection.recognizer.representation.needs_landmarks
    )


def _attention(inspection: _Inspection) -> Section | None:
    if not isinstance(inspection.recognizer, UAMRN):
        return None
    infos, choice = inspection.chosen.inputs.infos, inspection.choice
    first = {infos[index].label: index for index in reversed(choice.correct)}
    indices = [*(first[label] for label in sorted(first)), *choice.incorrect[:1]] or [0]
    titles = [
        f"{infos[index].emotion}: {source_of(infos[index])}, predicted"
        f" {inspection.space.classes[int(inspection.scores[index].argmax())]}"
        for index in indices
    ]
    order = (
        np.random.default_rng(inspection.config.seed).permutation(len(infos))[:_IN_A_MEAN].tolist()
    )
    picture = attention_picture(
        inspection.recognizer, inspection.take(indices), titles, inspection.take(order)
    )
    kind = inspection.recognizer.config.attention
    about = "The attention between the magnifications of a sample (figure 4 of the paper)."
    if kind == "sparse":
        about += (
            " Frames that the magnification distorted should be hashed into separate buckets and"
            " get no attention."
        )
    return Section(
        f"{kind.capitalize()} attention",
        about,
        (picture,),
    )


def _actions(inspection: _Inspection) -> Section | str | None:
    if not isinstance(inspection.recognizer, DereGrl):
        return None
    if not inspection.recognizer.config.decomposition:
        return "Actions: dere_grl was built with decomposition: false and has none."
    inputs = inspection.chosen.inputs
    inspection.recognizer.to(inspection.device).eval()
    with torch.inference_mode():
        found = inspection.recognizer.decomposition(inspection.take(range(len(inputs))))
    weights = None if found.weights is None else found.weights.cpu()
    on_cpu = Decomposition(found.features.cpu(), tuple(each.cpu() for each in found.maps), weights)
    picture = actions_picture(
        inspection.recognizer, on_cpu, inputs.labels, inspection.space.classes
    )
    return Section(
        "Actions",
        "The actions into which the network decomposes motion, and the weight of each action. If"
        " the actions of a component look alike, the network did not learn different motions.",
        (picture,),
    )


def _embedding(inspection: _Inspection) -> Section | str:
    inputs, seed = inspection.chosen.inputs, inspection.config.seed
    if len(inputs) < MIN_SAMPLES:
        return f"t-SNE: at least {MIN_SAMPLES} samples are needed, {len(inputs)} given."
    panels = [("inputs", tsne(raw_inputs(inputs), seed))]
    before = ""
    if isinstance(inspection.recognizer, Recognizer):
        fresh = untrained(inspection.card)
        assert isinstance(fresh, Recognizer)
        panels.append(
            ("features before training", tsne(features(fresh, inputs, inspection.device), seed))
        )
        trained = features(inspection.recognizer, inputs, inspection.device)
        panels.append(("features after training", tsne(trained, seed)))
        before = (
            " The features before training are those of the network initialized with the seed of"
            f" its first training; its parameters: {fresh.weights}."
        )
    picture = embedding_picture(panels, inputs.infos, inspection.space.classes)
    return Section(
        "t-SNE",
        "Samples that are close in the plane have similar features. Distances between groups and"
        " the sizes of groups have no meaning. Input images are downscaled first. Training samples"
        f" are separated more easily than other samples.{before}",
        (picture,),
    )


def _counts(inspection: _Inspection) -> Section:
    counts = count_clips(inspection.chosen.clips, inspection.space)
    counts += [each for dataset in inspection.chosen.datasets for each in count_dataset(dataset)]
    return Section(
        "Action Units",
        "The counts cover all clips and samples of the given databases and datasets, not only the"
        " inspected ones. AUs coded by annotators and AUs requested from a generator differ, so"
        " compare which AUs occur rather than how often they occur.",
        (counts_picture(counts, inspection.space.classes),),
    )
