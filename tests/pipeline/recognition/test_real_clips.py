"""Real clips to pretrain on, and clips that are trained on and never tested."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from toy_recognition import ToyInputs, ToySamples

from miex.pipeline.recognition.cache import CachedInputs
from miex.pipeline.recognition.checkpoint import CHECKPOINT, Card, load_checkpoint
from miex.pipeline.recognition.evaluation import evaluate
from miex.pipeline.recognition.evaluation_config import EvaluationConfig, Material
from miex.pipeline.recognition.fold import finetune
from miex.pipeline.recognition.protocols import find_protocol
from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.sample import Sample
from miex.pipeline.recognition.training_data import training_only, with_training_clips
from miex.pipeline.reports.results_page import name_of, notes_of

CONFIG = EvaluationConfig(
    recognizer="dere_grl",
    protocol="loso",
    seeds=(0,),
    pretraining={"epochs": 2},
    finetuning={"epochs": 3},
    run={"device": "cpu"},
)


def of_database(samples: list[Sample], database: str, people: dict[int, str]) -> list[Sample]:
    """Samples as clips of another database; some show people of the tested one."""
    result = []
    for number, sample in enumerate(samples):
        own = ("toy", people[number]) if number in people else (database, f"p{number}")
        info = replace(
            sample.info,
            key=f"{own[0]}:{own[1]}/{database}{number}",
            database=own[0],
            subject=own[1],
            lineage=frozenset({own}),
        )
        result.append(replace(sample, info=info))
    return result


@pytest.fixture(scope="module")
def others(toy_samples: ToySamples, toy_inputs: ToyInputs) -> CachedInputs:
    samples = of_database(toy_samples(12, seed=3), "other", {0: "s0", 4: "s0", 7: "s1"})
    return toy_inputs(create_recognizer("dere_grl", 3), samples)


def test_a_fold_pretrains_on_real_clips_without_the_people_it_tests(
    clips: CachedInputs, others: CachedInputs, tmp_path: Path
) -> None:
    material = Material(clips, pretraining_clips=others, pretraining_name="clips of other")
    result = evaluate(CONFIG, material, tmp_path)
    trained = result.content["training"]
    refused = {name: each["refused_pretraining_clips"] for name, each in trained.items()}
    assert refused == {
        "seed-0/toy:s0": 2,
        "seed-0/toy:s1": 1,
        "seed-0/toy:s2": 0,
        "seed-0/toy:s3": 0,
    }
    assert all(each["refused_synthetic"] == 0 for each in trained.values())
    cards = [load_checkpoint(path).card for path in tmp_path.glob(f"pretrained/*/{CHECKPOINT}")]
    assert sorted(card.stages[-1].samples for card in cards) == [10, 11, 12]
    for card in cards:
        assert card.stages[-1].sources == {"real": card.stages[-1].samples}
        assert card.stages[-1].name == "pretrain"
    about = result.content["pretraining_clips"]
    assert about["clips"] == 12
    assert about["databases"] == {"toy": 3, "other": 9}
    assert "12 clips of toy" not in name_of(result.content)
    assert "pretrained on 3 clips of toy and 9 clips of other" in name_of(result.content)
    notes = " / ".join(notes_of(result.content))
    assert "none of whom is tested in the same fold (3 refused" in notes


def test_real_clips_and_synthesized_samples_are_pretrained_on_together(
    clips: CachedInputs, others: CachedInputs, synthetic: CachedInputs, tmp_path: Path
) -> None:
    material = Material(
        clips, synthetic, "toys", pretraining_clips=others, pretraining_name="clips of other"
    )
    result = evaluate(CONFIG.model_copy(update={"finetune": False}), material, tmp_path)
    first = result.content["training"]["seed-0/toy:s0"]
    assert (first["refused_synthetic"], first["refused_pretraining_clips"]) == (2, 2)
    stages = [
        load_checkpoint(path).card.stages[-1]
        for path in tmp_path.glob(f"pretrained/*/{CHECKPOINT}")
    ]
    assert {stage.data for stage in stages} == {"toys, clips of other"}


def test_clips_that_only_train_are_never_tested(
    clips: CachedInputs, others: CachedInputs, tmp_path: Path
) -> None:
    material = Material(clips, training_clips=others, training_name="clips of other")
    result = evaluate(CONFIG, material, tmp_path)
    tested = {row["key"] for row in result.predictions.to_pylist()}
    assert tested == {info.key for info in clips.infos}
    training = result.content["training"]["seed-0/toy:s0"]
    assert (training["training_clips"], training["refused_training_clips"]) == (10, 2)
    assert training["clips"] == 18
    fold = find_protocol("loso").split_folds(clips.infos)[0]
    data = with_training_clips(CONFIG, material, fold, fold.train)
    assert len(data.indices) == 18 + 10
    trained_on = [data.inputs.infos[index] for index in data.indices]
    assert all(info.lineage.isdisjoint(fold.held_out) for info in trained_on)
    assert data.name == "loso, clips of other"
    alone = evaluate(CONFIG, Material(clips), tmp_path / "alone")
    assert "training_clips" not in alone.content
    assert alone.predictions["scores"] != result.predictions["scores"]


def test_the_epoch_is_chosen_without_people_of_the_clips_that_only_train(
    clips: CachedInputs, others: CachedInputs
) -> None:
    material = Material(clips, training_clips=others, training_name="clips of other")
    fold = find_protocol("loso").split_folds(clips.infos)[2]
    assert len(training_only(material, fold.held_out)) == 12
    aside = {("toy", "s0")}
    data = with_training_clips(CONFIG, material, fold, fold.train, aside)
    extra = [data.inputs.infos[index] for index in data.indices if index >= len(clips)]
    assert len(extra) == 10
    assert all(info.lineage.isdisjoint(aside) for info in extra)
    config = CONFIG.model_copy(update={"selection": "validation", "validation_share": 0.34})
    recognizer = create_recognizer("dere_grl", 3)
    card = Card("dere_grl", recognizer.config.model_dump(mode="json"), "three_class", "random")
    tuned = finetune(recognizer, config, material, card, fold, 0)
    assert tuned.epoch in {1, 2, 3}
    assert tuned.last_epoch is None


def test_a_tested_clip_that_is_given_again_trains_once(
    clips: CachedInputs, toy_inputs: ToyInputs
) -> None:
    material = Material(clips, training_clips=clips, training_name="the same")
    assert training_only(material, {("toy", "s0")}) == []


def test_a_recording_that_only_trains_under_another_name_is_refused(
    toy_samples: ToySamples,
    toy_inputs: ToyInputs,
    as_clips: Callable[..., list[Sample]],
    tmp_path: Path,
) -> None:
    recognizer = create_recognizer("dere_grl", 3)
    samples = as_clips(toy_samples(8))
    copied = of_database(samples[:2], "copy", {})
    material = Material(
        toy_inputs(recognizer, samples),
        training_clips=toy_inputs(recognizer, copied),
        training_name="clips of copy",
    )
    with pytest.raises(ValueError, match=r"copy:p0/copy0 would be trained on and is the same"):
        evaluate(CONFIG, material, tmp_path)


def test_clips_to_train_on_need_fine_tuning(
    clips: CachedInputs, others: CachedInputs, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"finetune": False})
    material = Material(
        clips, pretraining_clips=others, training_clips=others, training_name="clips of other"
    )
    with pytest.raises(ValueError, match="clips of other to fine-tune on; pretrain on them"):
        evaluate(config, material, tmp_path)
