"""Choice of the samples on which a recognizer is inspected; equal seeds give equal samples."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from miex.datasets.clips.base import Clip, open_clips
from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.device import choose_device
from miex.datasets.labels import LabelSpace
from miex.datasets.remote import is_remote, local_copy
from miex.pipeline.inside.config import InsideConfig
from miex.pipeline.recognition.cache import CachedInputs, open_inputs
from miex.pipeline.recognition.clip_samples import clip_blocks
from miex.pipeline.recognition.recognizers.base import AnyRecognizer
from miex.pipeline.recognition.sample import Sample, SampleBlock, SampleInfo
from miex.pipeline.recognition.shard_samples import shard_blocks
from miex.pipeline.workers import OnStage, stage_reporter


@dataclass(frozen=True, slots=True)
class _Subset:
    """Some samples of a block; see `SampleBlock`.

    Attributes:
        block: The block.
        places: Indices of the samples in the block, ascending.
    """

    block: SampleBlock
    places: Sequence[int]

    @property
    def content(self) -> str:
        """SHA-256 of the content of the block and of the indices, hexadecimal."""
        return hashlib.sha256(f"{self.block.content}/{list(self.places)}".encode()).hexdigest()

    @property
    def infos(self) -> Sequence[SampleInfo]:
        """Descriptions of the samples."""
        return [self.block.infos[place] for place in self.places]

    def load(self, landmarks: bool) -> Iterator[Sample]:
        """Yield the samples, see `SampleBlock.load`; decoding stops after the last one."""
        wanted = set(self.places)
        for place, sample in enumerate(self.block.load(landmarks)):
            if place in wanted:
                yield sample
            if place >= self.places[-1]:
                return


@dataclass(frozen=True, slots=True)
class ChosenSamples:
    """The samples on which a recognizer is inspected, and their sources.

    Attributes:
        inputs: Representations of the chosen samples.
        blocks: Blocks of the chosen samples, from which their frames are decoded.
        available: Number of samples from which they were drawn.
        left_out: Number of clips and samples that cannot be used.
        clips: All clips of the databases, for the counts of Action Units.
        datasets: The synthetic datasets.
    """

    inputs: CachedInputs
    blocks: Sequence[SampleBlock]
    available: int
    left_out: int
    clips: Sequence[Clip]
    datasets: Sequence[DatasetFolder]


def choose_samples(
    config: InsideConfig,
    space: LabelSpace,
    recognizer: AnyRecognizer,
    cache: Path,
    on_stage: OnStage | None = None,
) -> ChosenSamples:
    """Draw samples from every source and compute the inputs of the recognizer for them.

    Args:
        config: Sources, and number of samples per source.
        space: Label space of the recognizer.
        recognizer: The recognizer, which determines the representation and the frames of a clip.
        cache: Folder for cached representations and for copies of remote datasets.
        on_stage: Progress callback.

    Raises:
        ValueError: A source cannot be used or has other classes, or no sample can be used.
        FileNotFoundError: A source does not exist.
    """
    datasets = [_open(place, cache, on_stage) for place in config.datasets]
    readers = [open_clips(text) for text in config.clips]
    sources: list[Sequence[SampleBlock]] = [shard_blocks(each, space) for each in datasets]
    left_out = 0
    frames = config.clip_samples.chosen(recognizer.clip_frames)
    for reader in readers:
        report = stage_reporter(on_stage, f"reading {reader.name}")
        blocks, rejections = clip_blocks([reader], space, frames, on_clip=report)
        sources.append(blocks)
        left_out += len(rejections)
    chosen = [
        part for blocks in sources for part in draw_samples(blocks, config.samples, config.seed)
    ]
    inputs = open_inputs(
        chosen,
        recognizer.representation,
        cache / "representations",
        device=choose_device(config.device),
        on_progress=stage_reporter(on_stage, recognizer.representation.name),
    )
    if not len(inputs):
        reasons = [each.detail for each in inputs.rejections[:1]]
        names = ", ".join((*config.datasets, *config.clips))
        raise ValueError(f"{names}: no sample can be used ({'; '.join(reasons) or 'empty'})")
    return ChosenSamples(
        inputs,
        chosen,
        sum(len(block.infos) for blocks in sources for block in blocks),
        left_out + len(inputs.rejections),
        [clip for reader in readers for clip in reader.clips()],
        datasets,
    )


def _open(place: str, cache: Path, on_stage: OnStage | None) -> DatasetFolder:
    if is_remote(place):
        copying = stage_reporter(on_stage, f"copying {place}")
        return DatasetFolder.open(local_copy(place, cache / "datasets", copying))
    return DatasetFolder.open(Path(place).expanduser())


def draw_samples(blocks: Sequence[SampleBlock], count: int, seed: int) -> list[SampleBlock]:
    """Draw samples of one source, balanced over the classes, from few of its blocks.

    Args:
        blocks: All blocks of the source.
        count: Largest number of samples.
        seed: Seed of the draw.

    Returns:
        Blocks of the drawn samples, in the order of the source; the given blocks if they hold at
        most `count` samples.
    """
    if sum(len(block.infos) for block in blocks) <= count:
        return list(blocks)
    rng = np.random.default_rng(seed)
    opened: list[int] = []
    # Decoding a block takes time, so that only blocks with twice the needed samples are opened.
    for number in rng.permutation(len(blocks)).tolist():
        opened.append(number)
        if sum(len(blocks[each].infos) for each in opened) >= 2 * count:
            break
    places = [(number, at) for number in opened for at in range(len(blocks[number].infos))]
    labels = [blocks[number].infos[at].label for number, at in places]
    order = rng.permutation(len(places))
    drawn = [order[turn] for turn in round_robin([labels[place] for place in order], count)]
    kept: dict[int, list[int]] = {}
    for number, at in sorted(places[place] for place in drawn):
        kept.setdefault(number, []).append(at)
    return [_Subset(blocks[number], which) for number, which in kept.items()]


def round_robin(kinds: Sequence[object], count: int) -> list[int]:
    """Select up to `count` items by taking one item of each kind in turn.

    Args:
        kinds: Kind of each item.
        count: Largest number of items.

    Returns:
        Indices of the selected items; the first items of all kinds come first.
    """
    before: Counter[object] = Counter()
    turns = []
    for place, kind in enumerate(kinds):
        turns.append((before[kind], place))
        before[kind] += 1
    return [place for _, place in sorted(turns)[:count]]


def source_of(info: SampleInfo) -> str:
    """Return the source of a sample, such as ``casme2`` or ``synthesized, expert``."""
    return f"synthesized, {info.au_source}" if info.au_source else info.database


@dataclass(frozen=True, slots=True)
class Choice:
    """Samples that are drawn in one row each, as indices of the inputs, class by class.

    Attributes:
        correct: Samples that were classified correctly.
        incorrect: Samples that were classified incorrectly.
    """

    correct: Sequence[int]
    incorrect: Sequence[int]


def choose_shown(
    infos: Sequence[SampleInfo], scores: NDArray[np.float32], each: int, seed: int
) -> Choice:
    """Draw correctly and incorrectly classified samples of every class, from all sources in turn.

    The samples are drawn at random, since those with the highest scores would not be
    representative.

    Args:
        infos: Descriptions of N samples.
        scores: Scores of the classes, ``float32 (N, C)``.
        each: Largest number of correct and of incorrect samples per class.
        seed: Seed of the draw.
    """
    answers = scores.argmax(1)
    order = np.random.default_rng(seed).permutation(len(infos)).tolist()
    chosen: dict[bool, list[int]] = {True: [], False: []}
    for label in range(scores.shape[1]):
        for correct, found in chosen.items():
            fitting = [
                at
                for at in order
                if infos[at].label == label and bool(answers[at] == label) is correct
            ]
            turns = round_robin([source_of(infos[at]) for at in fitting], each)
            found += [fitting[turn] for turn in turns]
    return Choice(chosen[True], chosen[False])


def pixels_of(samples: ChosenSamples, wanted: Sequence[int], landmarks: bool) -> dict[int, Sample]:
    """Decode the frames of samples.

    Args:
        samples: The chosen samples.
        wanted: Indices of the samples to decode.
        landmarks: Whether the samples must have landmarks.

    Returns:
        The decoded samples by index.
    """
    keys = {samples.inputs.infos[index].key: index for index in wanted}
    found: dict[int, Sample] = {}
    for block in samples.blocks:
        last = max((at for at, info in enumerate(block.infos) if info.key in keys), default=-1)
        if last < 0:
            continue
        for at, sample in enumerate(block.load(landmarks)):
            if sample.info.key in keys:
                found[keys[sample.info.key]] = sample
            if at == last:
                break
    return found
