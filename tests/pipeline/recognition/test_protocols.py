from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from miex.datasets.micro.megc2019 import read_list
from miex.pipeline.recognition.held_out import admit, inner_split, require_disjoint
from miex.pipeline.recognition.protocols import (
    MEGC2019_CLIPS,
    PROTOCOLS,
    clip_list_hash,
    find_protocol,
)
from miex.pipeline.recognition.sample import SampleInfo


def clip(database: str, subject: str, name: str, label: int = 0) -> SampleInfo:
    return SampleInfo(
        key=f"{database}:{subject}/{name}",
        label=label,
        emotion=("negative", "positive", "surprise")[label],
        database=database,
        subject=subject,
        lineage=frozenset({(database, subject)}),
        apex_rule="annotated",
    )


def synthetic(number: int, *lineage: tuple[str, str]) -> SampleInfo:
    return SampleInfo(
        key=f"miex/{number}",
        label=0,
        emotion="negative",
        database="miex",
        subject="someone",
        lineage=frozenset({("folder", "someone"), *lineage}),
        apex_rule="synthesized",
        au_source="real_mie",
    )


@pytest.fixture
def clips() -> Sequence[SampleInfo]:
    """Three databases; all of them have a subject 01."""
    return [
        clip(database, f"{subject:02d}", f"c{number}", number % 3)
        for database in ("casme2", "smic", "samm")
        for subject in range(1, 6)
        for number in range(subject)
    ]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_person_is_trained_and_tested_on(name: str, clips: Sequence[SampleInfo]) -> None:
    protocol = PROTOCOLS[name]
    if protocol.databases and not set(protocol.databases) & {"casme2", "smic", "samm"}:
        clips = [
            replace(
                info,
                database=protocol.databases[0],
                key=f"{info.database}-{info.key}",
                lineage=frozenset({(protocol.databases[0], info.subject)}),
            )
            for info in clips
        ]
    folds = protocol.split_folds(clips)
    tested = Counter(index for fold in folds for index in fold.test)
    taking_part = [
        index
        for index, info in enumerate(clips)
        if not protocol.databases or info.database in protocol.databases
    ]
    assert tested == Counter(taking_part)
    for fold in folds:
        assert fold.train
        assert {clips[i].person for i in fold.test} == fold.held_out
        assert not {clips[i].person for i in fold.train} & fold.held_out
        assert set(fold.train) | set(fold.test) == set(taking_part)


def test_subjects_of_two_databases_are_two_people(clips: Sequence[SampleInfo]) -> None:
    folds = find_protocol("megc2019").split_folds(clips)
    assert len(folds) == 15
    fold = next(fold for fold in folds if fold.name == "casme2:01")
    assert [clips[i].key for i in fold.test] == ["casme2:01/c0"]
    assert any(clips[i].person == ("samm", "01") for i in fold.train)


def test_kfold_is_even_and_depends_on_the_seed_alone(clips: Sequence[SampleInfo]) -> None:
    protocol = find_protocol("compmie_3fold")
    folds = protocol.split_folds(clips, seed=0)
    assert [fold.name for fold in folds] == [f"fold-{n}-of-3" for n in (1, 2, 3)]
    assert max(len(f.test) for f in folds) - min(len(f.test) for f in folds) <= 2
    shuffled = list(reversed(clips))
    again = protocol.split_folds(shuffled, seed=0)
    assert [fold.held_out for fold in again] == [fold.held_out for fold in folds]
    other = protocol.split_folds(clips, seed=1)
    assert {fold.held_out for fold in other} != {fold.held_out for fold in folds}


def test_leave_one_database_out(clips: Sequence[SampleInfo]) -> None:
    folds = find_protocol("cross_database").split_folds(clips)
    assert [fold.name for fold in folds] == ["casme2", "samm", "smic"]
    assert {clips[i].database for i in folds[0].train} == {"samm", "smic"}


def test_synthetic_samples_of_held_out_people_are_refused() -> None:
    """Pitfall 5: Action Units, or the face, of a test subject."""
    samples = [
        synthetic(0),
        synthetic(1, ("casme2", "sub01")),
        synthetic(2, ("samm", "sub01")),
        replace(synthetic(3), lineage=frozenset({("casme2", "sub01")})),
    ]
    kept, refused = admit(samples, {("casme2", "sub01")})
    assert kept == [0, 2]
    assert refused == [1, 3]
    require_disjoint([samples[0], samples[2]], {("casme2", "sub01")})
    with pytest.raises(ValueError, match=r"leak: miex/1 would be trained on, and casme2:sub01"):
        require_disjoint(samples, {("casme2", "sub01")})


def test_the_inner_split_parts_people(clips: Sequence[SampleInfo]) -> None:
    """Pitfall 1: an epoch is chosen on people who are neither trained nor tested on."""
    fold = find_protocol("megc2019").split_folds(clips)[0]
    train, choose = inner_split(clips, fold.train, 0.2, seed=0)
    assert sorted(train + choose) == sorted(fold.train)
    assert not {clips[i].person for i in train} & {clips[i].person for i in choose}
    assert len({clips[i].person for i in choose}) == 3
    with pytest.raises(ValueError, match="at least two people"):
        inner_split(clips, fold.test, 0.2, seed=0)


@pytest.mark.parametrize(
    ("infos", "message"),
    [
        ([clip("samm", "01", "a"), clip("samm", "01", "a")], "samm:01/a is given 2 times"),
        ([clip("samm", "01", "a"), synthetic(0)], "miex/0 is synthesized; only real clips"),
        ([replace(clip("samm", "01", "a"), label=3)], "has label 3, expected 0 to 2"),
        ([replace(clip("samm", "01", "a"), lineage=frozenset())], "lacks the person"),
        ([clip("samm", "01", "a")], "at least two groups of people to hold out and found 1"),
    ],
)
def test_wrong_clips(infos: list[SampleInfo], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_protocol("megc2019").split_folds(infos)


def test_too_few_subjects_for_the_folds() -> None:
    with pytest.raises(ValueError, match="has 5 folds, but only 3 subjects"):
        find_protocol("kfold").split_folds([clip("x", str(n), "a") for n in range(3)])


def test_the_clip_list_is_hashed_with_its_labels(clips: Sequence[SampleInfo]) -> None:
    """Pitfall 3: results on other clips or classes are other results."""
    assert clip_list_hash(clips) == clip_list_hash(list(reversed(clips)))
    assert clip_list_hash(clips[1:]) != clip_list_hash(clips)
    relabelled = [replace(clips[0], label=2), *clips[1:]]
    assert clip_list_hash(relabelled) != clip_list_hash(clips)


def test_the_challenges_list(shared: Path) -> None:
    listed = read_list(shared / "data" / "megc2019" / "combined_3class_gt.csv")
    infos = [clip(each.database, each.subject, each.clip, each.label) for each in listed]
    assert clip_list_hash(infos) == MEGC2019_CLIPS
    protocol = find_protocol("megc2019")
    assert protocol.clips == len(infos)
    assert len(protocol.split_folds(infos)) == 68
    assert len(find_protocol("compmie_3fold").split_folds(infos)) == 3


def test_an_unknown_protocol() -> None:
    with pytest.raises(ValueError, match="no protocol is called 'losso'; there are: megc2019"):
        find_protocol("losso")
