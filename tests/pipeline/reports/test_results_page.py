import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from toy_recognition import ToySamples

from miex.pipeline.recognition.results import Prediction, Result, summarize, write_result
from miex.pipeline.recognition.sample import SampleInfo
from miex.pipeline.reports.results_page import name_of, notes_of, write_results_page

CLASSES = ("negative", "positive", "surprise")


def predictions(infos: list[SampleInfo], wrong: int, seeds: tuple[int, ...] = (0, 1, 2)):
    """Every clip right but the first `wrong` ones, in an order that is not the clips'."""
    return [
        Prediction(
            seed,
            info.subject,
            info.key,
            (info.label + (number < wrong)) % 3,
            (0.0, 0.0, 0.0),
            0,
        )
        for seed in seeds
        for number, info in reversed(list(enumerate(infos)))
    ]


def result(folder: Path, infos: list[SampleInfo], wrong: int = 2, **changes: object) -> Result:
    about = {
        "recognizer": "ststnet",
        "protocol": "loso",
        "label_space": "three_class",
        "classes": list(CLASSES),
        "clip_list": "a" * 64,
        "config": {"seeds": [0, 1, 2], "finetune": True},
        "pretrained_on": {"name": "miex@1", "samples": 9, "sha256": "", "checkpoint": None},
        "about": {},
        "training": {"seed-0/a": {"refused_synthetic": 4, "weights": "random"}},
        "clips": len(infos),
        "subjects": len(infos),
        "published_clips": None,
        "published_list": None,
        "oracle": False,
        "apex_rules": {"annotated": 8, "middle frame": 4},
        "rejections": [],
    }
    return write_result(folder, about | changes, infos, predictions(infos, wrong), CLASSES)


@pytest.fixture
def infos(toy_samples: ToySamples) -> list[SampleInfo]:
    return [sample.info for sample in toy_samples(12)]


def test_predictions_find_their_clips_by_key(infos: list[SampleInfo]) -> None:
    """Pitfall 8: whatever the order of folds, labels and answers belong together."""
    found = summarize(infos, predictions(infos, wrong=0), CLASSES)
    assert found["pooled"]["mean"]["uf1"] == 1
    found = summarize(infos, predictions(infos, wrong=3), CLASSES)
    assert found["pooled"]["mean"]["accuracy"] == pytest.approx(9 / 12)
    assert found["pooled"]["deviation"]["accuracy"] == 0


def test_means_over_folds_stand_beside_the_pooled_scores(infos: list[SampleInfo]) -> None:
    """Two folds of two classes: all of the first are right, half of the second."""
    clips = [replace(info, label=number % 2) for number, info in enumerate(infos[:6])]
    answers = [
        Prediction(0, f"fold-{number // 2 % 2}", info.key, guess, (0.0, 0.0), 0)
        for number, (info, guess) in enumerate(zip(clips, (0, 1, 0, 0, 0, 1), strict=True))
    ]
    found = summarize(clips, answers, CLASSES[:2])["mean_over_folds"]
    # The second fold: F1 2/3 and 0, recall 1 and 0.
    assert found["mean"]["uf1"] == pytest.approx((1 + 1 / 3) / 2)
    assert found["mean"]["uar"] == found["mean"]["accuracy"] == 0.75
    assert found["deviation"]["uf1"] is None
    assert found["deviation_over_folds"]["uar"] == pytest.approx(0.5 / 2**0.5)
    seeds = [*answers, *(replace(each, seed=1, prediction=0) for each in answers)]
    both = summarize(clips, seeds, CLASSES[:2])["mean_over_folds"]
    assert both["seeds"]["1"]["uf1"] == pytest.approx(1 / 3)
    assert both["mean"]["uf1"] == pytest.approx(0.5)
    assert both["deviation"]["uf1"] == pytest.approx((1 / 3) / 2**0.5)


def test_folds_and_their_differences_from_the_published_ones_are_said(
    tmp_path: Path, infos: list[SampleInfo]
) -> None:
    folds = {
        "by": "published list",
        "list": "somebody@1",
        "sha256": "f" * 64,
        "listed": 14,
        "found": 12,
        "missing": ["toy:s0/a", "toy:s0/b"],
        "left_out": ["toy:s1/x"],
        "respelled": {"toy:S2/c": "toy:s2/c"},
        "empty": [3],
    }
    notes = " / ".join(notes_of(result(tmp_path / "one", infos, folds=folds).content))
    assert "12 of the 14 clips of somebody@1, list ffffffffffff" in notes
    assert "2 clips of the published folds, not among the clips that are given, as toy:s0/a" in (
        notes
    )
    assert "1 clip not in the published folds, neither trained nor tested on" in notes
    assert "1 clip spelled otherwise in the published folds, as toy:S2/c" in notes
    assert "folds without a clip that is given: 3" in notes
    whole = folds | {"listed": 12, "missing": []}
    other = result(tmp_path / "labels", infos, folds=whole, published_list=False)
    notes = " / ".join(notes_of(other.content))
    assert "those of the published list, some with other labels than there" in notes
    drawn = {"by": "seed", "seed": 4, "why": "the published list has 0 of the 12 clips"}
    notes = " / ".join(notes_of(result(tmp_path / "two", infos, folds=drawn).content))
    assert "who shares a fold was drawn with seed 4: the published list has 0 of" in notes
    shown = write_results_page([result(tmp_path / "one", infos, folds=folds)], tmp_path / "page")
    assert "folds <code>ffffffffffff</code> of somebody@1" in shown.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda each: each[:-1], "1 clips lack a prediction of seed 2"),
        (lambda each: [*each, each[0]], "has two predictions of seed 0"),
    ],
)
def test_every_clip_needs_exactly_one_answer(
    infos: list[SampleInfo], change: Callable[..., list[Prediction]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        summarize(infos, change(predictions(infos, 0)), CLASSES)
    with pytest.raises(ValueError, match="which was not to be tested on"):
        summarize(infos[1:], predictions(infos, 0), CLASSES)


def test_the_page_shows_scores_baselines_and_what_to_know(
    tmp_path: Path, infos: list[SampleInfo]
) -> None:
    one, two = result(tmp_path / "one", infos), result(tmp_path / "two", infos, wrong=5)
    text = write_results_page([one, two], tmp_path / "page").read_text()
    for expected in (
        f"{one.content['pooled']['mean']['uf1']:.3f}",
        f"{two.content['pooled']['mean']['uf1']:.3f}",
        f"{one.content['baselines']['majority']['uf1']:.3f}",
        "ststnet, pretrained on miex@1, fine-tuned (one)",
        "4 synthetic samples, in all folds and seeds together, descend from",
        "apex of 4 clips: middle frame",
        "not comparable with the pooled ones above",
    ):
        assert expected in text
    assert "http" not in text.replace("http://www.w3.org", "")
    assert "not a result" not in text


def test_an_oracle_is_stamped(tmp_path: Path, infos: list[SampleInfo]) -> None:
    stamped = result(tmp_path, infos, oracle=True, clips=12, published_clips=442)
    assert notes_of(stamped.content)[0].startswith("NOT A RESULT")
    assert "12 of the 442 clips of the protocol" in notes_of(stamped.content)[1]
    assert "not a result:" in write_results_page([stamped], tmp_path / "page").read_text()


def test_other_clips_are_refused(tmp_path: Path, infos: list[SampleInfo]) -> None:
    one = result(tmp_path / "one", infos)
    other = result(tmp_path / "two", infos, clip_list="b" * 64)
    with pytest.raises(ValueError, match="differ in the list of clips"):
        write_results_page([one, other], tmp_path / "page")
    assert not (tmp_path / "page").exists()
    assert name_of(one.content) == "ststnet, pretrained on miex@1, fine-tuned"
    nothing = {"name": "", "samples": 0, "sha256": "", "checkpoint": None}
    alone = result(tmp_path / "alone", infos, pretrained_on=nothing)
    assert name_of(alone.content) == "ststnet, trained on clips alone"


def test_results_of_one_name_in_folders_of_one_name_keep_their_notes(
    tmp_path: Path, infos: list[SampleInfo]
) -> None:
    stamped = result(tmp_path / "a" / "evaluated", infos, oracle=True)
    plain = result(tmp_path / "b" / "evaluated", infos)
    text = write_results_page([stamped, plain], tmp_path / "page").read_text()
    for folder in (stamped.folder, plain.folder):
        # In the scores, the matrices, the other numbers, the training, and the notes.
        assert text.count(f"({folder})") >= 5
    assert "NOT A RESULT" in text


def test_rows_of_the_matrix_are_annotated_and_columns_answered(
    tmp_path: Path, infos: list[SampleInfo]
) -> None:
    found = result(tmp_path / "one", infos, wrong=3)
    (matrix,) = {json.dumps(each) for each in found.content["confusion"].values()}
    rows = json.loads(matrix)
    assert rows != [list(each) for each in zip(*rows, strict=True)]
    assert [sum(row) for row in rows] == [
        sum(info.label == label for info in infos) for label in range(len(CLASSES))
    ]
    text = write_results_page([found], tmp_path / "page").read_text()
    table = text[text.index('class="confusion"') :]
    table = table[: table.index("</table>")]
    shown = [
        [float(each) for each in re.findall(r"--share:[^>]*>([0-9.]+)", line)]
        for line in table.split("<tbody>")[1].split("<tr>")[1:]
    ]
    assert shown == rows
