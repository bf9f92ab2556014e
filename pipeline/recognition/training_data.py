"""Decide what a fold trains on: its clips, others that are never tested, synthesized samples."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from miex.pipeline.recognition.cache import CachedInputs
from miex.pipeline.recognition.evaluation_config import EvaluationConfig, Material
from miex.pipeline.recognition.held_out import admit, require_disjoint
from miex.pipeline.recognition.protocols import Fold
from miex.pipeline.recognition.sample import Subject
from miex.pipeline.recognition.training import Data


@dataclass(frozen=True, slots=True)
class Refused:
    """Samples that a fold refuses, as they descend from the people that it tests.

    Attributes:
        synthetic: Synthesized samples.
        clips: Real clips to pretrain on, or to train on with those of the fold.
    """

    synthetic: int = 0
    clips: int = 0


def count_refused(inputs: CachedInputs, refused: Sequence[int]) -> Refused:
    """Count the synthesized samples and the real clips among those that a fold refuses."""
    clips = sum(inputs.infos[index].au_source is None for index in refused)
    return Refused(len(refused) - clips, clips)


def admitted(
    synthetic: CachedInputs, held_out: Iterable[tuple[str, str]]
) -> tuple[list[int], list[int]]:
    """Return the samples that a fold may see and draws, and those that it refuses.

    Raises:
        ValueError: None is left.
    """
    allowed, refused = admit(synthetic.infos, held_out)
    kept = [index for index in allowed if synthetic.infos[index].weight > 0]
    if not kept and len(allowed):
        raise ValueError("every synthetic sample has weight 0; give one AU source a weight")
    if not kept:
        raise ValueError(
            f"all {len(refused)} samples to pretrain on descend from people who are tested on; "
            "synthesize with AU sources of other databases, or expert tables, or give clips of "
            "other people"
        )
    return kept, list(refused)


def with_training_clips(
    config: EvaluationConfig,
    material: Material,
    fold: Fold,
    indices: Sequence[int],
    aside: Iterable[Subject] = (),
) -> Data:
    """Return clips of a fold, and the clips that are only trained on.

    Args:
        config: Its protocol names the data.
        material: What to train on.
        fold: Its people are refused.
        indices: Clips of the fold.
        aside: People by whom an epoch is chosen; they are refused likewise.
    """
    clips, others = material.clips, material.training_clips
    if others is None:
        return Data(clips, indices, config.protocol)
    kept = training_only(material, {*fold.held_out, *aside})
    both = clips.joined(others)
    everything = [*indices, *(len(clips) + index for index in kept)]
    require_disjoint((both.infos[index] for index in everything), fold.held_out)
    return Data(both, everything, f"{config.protocol}, {material.training_name}")


def training_only(material: Material, people: Iterable[Subject]) -> list[int]:
    """Return the clips that are only trained on, without some people and without tested clips."""
    assert material.training_clips is not None
    known = {info.key for info in material.clips.infos}
    infos = material.training_clips.infos
    kept, _ = admit(infos, people)
    return [index for index in kept if infos[index].key not in known]


def finetuning_data(
    config: EvaluationConfig,
    material: Material,
    fold: Fold,
    indices: Sequence[int],
    aside: Iterable[Subject],
) -> Data:
    """Return the fold's clips, and the synthetic samples that it may see where they are mixed in.

    An epoch has as many draws as there are clips divided by their share, so that each clip is
    drawn once an epoch on the average, whatever is mixed in.
    """
    clips = with_training_clips(config, material, fold, indices, aside)
    synthetic, share = material.synthetic, config.mixing
    if not share or synthetic is None:
        return clips
    kept, _ = admitted(synthetic, fold.held_out)
    together = clips.inputs.joined(synthetic)
    both = [*clips.indices, *(len(clips.inputs) + index for index in kept)]
    require_disjoint((together.infos[index] for index in both), fold.held_out)
    name = f"{clips.name}, {material.synthetic_name}"
    return Data(together, both, name, share, round(len(clips.indices) / (1 - share)))
