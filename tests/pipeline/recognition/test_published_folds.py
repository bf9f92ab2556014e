"""The authors' folds of MiE-X: counts, people, and clips that are not as listed."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from miex.pipeline.recognition.protocols import clip_list_hash, find_protocol
from miex.pipeline.recognition.published_folds import load_fold_list, match_clips
from miex.pipeline.recognition.sample import SampleInfo

HASHES = {
    "compmie_3fold": "fd6a9d86b74db1d5af4dc83865fd64335ed1b8819f86ef3de9f7fa688417efc5",
    "mmew_5fold": "63ec381b847c6eb043b718a44faf03b8e71b5e126938427c03f8a47ef70bd3d4",
    "samm_5fold": "1da9265762ce04408574115d287dafa0dfca332be3bc7a6bca88a3d0616b0e14",
}
"""`FoldList.sha256` of each list."""

AUTHORS_LABELS = {
    "compmie_3fold": (0, 1, 2),
    "mmew_5fold": (0, 1, 2, 3, 4, 5),
    # Theirs are anger, happiness, surprise, fear, disgust.
    "samm_5fold": (2, 0, 1, 4, 3),
}
"""Index in the protocol's label space of each number in the authors' lists."""


def listed_clips(name: str) -> list[SampleInfo]:
    """Every clip of a list, labelled 0."""
    return [
        SampleInfo(
            key=f"{database}:{subject}/{clip}",
            label=0,
            emotion="any",
            database=database,
            subject=subject,
            lineage=frozenset({(database, subject)}),
            apex_rule="annotated",
        )
        for database, subject, clip in load_fold_list(name).fold_of
    ]


@pytest.mark.parametrize(
    ("name", "sizes", "people"),
    [
        ("compmie_3fold", [172, 161, 109], 68),
        ("mmew_5fold", [43, 58, 56, 30, 47], 30),
        ("samm_5fold", [20, 29, 25, 22, 19], 28),
    ],
)
def test_the_authors_folds(name: str, sizes: list[int], people: int) -> None:
    listed = load_fold_list(name)
    assert listed.sha256 == HASHES[name]
    assert "liuyvchi/MiE-X@15705f3" in listed.citation
    split = find_protocol(name).split(listed_clips(name))
    assert [len(fold.test) for fold in split.folds] == sizes
    held_out = [person for fold in split.folds for person in fold.held_out]
    assert len(held_out) == len(set(held_out)) == people
    assert split.about["by"] == "published list"
    assert split.about["sha256"] == HASHES[name]
    assert split.about["missing"] == split.about["left_out"] == split.about["empty"] == []
    assert find_protocol(name).clips == sum(sizes) == split.about["listed"]


@pytest.mark.parametrize("name", HASHES)
def test_names_and_labels_are_those_of_the_released_lists(name: str, shared: Path) -> None:
    path = shared / "reference" / "miex_folds" / f"{name}.csv"
    if not path.is_file():
        pytest.skip("the released lists are not here")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["database"], row["subject"], row["clip"]): int(row["fold"]) + 1 for row in rows}
    assert found == dict(load_fold_list(name).fold_of)
    labels = {
        f"{row['database']}:{row['subject']}/{row['clip']}": int(row["label"]) for row in rows
    }
    infos = [
        replace(info, label=AUTHORS_LABELS[name][labels[info.key]]) for info in listed_clips(name)
    ]
    assert clip_list_hash(infos) == find_protocol(name).clip_list
    if name == "samm_5fold":
        counts = Counter(find_protocol(name).space.classes[info.label] for info in infos)
        assert counts == {"anger": 57, "happiness": 26, "surprise": 15, "disgust": 9, "fear": 8}


def test_clips_that_are_not_as_listed_are_counted() -> None:
    clips = listed_clips("compmie_3fold")
    (renamed,) = (info for info in clips if info.key == "casme2:sub02/EP01_11f")
    lost = next(info for info in clips if info is not renamed)
    changed = [info for info in clips if info is not renamed and info is not lost]
    other = "casme2:sub2/ep1_11F"
    person = frozenset({("casme2", "sub2")})
    changed.append(replace(renamed, key=other, subject="sub2", lineage=person))
    extra = replace(clips[5], key=f"{clips[5].database}:{clips[5].subject}/another")
    changed.append(extra)
    split = find_protocol("compmie_3fold").split(changed)
    assert split.about["missing"] == [lost.key]
    assert split.about["respelled"] == {other: renamed.key}
    assert split.about["left_out"] == [extra.key]
    assert split.left_out == (len(changed) - 1,)
    assert split.about["found"] == 441
    tested = [index for fold in split.folds for index in fold.test]
    trained = {index for fold in split.folds for index in fold.train}
    assert sorted(tested) == list(range(441))
    assert len(changed) - 1 not in trained


def test_a_clip_that_is_given_under_two_spellings_is_taken_once() -> None:
    clips = listed_clips("samm_5fold")
    twice = replace(clips[0], key=clips[0].key.replace("/0", "/00"))
    match = match_clips(load_fold_list("samm_5fold"), [*clips, twice], range(len(clips) + 1))
    assert match.left_out == (len(clips),)
    assert match.missing == ()


def test_other_clips_are_split_by_a_seed_and_it_is_said() -> None:
    clips = [
        replace(info, key=info.key.replace("/", "/x")) if index % 2 else info
        for index, info in enumerate(listed_clips("mmew_5fold"))
    ]
    split = find_protocol("mmew_5fold").split(clips)
    assert split.about["by"] == "seed"
    assert split.about["why"] == "the published list of folds has 117 of the 234 clips"
    assert sum(len(fold.test) for fold in split.folds) == 234
    with pytest.raises(ValueError, match=r"mmew_5fold: .* 117 of the 234 clips \(liuyvchi.*seeded"):
        find_protocol("mmew_5fold").split(clips, source="published")


def test_seeded_folds_stay_an_option() -> None:
    clips = listed_clips("samm_5fold")
    split = find_protocol("samm_5fold").split(clips, seed=3, source="seeded")
    assert split.about == {"by": "seed", "seed": 3}
    sizes = [len(fold.test) for fold in split.folds]
    assert sum(sizes) == 115
    assert sizes != [20, 29, 25, 22, 19]


def test_a_part_of_the_list_keeps_the_authors_folds() -> None:
    clips = [info for info in listed_clips("compmie_3fold") if info.database == "casme2"]
    split = find_protocol("compmie_3fold").split(clips)
    assert split.about["found"] == 145
    assert len(split.about["missing"]) == 442 - 145
    fold_of = load_fold_list("compmie_3fold").fold_of
    names = {info.key: info.key.partition("/")[2] for info in clips}
    one = [info for info in clips if fold_of["casme2", info.subject, names[info.key]] == 1]
    assert find_protocol("compmie_3fold").split(one).about["why"] == (
        "all clips that are given are of one fold of the published list"
    )


def test_nobody_published_folds_of_other_protocols() -> None:
    with pytest.raises(ValueError, match="nobody published folds of 'kfold'"):
        find_protocol("kfold").split(listed_clips("samm_5fold"), source="published")
