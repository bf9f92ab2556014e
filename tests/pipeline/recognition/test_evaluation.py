import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_recognition import ToyInputs, ToyRole, ToySamples

from miex.datasets.base import Rejection
from miex.pipeline.recognition import fold as folds
from miex.pipeline.recognition.cache import CachedInputs
from miex.pipeline.recognition.checkpoint import (
    CHECKPOINT,
    Card,
    Stage,
    load_checkpoint,
    save_checkpoint,
)
from miex.pipeline.recognition.evaluation import evaluate
from miex.pipeline.recognition.evaluation_config import EvaluationConfig, Material
from miex.pipeline.recognition.protocols import find_protocol
from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.results import PREDICTIONS, Result, require_comparable
from miex.pipeline.reports.results_page import notes_of

CONFIG = EvaluationConfig(
    recognizer="dere_grl",
    protocol="loso",
    seeds=(0, 1),
    pretraining={"epochs": 3},
    finetuning={"epochs": 25},
    run={"device": "cpu"},
)


@pytest.fixture(scope="module")
def result(
    clips: CachedInputs, synthetic: CachedInputs, tmp_path_factory: pytest.TempPathFactory
) -> Result:
    out = tmp_path_factory.mktemp("evaluation")
    return evaluate(CONFIG, Material(clips, synthetic, "toy shards"), out)


def test_every_clip_is_answered_once_a_seed(result: Result, clips: CachedInputs) -> None:
    rows = result.predictions.to_pylist()
    assert len(rows) == 48
    by_key = {info.key: info.label for info in clips.infos}
    assert {row["key"] for row in rows} == set(by_key)
    assert all(by_key[row["key"]] == row["label"] for row in rows)
    assert all(row["fold"] == f"toy:{row['subject']}" for row in rows)
    assert all(row["prediction"] == int(np.argmax(row["scores"])) for row in rows)
    right = np.mean([row["prediction"] == row["label"] for row in rows])
    assert result.content["pooled"]["mean"]["accuracy"] == pytest.approx(right)
    assert right > 0.8
    assert result.content["baselines"]["chance"]["uar"] == pytest.approx(1 / 3, abs=0.03)
    assert result.content["baselines"]["majority"]["uf1"] < 0.4
    assert result.content["pooled"]["deviation"]["uf1"] is not None
    assert result.content["oracle"] is False


def test_synthetic_samples_of_the_test_subject_are_refused_and_counted(result: Result) -> None:
    refused = {
        name: about["refused_synthetic"] for name, about in result.content["training"].items()
    }
    assert refused["seed-0/toy:s0"] == 2
    assert refused["seed-1/toy:s1"] == 1
    assert refused["seed-0/toy:s2"] == refused["seed-0/toy:s3"] == 0
    # s2 and s3 may see the same, and share one pretraining.
    assert len(list((result.folder / "pretrained").glob("seed-0-*"))) == 3
    for path in (result.folder / "pretrained").glob(f"*/{CHECKPOINT}"):
        stage = load_checkpoint(path).card.stages[-1]
        assert {18: {"s0", "s1"}, 17: {"s0"}, 16: {"s1"}}[stage.samples] == {
            subject for database, subject in stage.subjects if database == "toy"
        }


def test_a_killed_evaluation_goes_on(
    tmp_path: Path, result: Result, clips: CachedInputs, synthetic: CachedInputs
) -> None:
    material = Material(clips, synthetic, "toy shards")

    def kill(done: int, total: int, what: str) -> None:
        assert total == 8
        if done == 3:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        evaluate(CONFIG, material, tmp_path, kill)
    done = sorted((tmp_path / "folds").rglob("*.json"))
    assert len(done) == 3
    stamps = [path.stat().st_mtime_ns for path in done]
    again = evaluate(CONFIG, material, tmp_path)
    assert [path.stat().st_mtime_ns for path in done] == stamps
    assert again.content == result.content
    assert again.predictions.equals(result.predictions)
    assert Result.open(tmp_path).content == json.loads(json.dumps(again.content))
    with pytest.raises(ValueError, match="holds another evaluation"):
        evaluate(CONFIG.model_copy(update={"fold_seed": 5}), material, tmp_path)


def test_clips_that_take_no_part_are_named(
    tmp_path: Path, toy_samples: ToySamples, toy_inputs: ToyInputs, as_clips: ToyRole
) -> None:
    samples = as_clips(toy_samples(12))
    for place in range(8):
        subject = f"s{place % 2}"
        info = replace(
            samples[place].info,
            database="smic",
            subject=subject,
            lineage=frozenset({("smic", subject)}),
        )
        samples[place] = replace(samples[place], info=info)
    inputs = toy_inputs(create_recognizer("dere_grl", 3), samples)
    config = CONFIG.model_copy(
        update={"protocol": "smic", "seeds": (0,), "finetuning": {"epochs": 1}}
    )
    unreadable = Rejection("smic:s9/x", "missing_frames", "no frame 3")
    found = evaluate(config, Material(inputs, rejections=(unreadable,)), tmp_path)
    assert found.content["clips"] == 8
    assert found.content["apex_rules"] == {"annotated": 8}
    assert [each["origin"] for each in found.content["rejections"]] == [
        "smic:s9/x",
        *(sample.info.key for sample in samples[8:]),
    ]
    assert [each["reason"] for each in found.content["rejections"]] == [
        "missing_frames",
        *["not_in_protocol"] * 4,
    ]


def test_coded_clips_get_the_baseline_of_their_codes(
    tmp_path: Path,
    result: Result,
    toy_samples: ToySamples,
    toy_inputs: ToyInputs,
    as_clips: ToyRole,
) -> None:
    """Pitfall 12: a label that follows from the codes is found by the codes alone."""
    assert "annotated_aus" not in result.content["baselines"]
    coded = [
        replace(each, info=replace(each.info, aus=("4", "12", "1+2")[each.info.label]))
        for each in as_clips(toy_samples(24))
    ]
    inputs = toy_inputs(create_recognizer("dere_grl", 3), coded)
    config = CONFIG.model_copy(update={"seeds": (0,), "finetuning": {"epochs": 1}})
    found = evaluate(config, Material(inputs), tmp_path)
    assert found.content["baselines"]["annotated_aus"]["accuracy"] == 1.0


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_are_checked_first(seed: int) -> None:
    with pytest.raises(ValueError, match="seeds"):
        EvaluationConfig(recognizer="dere_grl", seeds=(seed,))


def test_a_checkpoint_that_has_seen_a_test_subject_is_refused(
    tmp_path: Path, clips: CachedInputs
) -> None:
    """Pitfall 7: pretraining on a database that is tested on later."""
    recognizer = create_recognizer("dere_grl", 3)
    stage = Stage("pretrain", "SAMM", 1, {"real": 1}, (("toy", "s2"),), {}, 0, 1)
    card = Card(
        "dere_grl", recognizer.config.model_dump(mode="json"), "three_class", "random", (stage,)
    )
    save_checkpoint(tmp_path / "p.safetensors", recognizer, card)
    material = Material(clips, checkpoint=load_checkpoint(tmp_path / "p.safetensors"))
    with pytest.raises(
        ValueError, match=r"leak: .*p\.safetensors was trained on samples of toy:s2"
    ):
        evaluate(CONFIG, material, tmp_path / "out")


def test_all_synthetic_samples_of_test_subjects(
    tmp_path: Path,
    clips: CachedInputs,
    toy_samples: ToySamples,
    toy_inputs: ToyInputs,
    as_synthetic: ToyRole,
) -> None:
    samples = as_synthetic(toy_samples(4, seed=8), dict.fromkeys(range(4), "s0"))
    inputs = toy_inputs(create_recognizer("dere_grl", 3), samples)
    with pytest.raises(ValueError, match="all 4 samples to pretrain on descend from people"):
        evaluate(CONFIG, Material(clips, inputs, "x"), tmp_path)


def test_one_recording_under_two_names_is_refused(
    tmp_path: Path, toy_samples: ToySamples, toy_inputs: ToyInputs, as_clips: ToyRole
) -> None:
    """Pitfall 13."""
    samples = as_clips(toy_samples(6, seed=9))
    twin = replace(
        samples[0],
        info=replace(
            samples[0].info,
            key="other:x/clip",
            database="other",
            subject="x",
            lineage=frozenset({("other", "x")}),
        ),
    )
    inputs = toy_inputs(create_recognizer("dere_grl", 3), [*samples, twin])
    with pytest.raises(ValueError, match="are the same recording under two names"):
        evaluate(CONFIG, Material(inputs), tmp_path)


def test_oracle_selection_needs_a_flag_and_stamps_the_result(
    tmp_path: Path, toy_samples: ToySamples, toy_inputs: ToyInputs, as_clips: ToyRole
) -> None:
    """Pitfall 1: the best epoch on the test finds something even where labels mean nothing."""
    with pytest.raises(ValueError, match="picks the epoch by the test clips"):
        EvaluationConfig(recognizer="dere_grl", selection="oracle")
    drawn = np.random.default_rng(0).integers(0, 3, 24)
    samples = [
        replace(sample, info=replace(sample.info, label=int(label)))
        for sample, label in zip(as_clips(toy_samples(24, seed=11)), drawn, strict=True)
    ]
    clips = toy_inputs(create_recognizer("dere_grl", 3), samples)
    changes = {"seeds": (0,), "finetuning": {"epochs": 12, "learning_rate": 5e-3}}
    found = {}
    for selection in ("last", "oracle"):
        config = CONFIG.model_copy(update={**changes, "selection": selection, "allow_oracle": True})
        found[selection] = evaluate(config, Material(clips), tmp_path / selection).content
    assert found["oracle"]["oracle"] is True
    assert found["last"]["oracle"] is False
    assert (
        found["oracle"]["pooled"]["mean"]["accuracy"] > found["last"]["pooled"]["mean"]["accuracy"]
    )
    assert found["oracle"]["last_epoch"]["seeds"] == found["last"]["pooled"]["seeds"]
    assert "last_epoch" not in found["last"]
    assert any("after the last epoch" in each for each in notes_of(found["oracle"]))


def test_validation_selection_never_looks_at_the_test(
    tmp_path: Path, clips: CachedInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[int]] = []
    real = folds.predict

    def spy(recognizer: Any, inputs: Any, indices: Any, **options: Any) -> Any:
        seen.append(set(indices))
        return real(recognizer, inputs, indices, **options)

    monkeypatch.setattr(folds, "predict", spy)
    config = CONFIG.model_copy(
        update={"seeds": (0,), "selection": "validation", "finetuning": {"epochs": 3}}
    )
    evaluate(config, Material(clips), tmp_path)
    # For each of four folds: three epochs judged on one other subject, then the test itself.
    assert len(seen) == 16
    for fold in range(4):
        *judged, tested = seen[4 * fold : 4 * fold + 4]
        assert all(part and part.isdisjoint(tested) for part in judged)


def test_training_depends_on_nothing_in_the_test_clips(
    tmp_path: Path,
    toy_samples: ToySamples,
    toy_inputs: ToyInputs,
    clips: CachedInputs,
    as_clips: ToyRole,
) -> None:
    """Pitfalls 6, 9 and 14: other test clips, the same parameters and the same answers."""
    samples = as_clips(toy_samples(24))
    noise = as_clips(toy_samples(24, seed=77, pixels=5))
    changed = [noise[i] if s.info.subject == "s3" else s for i, s in enumerate(samples)]
    other = toy_inputs(create_recognizer("dere_grl", 3), changed)
    trained: list[dict[str, torch.Tensor]] = []
    for inputs in (clips, other):
        recognizer = create_recognizer("dere_grl", 3)
        config = CONFIG.model_copy(update={"finetuning": {"epochs": 2}})
        fold = next(
            fold
            for fold in find_protocol("loso").split_folds(inputs.infos)
            if fold.name == "toy:s3"
        )
        torch.manual_seed(0)
        recognizer = create_recognizer("dere_grl", 3)
        card = Card("dere_grl", {}, "three_class", "random")
        folds.finetune(recognizer, config, Material(inputs), card, fold, 0)
        assert isinstance(recognizer, torch.nn.Module)
        trained.append({k: v.clone() for k, v in recognizer.state_dict().items()})
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def test_answers_do_not_depend_on_chance_or_on_neighbours(clips: CachedInputs) -> None:
    """Pitfall 9: nothing random at test."""
    recognizer = create_recognizer("dere_grl", 3)
    one = folds.predict(recognizer, clips, range(24), device="cpu")
    torch.manual_seed(5)
    two = folds.predict(recognizer, clips, range(24), device="cpu", batch_size=5)
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_results_on_other_clips_are_not_compared(
    tmp_path: Path,
    result: Result,
    toy_samples: ToySamples,
    toy_inputs: ToyInputs,
    as_clips: ToyRole,
) -> None:
    """Pitfall 3."""
    fewer = toy_inputs(create_recognizer("dere_grl", 3), as_clips(toy_samples(24))[:-1])
    config = CONFIG.model_copy(update={"seeds": (0,), "finetuning": {"epochs": 1}})
    other = evaluate(config, Material(fewer), tmp_path)
    require_comparable([result, result])
    with pytest.raises(ValueError, match=r"differ in the list of clips .* 24 and 23 clips"):
        require_comparable([result, other])


def test_an_unfinished_result(tmp_path: Path, result: Result) -> None:
    with pytest.raises(FileNotFoundError, match="start the same `miex evaluate` command again"):
        Result.open(tmp_path)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        Result.open(tmp_path)
    assert (result.folder / PREDICTIONS).is_file()


def test_nothing_to_learn_from(tmp_path: Path, clips: CachedInputs) -> None:
    config = CONFIG.model_copy(update={"finetune": False})
    with pytest.raises(ValueError, match=r"finetune=false, and nothing to pretrain on"):
        evaluate(config, Material(clips), tmp_path)
    assert not any(tmp_path.iterdir())


def test_pretraining_in_other_classes(
    tmp_path: Path,
    clips: CachedInputs,
    toy_samples: ToySamples,
    toy_inputs: ToyInputs,
    as_synthetic: ToyRole,
) -> None:
    five = toy_inputs(
        create_recognizer("dere_grl", 5), as_synthetic(toy_samples(20, classes=5, seed=7), {})
    )
    config = CONFIG.model_copy(update={"seeds": (0,), "pretraining_space": "casme2_5class"})
    found = evaluate(config, Material(clips, five, "five classes"), tmp_path)
    assert found.content["classes"] == ["negative", "positive", "surprise"]
    assert found.content["pooled"]["mean"]["accuracy"] > 0.6
    card = load_checkpoint(next((tmp_path / "pretrained").glob(f"*/{CHECKPOINT}"))).card
    assert card.label_space == "casme2_5class"


def test_answers_in_other_classes_are_refused(tmp_path: Path, clips: CachedInputs) -> None:
    with pytest.raises(ValueError, match=r"pretraining_space=casme2_5class has other classes"):
        EvaluationConfig(recognizer="dere_grl", finetune=False, pretraining_space="casme2_5class")
    with pytest.raises(ValueError, match=r"no label space is called 'five'"):
        EvaluationConfig(recognizer="dere_grl", pretraining_space="five")
    recognizer = create_recognizer("dere_grl", 5)
    card = Card("dere_grl", recognizer.config.model_dump(mode="json"), "samm_5class", "random")
    save_checkpoint(tmp_path / "p.safetensors", recognizer, card)
    material = Material(clips, checkpoint=load_checkpoint(tmp_path / "p.safetensors"))
    config = CONFIG.model_copy(update={"finetune": False})
    with pytest.raises(ValueError, match=r"p\.safetensors answers in samm_5class .*three_class"):
        evaluate(config, material, tmp_path / "out")


def test_hyperparameters_are_checked_before_anything_is_written(
    tmp_path: Path, clips: CachedInputs
) -> None:
    config = CONFIG.model_copy(update={"finetuning": {"epoch": 3}})
    with pytest.raises(ValueError, match="epoch"):
        evaluate(config, Material(clips), tmp_path)
    assert not any(tmp_path.iterdir())


def test_weights_that_leave_nothing(
    tmp_path: Path,
    clips: CachedInputs,
    toy_samples: ToySamples,
    toy_inputs: ToyInputs,
    as_synthetic: ToyRole,
) -> None:
    samples = [
        replace(each, info=replace(each.info, weight=0.0))
        for each in as_synthetic(toy_samples(6, seed=7), {})
    ]
    none = toy_inputs(create_recognizer("dere_grl", 3), samples)
    with pytest.raises(ValueError, match="every synthetic sample has weight 0"):
        evaluate(CONFIG, Material(clips, none, "weightless"), tmp_path)


def test_progress_is_told_within_a_fold(tmp_path: Path, clips: CachedInputs) -> None:
    told: list[tuple[int, int, str]] = []
    steps: list[tuple[int, int, set[str]]] = []
    config = CONFIG.model_copy(update={"seeds": (0,), "finetuning": {"epochs": 3}})
    report = lambda step, total, terms: steps.append((step, total, set(terms)))  # noqa: E731
    evaluate(config, Material(clips), tmp_path, lambda *each: told.append(each), report)
    assert told[0][2] == "seed 0, toy:s0"
    assert [done for done, _, _ in told] == [0, 1, 1, 2, 2, 3, 3, 4]
    assert [step for step, _, _ in steps] == [1, 2, 3] * 4
    assert steps[0][1] == 3
    assert {"loss", "accuracy"} <= steps[0][2]
