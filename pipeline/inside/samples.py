"""The samples on which a recognizer is looked into: some of every source, always the same."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from miex.datasets.clips.base import Clip, open_clips
from miex.datasets.config import FrozenConfig
from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.device import choose_device
from miex.datasets.labels import LabelSpace
from miex.datasets.remote import is_remote, local_copy
from miex.pipeline.recognition.cache import CachedInputs, open_inputs
from miex.pipeline.recognition.clip_samples import ClipSampleConfig, clip_blocks
from miex.pipeline.recognition.recognizers.base import AnyRecognizer
from miex.pipeline.recognition.sample import Sample, SampleBlock, SampleInfo
from miex.pipeline.recognition.shard_samples import shard_blocks

OnStage = Callable[[str, int, int], None]
"""(what is being done, done, in all)."""


class InsideConfig(FrozenConfig):
    """On what a recognizer is looked into, and how closely."""

    clips: tuple[str, ...] = Field((), description="databases of real clips, NAME:PATH")
    datasets: tuple[str, ...] = Field((), description="folders or addresses of datasets")
    samples: int = Field(400, ge=5, description="of each database or dataset, at most")
    shown: int = Field(2, ge=1, le=10, description="of each class, answered rightly, and wrongly")
    layers: tuple[str, ...] = Field((), description="of Grad-CAM; the last convolutions by default")
    seed: int = Field(0, ge=0, description="of the choice of samples and of t-SNE")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    clip_samples: ClipSampleConfig = ClipSampleConfig()

    @model_validator(mode="after")
    def _something(self) -> "InsideConfig":
        if not self.clips and not self.datasets:
            raise ValueError("no samples to look at: give a database of clips or a dataset")
        return self


@dataclass(frozen=True, slots=True)
class Subset:
    """Some samples of a block; see `SampleBlock`.

    Attributes:
        block: Whose samples.
        places: Which of them, ascending.
    """

    block: SampleBlock
    places: Sequence[int]

    @property
    def content(self) -> str:
        """Hash of the block and of the places."""
        return hashlib.sha256(f"{self.block.content}/{list(self.places)}".encode()).hexdigest()

    @property
    def infos(self) -> Sequence[SampleInfo]:
        """Of the samples that are left."""
        return [self.block.infos[place] for place in self.places]

    def load(self, landmarks: bool) -> Iterator[Sample]:
        """See `SampleBlock.load`; stops behind the last of them."""
        wanted = set(self.places)
        for place, sample in enumerate(self.block.load(landmarks)):
            if place in wanted:
                yield sample
            if place >= self.places[-1]:
                return


@dataclass(frozen=True, slots=True)
class Material:
    """What a recognizer is looked into with.

    Attributes:
        inputs: Representations of the chosen samples.
        blocks: The chosen samples, to see their pixels.
        available: How many samples there were to choose from.
        left_out: Clips and samples that cannot be used.
        clips: Every clip of the databases, for their Action Units.
        datasets: The datasets.
    """

    inputs: CachedInputs
    blocks: Sequence[SampleBlock]
    available: int
    left_out: int
    clips: Sequence[Clip]
    datasets: Sequence[DatasetFolder]


def gather(
    config: InsideConfig,
    space: LabelSpace,
    recognizer: AnyRecognizer,
    cache: Path,
    on_stage: OnStage | None = None,
) -> Material:
    """Chooses samples, and computes what the recognizer sees of them.

    Args:
        config: Which sources, and how many samples of each.
        space: Of the recognizer.
        recognizer: Whose representation is computed, of the frames that it looks at.
        cache: Folder of cached representations and of copies of remote datasets.
        on_stage: Progress.

    Raises:
        ValueError: A source cannot be used, has other classes, or nothing is left of all.
        FileNotFoundError: A source is not there.
    """
    datasets = [_open(place, cache, on_stage) for place in config.datasets]
    readers = [open_clips(text) for text in config.clips]
    sources: list[Sequence[SampleBlock]] = [shard_blocks(each, space) for each in datasets]
    left_out = 0
    frames = config.clip_samples.chosen(recognizer.clip_frames)
    for reader in readers:
        report = _reporter(on_stage, f"reading {reader.name}")
        blocks, rejections = clip_blocks([reader], space, frames, on_clip=report)
        sources.append(blocks)
        left_out += len(rejections)
    chosen = [part for blocks in sources for part in draw(blocks, config.samples, config.seed)]
    inputs = open_inputs(
        chosen,
        recognizer.representation,
        cache / "representations",
        device=choose_device(config.device),
        on_progress=_reporter(on_stage, recognizer.representation.name),
    )
    if not len(inputs):
        reasons = [each.detail for each in inputs.rejections[:1]]
        names = ", ".join((*config.datasets, *config.clips))
        raise ValueError(f"{names}: no sample can be looked at ({'; '.join(reasons) or 'empty'})")
    return Material(
        inputs,
        chosen,
        sum(len(block.infos) for blocks in sources for block in blocks),
        left_out + len(inputs.rejections),
        [clip for reader in readers for clip in reader.clips()],
        datasets,
    )


def _open(place: str, cache: Path, on_stage: OnStage | None) -> DatasetFolder:
    if is_remote(place):
        copying = _reporter(on_stage, f"copying {place}")
        return DatasetFolder.open(local_copy(place, cache / "datasets", copying))
    return DatasetFolder.open(Path(place).expanduser())


def _reporter(on_stage: OnStage | None, what: str) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        if on_stage:
            on_stage(what, done, total)

    return report


def draw(blocks: Sequence[SampleBlock], count: int, seed: int) -> list[SampleBlock]:
    """Draws samples of one source, as many of each class as there are, from few of its blocks.

    Args:
        blocks: Of the source.
        count: How many samples, at most.
        seed: Of the draw.

    Returns:
        Blocks of the samples, in the order of the source; whole ones where all of it is drawn.
    """
    if sum(len(block.infos) for block in blocks) <= count:
        return list(blocks)
    rng = np.random.default_rng(seed)
    opened: list[int] = []
    # A block is decoded up to its last sample: twice as many as are needed leave a choice.
    for number in rng.permutation(len(blocks)).tolist():
        opened.append(number)
        if sum(len(blocks[each].infos) for each in opened) >= 2 * count:
            break
    places = [(number, at) for number in opened for at in range(len(blocks[number].infos))]
    labels = [blocks[number].infos[at].label for number, at in places]
    order = rng.permutation(len(places))
    drawn = [order[turn] for turn in in_turns([labels[place] for place in order], count)]
    kept: dict[int, list[int]] = {}
    for number, at in sorted(places[place] for place in drawn):
        kept.setdefault(number, []).append(at)
    return [Subset(blocks[number], which) for number, which in kept.items()]


def in_turns(kinds: Sequence[object], count: int) -> list[int]:
    """Takes one of each kind in turn, in the order given, until there are `count` or no more.

    Returns:
        Indices into `kinds`.
    """
    before: Counter[object] = Counter()
    turns = []
    for place, kind in enumerate(kinds):
        turns.append((before[kind], place))
        before[kind] += 1
    return [place for _, place in sorted(turns)[:count]]


def source_of(info: SampleInfo) -> str:
    """Where a sample comes from, in few words: ``casme2``, or ``synthesized, expert``."""
    return f"synthesized, {info.au_source}" if info.au_source else info.database


@dataclass(frozen=True, slots=True)
class Choice:
    """Samples that are shown one by one, as indices of the inputs, class by class.

    Attributes:
        right: Answered rightly.
        wrong: Answered wrongly.
    """

    right: Sequence[int]
    wrong: Sequence[int]


def choose(
    infos: Sequence[SampleInfo], scores: NDArray[np.float32], each: int, seed: int
) -> Choice:
    """Chooses a few samples of every class, right ones and wrong ones, from every source in turn.

    Drawn, not picked by their score: the surest ones would show a recognizer at its best.

    Args:
        infos: Of N samples.
        scores: ``(N, classes)``.
        each: How many right and wrong ones of each class, at most.
        seed: Of the draw.
    """
    answers = scores.argmax(1)
    order = np.random.default_rng(seed).permutation(len(infos)).tolist()
    chosen: dict[bool, list[int]] = {True: [], False: []}
    for label in range(scores.shape[1]):
        for right, found in chosen.items():
            fitting = [
                at
                for at in order
                if infos[at].label == label and bool(answers[at] == label) is right
            ]
            turns = in_turns([source_of(infos[at]) for at in fitting], each)
            found += [fitting[turn] for turn in turns]
    return Choice(chosen[True], chosen[False])


def pixels_of(material: Material, wanted: Sequence[int], landmarks: bool) -> dict[int, Sample]:
    """Decodes samples.

    Args:
        material: Where they are from.
        wanted: Indices of its inputs.
        landmarks: Whether they must come with landmarks.

    Returns:
        The samples by index.
    """
    keys = {material.inputs.infos[index].key: index for index in wanted}
    found: dict[int, Sample] = {}
    for block in material.blocks:
        last = max((at for at, info in enumerate(block.infos) if info.key in keys), default=-1)
        if last < 0:
            continue
        for at, sample in enumerate(block.load(landmarks)):
            if sample.info.key in keys:
                found[keys[sample.info.key]] = sample
            if at == last:
                break
    return found
