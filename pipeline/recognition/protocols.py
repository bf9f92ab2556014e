"""Evaluation protocols: clips, classes and folds.

A fold holds out people, never clips, and people are identified by (database, subject): subject 01
of two databases is two people. Every sample that was made from a held-out person, also a synthetic
sample with the Action Units or the face of that person, is refused in that fold by `admit`.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from miex.datasets.labels import LABEL_SPACES, LabelSpace
from miex.pipeline.recognition.held_out import admit
from miex.pipeline.recognition.published_folds import Match, load_fold_list, match_clips
from miex.pipeline.recognition.sample import SampleInfo, Subject


@dataclass(frozen=True, slots=True)
class Fold:
    """Fold of a protocol.

    Attributes:
        name: Name of the held-out group: ``casme2:sub01``, a database, or ``fold-1-of-3``.
        held_out: The held-out people.
        train: Indices of the training clips.
        test: Indices of the test clips.
    """

    name: str
    held_out: frozenset[Subject]
    train: tuple[int, ...]
    test: tuple[int, ...]


FoldSource = Literal["auto", "published", "seeded"]
"""Who shares a fold: as the authors published it where the clips are theirs; as they published it
or not at all; or as a seed decides."""


@dataclass(frozen=True, slots=True)
class Split:
    """Clips in folds.

    Attributes:
        folds: In the order of their names.
        left_out: Indices of clips in no fold, because a published list of folds lacks them.
        about: How the folds were made, and every difference from a published list, for the result.
    """

    folds: list[Fold]
    left_out: tuple[int, ...]
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Protocol:
    """Protocol of an evaluation.

    Attributes:
        name: Short name, the key in `PROTOCOLS`.
        split_by: Held-out group of a fold: one subject, a share of the subjects, or a database.
        label_space: Name of the label space.
        databases: Databases of the protocol; empty for any.
        folds: Number of folds, for `subject_kfold` only.
        clips: Number of clips of the published protocol; None if it depends on the given data.
        clips_in_paper: Clips that the publication says, where its authors' list has others.
        clip_list: `clip_list_hash` of the published list of clips, where there is one.
        fold_list: Whether the authors published who is tested in which fold
            (`published_folds.load_fold_list`).
        citation: Source of the protocol.
    """

    name: str
    split_by: Literal["leave_one_subject_out", "subject_kfold", "leave_one_database_out"]
    label_space: str
    citation: str
    databases: tuple[str, ...] = ()
    folds: int | None = None
    clips: int | None = None
    clips_in_paper: int | None = None
    clip_list: str | None = None
    fold_list: bool = False

    @property
    def space(self) -> LabelSpace:
        """Label space of the protocol."""
        return LABEL_SPACES[self.label_space]

    def split_folds(
        self, infos: Sequence[SampleInfo], seed: int = 0, source: FoldSource = "auto"
    ) -> list[Fold]:
        """Return the folds of `split`."""
        return self.split(infos, seed, source).folds

    def split(
        self, infos: Sequence[SampleInfo], seed: int = 0, source: FoldSource = "auto"
    ) -> Split:
        """Split clips into folds.

        Args:
            infos: Real clips. Those of databases that do not take part are in no fold.
            seed: Decides who shares a fold in `subject_kfold` without a published list.
            source: Whether a published list of folds is used, of protocols that have one.
                ``auto`` uses it if it has more than half of the clips, of at least two folds.

        Returns:
            Folds in the order of their names. Every clip is tested on exactly once, except those
            that a published list does not have.

        Raises:
            ValueError: Two clips with one key, a synthetic sample, a label out of range, fewer
                subjects or databases than folds, or a published list that does not fit.
        """
        _require_clips(infos, self.space)
        taking_part = [
            index
            for index, info in enumerate(infos)
            if not self.databases or info.database in self.databases
        ]
        why = None
        if source == "published" and not self.fold_list:
            raise ValueError(
                f"folds=published: nobody published folds of {self.name!r}; leave it out"
            )
        if self.fold_list and source != "seeded":
            listed = load_fold_list(self.name)
            match = match_clips(listed, infos, taking_part)
            why = _unfit(match, len(taking_part))
            if why is None:
                groups = _listed_groups(match, infos, listed.count)
                folds = _folds(groups, infos, list(match.folds))
                return Split(folds, match.left_out, match.about(listed, infos))
            if source == "published":
                raise ValueError(
                    f"{self.name}: {why} ({listed.citation}, {len(listed.fold_of)} clips, the first"
                    f" missing one is {match.missing[0]}); folds=seeded draws who shares a fold"
                )
        groups = self._groups(infos, taking_part, seed)
        if len(groups) < 2:
            found = ", ".join(sorted({info.database for info in infos})) or "nothing"
            raise ValueError(
                f"protocol {self.name!r} needs at least two groups of people to hold out and found"
                f" {len(groups)}; databases given: {found}, taking part:"
                f" {', '.join(self.databases) or 'any'}"
            )
        about: dict[str, Any] = {"by": self.split_by}
        if self.split_by == "subject_kfold":
            about = {"by": "seed", "seed": seed} | ({"why": why} if why else {})
        return Split(_folds(groups, infos, taking_part), (), about)

    def _groups(
        self, infos: Sequence[SampleInfo], indices: Sequence[int], seed: int
    ) -> dict[str, frozenset[Subject]]:
        clips = Counter(infos[index].person for index in indices)
        if self.split_by == "leave_one_subject_out":
            return {
                f"{database}:{subject}": frozenset({(database, subject)})
                for database, subject in clips
            }
        if self.split_by == "leave_one_database_out":
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


def _unfit(match: Match, clips: int) -> str | None:
    """Return why the given clips are not split by a published list; None if they are."""
    if 2 * len(match.folds) <= clips:
        return f"the published list of folds has {len(match.folds)} of the {clips} clips"
    if len(set(match.folds.values())) < 2:
        return "all clips that are given are of one fold of the published list"
    return None


def _listed_groups(
    match: Match, infos: Sequence[SampleInfo], count: int
) -> dict[str, frozenset[Subject]]:
    people: dict[str, set[Subject]] = {}
    for index, number in match.folds.items():
        people.setdefault(f"fold-{number}-of-{count}", set()).add(infos[index].person)
    return {name: frozenset(each) for name, each in people.items()}


def _folds(
    groups: Mapping[str, frozenset[Subject]], infos: Sequence[SampleInfo], indices: Sequence[int]
) -> list[Fold]:
    folds = []
    for name, people in sorted(groups.items()):
        test = tuple(index for index in indices if infos[index].person in people)
        kept, _ = admit([infos[index] for index in indices], people)
        folds.append(Fold(name, people, tuple(indices[place] for place in kept), test))
    return folds


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


def clip_list_hash(infos: Iterable[SampleInfo]) -> str:
    """Return a hash of the evaluated clips and their labels, in any order.

    Two results are comparable only if their hashes are equal: published "CASME II" results are on
    145, 147, 156, 246, 247 or 255 clips.
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

_MMEW_CLIPS = "6a24b12d187fccf7274394615a2411d7fcd86f3b9fa420ccd083acd31321390d"
_SAMM_CLIPS = "1867a1e931f0a2ae53ed3e511fd45a3d172f0216ac3ff38567fc618783beab73"
"""`clip_list_hash` of the clips and labels in the lists of folds of MiE-X
(liuyvchi/MiE-X@15705f3)."""

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
            fold_list=True,
        ),
        Protocol(
            "mmew_5fold",
            "subject_kfold",
            "mmew_6class",
            _MIEX,
            ("mmew",),
            folds=5,
            clips=234,
            clip_list=_MMEW_CLIPS,
            fold_list=True,
        ),
        Protocol(
            "samm_5fold",
            "subject_kfold",
            "samm_basic_5class",
            f"{_MIEX}; the paper says 72 clips, the authors' list has 115",
            ("samm",),
            folds=5,
            clips=115,
            clips_in_paper=72,
            clip_list=_SAMM_CLIPS,
            fold_list=True,
        ),
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
            "leave one subject out on the given clips",
        ),
        Protocol(
            "kfold",
            "subject_kfold",
            "three_class",
            "five folds by subject on the given clips",
            folds=5,
        ),
    )
}
"""Protocols by name."""


def find_protocol(name: str) -> Protocol:
    """Return a protocol by name.

    Raises:
        ValueError: There is no such protocol; the message lists all.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"no protocol is called {name!r}; there are: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
