"""Evaluation protocols: which clips, which classes, and who is held out when.

A fold holds out people, never clips, and people are keyed by (database, subject): subject 01 of
two databases is two people. Whatever was made from a held-out person in any way, a synthetic
sample with that person's Action Units or face included, is refused in that fold by `admit`.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from miex.datasets.labels import LABEL_SPACES, LabelSpace
from miex.pipeline.recognition.sample import SampleInfo, Subject, with_anyone


@dataclass(frozen=True, slots=True)
class Fold:
    """One training and one test.

    Attributes:
        name: Who is held out: ``casme2:sub01``, a database, or ``fold-1-of-3``.
        held_out: The people that are tested on.
        train: Indices of the clips to train on.
        test: Indices of the clips to test on.
    """

    name: str
    held_out: frozenset[Subject]
    train: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Protocol:
    """How an evaluation is done.

    Attributes:
        name: Short name, the key in `PROTOCOLS`.
        split: Who is held out in a fold: one subject, a share of the subjects, or a database.
        label_space: Name of the label space.
        databases: Databases that take part; any for an empty tuple.
        folds: Number of folds, for `subject_kfold` only.
        clips: Clips that the published protocol has, None where it depends on what is given.
        clip_list: `clip_list_hash` of the published list of clips, where there is one.
        citation: Where the protocol is defined.
    """

    name: str
    split: Literal["leave_one_subject_out", "subject_kfold", "leave_one_database_out"]
    label_space: str
    citation: str
    databases: tuple[str, ...] = ()
    folds: int | None = None
    clips: int | None = None
    clip_list: str | None = None

    @property
    def space(self) -> LabelSpace:
        """The label space."""
        return LABEL_SPACES[self.label_space]

    def split_folds(self, infos: Sequence[SampleInfo], seed: int = 0) -> list[Fold]:
        """Splits clips into folds.

        Args:
            infos: Real clips. Those of databases that do not take part are in no fold.
            seed: Decides who shares a fold in `subject_kfold`; nothing else.

        Returns:
            Folds in the order of their names; every clip is tested on exactly once.

        Raises:
            ValueError: Two clips with one key, a synthetic sample, a label out of range, or fewer
                subjects or databases than folds.
        """
        _require_clips(infos, self.space)
        taking_part = [
            index
            for index, info in enumerate(infos)
            if not self.databases or info.database in self.databases
        ]
        groups = self._groups(infos, taking_part, seed)
        if len(groups) < 2:
            found = ", ".join(sorted({info.database for info in infos})) or "nothing"
            raise ValueError(
                f"protocol {self.name!r} needs at least two groups of people to hold out and found"
                f" {len(groups)}; databases given: {found}, taking part:"
                f" {', '.join(self.databases) or 'any'}"
            )
        folds = []
        for name, people in sorted(groups.items()):
            test = tuple(index for index in taking_part if infos[index].person in people)
            kept, _ = admit([infos[index] for index in taking_part], people)
            folds.append(Fold(name, people, tuple(taking_part[place] for place in kept), test))
        return folds

    def _groups(
        self, infos: Sequence[SampleInfo], indices: Sequence[int], seed: int
    ) -> dict[str, frozenset[Subject]]:
        clips = Counter(infos[index].person for index in indices)
        if self.split == "leave_one_subject_out":
            return {
                f"{database}:{subject}": frozenset({(database, subject)})
                for database, subject in clips
            }
        if self.split == "leave_one_database_out":
            databases = {database for database, _ in clips}
            return {
                database: frozenset(person for person in clips if person[0] == database)
                for database in databases
            }
        assert self.folds is not None
        if len(clips) < self.folds:
            raise ValueError(
                f"protocol {self.name!r} has {self.folds} folds, but only {len(clips)} subjects"
                " are given"
            )
        # The largest first, each to the fold that has fewest clips so far: folds of like size.
        named = sorted(clips)
        drawn = [named[place] for place in np.random.default_rng(seed).permutation(len(named))]
        order = sorted(drawn, key=lambda person: -clips[person])
        people: list[set[Subject]] = [set() for _ in range(self.folds)]
        sizes = [0] * self.folds
        for person in order:
            smallest = sizes.index(min(sizes))
            people[smallest].add(person)
            sizes[smallest] += clips[person]
        return {
            f"fold-{number}-of-{self.folds}": frozenset(each)
            for number, each in enumerate(people, 1)
        }


def _require_clips(infos: Sequence[SampleInfo], space: LabelSpace) -> None:
    keys = Counter(info.key for info in infos)
    twice = sorted(key for key, count in keys.items() if count > 1)
    if twice:
        raise ValueError(
            f"{twice[0]} is given {keys[twice[0]]} times ({len(twice)} such clips): each clip is"
            " tested on once; open each database once"
        )
    for info in infos:
        if info.au_source is not None:
            raise ValueError(f"{info.key} is synthesized; only real clips are tested on")
        if not 0 <= info.label < len(space.classes):
            raise ValueError(
                f"{info.key} has label {info.label}, expected 0 to {len(space.classes) - 1}"
                f" ({space.name})"
            )
        if info.person not in info.lineage:
            raise ValueError(f"{info.key}: its lineage lacks the person who is shown")


def admit(infos: Sequence[SampleInfo], held_out: Iterable[Subject]) -> tuple[list[int], list[int]]:
    """Parts samples into those that may be trained on and those that are refused.

    Args:
        infos: Real or synthetic samples.
        held_out: The people that are tested on.

    Returns:
        Indices of the samples in whose lineage no held-out person is, and of the others.
    """
    people = with_anyone(held_out)
    kept: list[int] = []
    refused: list[int] = []
    for index, info in enumerate(infos):
        (kept if info.lineage.isdisjoint(people) else refused).append(index)
    return kept, refused


def require_disjoint(training: Iterable[SampleInfo], held_out: Iterable[Subject]) -> None:
    """The last guard before training: nothing of a held-out person is in it.

    Raises:
        ValueError: Something is; it is named.
    """
    people = with_anyone(held_out)
    for info in training:
        shared = info.lineage & people
        if shared:
            database, subject = sorted(shared)[0]
            raise ValueError(
                f"leak: {info.key} would be trained on, and {database}:{subject} of its lineage is"
                " tested on; part the samples with miex.pipeline.recognition.protocols.admit"
            )


def inner_split(
    infos: Sequence[SampleInfo], indices: Sequence[int], share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Parts training clips by people, to choose an epoch without looking at the test.

    Args:
        infos: All clips.
        indices: The training clips of a fold.
        share: Share of the people that is set aside for choosing.
        seed: Decides who.

    Returns:
        Indices to train on and indices to choose by; no person is in both.

    Raises:
        ValueError: Fewer than two people.
    """
    people = sorted({infos[index].person for index in indices})
    if len(people) < 2:
        raise ValueError("an epoch can only be chosen on clips of at least two people")
    count = min(max(1, round(share * len(people))), len(people) - 1)
    chosen = np.random.default_rng(seed).permutation(len(people))[:count]
    aside = {people[index] for index in chosen}
    return (
        [index for index in indices if infos[index].lineage.isdisjoint(aside)],
        [index for index in indices if infos[index].person in aside],
    )


def clip_list_hash(infos: Iterable[SampleInfo]) -> str:
    """Identifies what was evaluated on: which clips, with which labels. In any order.

    Two results are comparable only if theirs are equal: published "CASME II" results are on 145,
    147, 156, 246, 247 or 255 clips.
    """
    lines = sorted(f"{info.key}\t{info.label}\n" for info in infos)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


_MEGC = (
    "See et al., MEGC 2019 - The Second Facial Micro-Expressions Grand Challenge, FG 2019:"
    " composite database evaluation, leave one subject out, counts pooled over all folds"
)
MEGC2019_CLIPS = "97871c6e398f27a70a2b2ba5450e3eb11835f7593970bd05f39e535053a32ac4"
"""`clip_list_hash` of the challenge's `combined_3class_gt.csv`, subjects and clips named as in
their own databases."""

_MIEX = (
    "Liu et al., How to Synthesize a Large-Scale and Trainable Micro-Expression Dataset?,"
    " ECCV 2022, section 5: subject-wise folds, the last epoch, mean of three runs"
)
_FIVE = (
    "leave one subject out on five classes, as usual since Davison et al. 2018 and Yan et al. 2014"
)

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "megc2019",
            "leave_one_subject_out",
            "three_class",
            _MEGC,
            ("casme2", "smic", "samm"),
            clips=442,
            clip_list=MEGC2019_CLIPS,
        ),
        Protocol("casme2", "leave_one_subject_out", "casme2_5class", _FIVE, ("casme2",)),
        Protocol("samm", "leave_one_subject_out", "samm_5class", _FIVE, ("samm",)),
        Protocol(
            "smic",
            "leave_one_subject_out",
            "three_class",
            "leave one subject out on the three classes of Li et al., FG 2013",
            ("smic",),
            clips=164,
        ),
        Protocol(
            "compmie_3fold",
            "subject_kfold",
            "three_class",
            _MIEX,
            ("casme2", "smic", "samm"),
            folds=3,
            clips=442,
            clip_list=MEGC2019_CLIPS,
        ),
        Protocol("mmew_5fold", "subject_kfold", "mmew_6class", _MIEX, ("mmew",), folds=5),
        Protocol("samm_5fold", "subject_kfold", "samm_basic_5class", _MIEX, ("samm",), folds=5),
        Protocol(
            "mmew",
            "leave_one_subject_out",
            "mmew_6class",
            "leave one subject out on the six classes of Ben et al. 2022",
            ("mmew",),
        ),
        Protocol(
            "casme3",
            "leave_one_subject_out",
            "casme3_7class",
            "leave one subject out on the seven classes of Li et al. 2023",
            ("casme3",),
        ),
        Protocol(
            "cross_database",
            "leave_one_database_out",
            "three_class",
            "leave one database out; in the spirit of Varanka et al. 2023 (CD6ME), on emotions",
        ),
        Protocol(
            "loso",
            "leave_one_subject_out",
            "three_class",
            "leave one subject out on whatever is given",
        ),
        Protocol(
            "kfold",
            "subject_kfold",
            "three_class",
            "subject-wise five folds on whatever is given",
            folds=5,
        ),
    )
}
"""Every protocol by name."""


def find_protocol(name: str) -> Protocol:
    """A protocol by name.

    Raises:
        ValueError: There is none; the message lists those that there are.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"no protocol is called {name!r}; there are: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
