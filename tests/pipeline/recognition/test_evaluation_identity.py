"""Which evaluation a folder holds, and what belongs to it."""

from pathlib import Path

import pytest
import torch
from toy_recognition import ToyInputs, ToyRole, ToySamples

from miex.pipeline.recognition.cache import CachedInputs
from miex.pipeline.recognition.checkpoint import Card, load_checkpoint, save_checkpoint
from miex.pipeline.recognition.evaluation import evaluate
from miex.pipeline.recognition.evaluation_config import EvaluationConfig, Material
from miex.pipeline.recognition.recognizers.base import create_recognizer

CONFIG = EvaluationConfig(
    recognizer="dere_grl",
    protocol="loso",
    seeds=(0, 1),
    pretraining={"epochs": 3},
    finetuning={"epochs": 25},
    run={"device": "cpu"},
)


def test_folds_of_another_evaluation_are_not_taken_over(
    tmp_path: Path, clips: CachedInputs, synthetic: CachedInputs
) -> None:
    material = Material(clips, synthetic, "toy shards")
    short = CONFIG.model_copy(
        update={"seeds": (0,), "pretraining": {"epochs": 1}, "finetuning": {"epochs": 1}}
    )
    evaluate(short, material, tmp_path)
    longer = short.model_copy(update={"finetuning": {"epochs": 25}})
    with pytest.raises(ValueError, match=r"they differ in config\); give another folder, or del"):
        evaluate(longer, material, tmp_path)
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(ValueError, match=r"evaluation\.json is damaged"):
        evaluate(longer, material, tmp_path)
    (tmp_path / "evaluation.json").unlink()
    found = evaluate(longer, material, tmp_path)
    assert found.content["pooled"]["mean"]["accuracy"] > 0.8
    (tmp_path / "evaluation.json").unlink()
    with pytest.raises(ValueError, match="holds a recognizer of another training"):
        evaluate(short.model_copy(update={"pretraining": {"epochs": 2}}), material, tmp_path)


def test_seeds_can_be_added_to_a_finished_evaluation(tmp_path: Path, clips: CachedInputs) -> None:
    one, two = (
        CONFIG.model_copy(update={"seeds": seeds, "finetuning": {"epochs": 1}})
        for seeds in ((1,), (0, 1))
    )
    first = evaluate(one, Material(clips), tmp_path)
    done = sorted((tmp_path / "folds" / "seed-1").iterdir())
    stamps = [path.stat().st_mtime_ns for path in done]
    both = evaluate(two, Material(clips), tmp_path)
    assert len(done) > 1
    assert [path.stat().st_mtime_ns for path in done] == stamps
    at_once = evaluate(two, Material(clips), tmp_path / "at_once")
    assert both.content == at_once.content
    assert both.predictions.equals(at_once.predictions)
    assert evaluate(one, Material(clips), tmp_path).content == first.content


def test_a_database_that_was_moved_is_the_same_evaluation(
    tmp_path: Path, clips: CachedInputs
) -> None:
    config = CONFIG.model_copy(update={"seeds": (0,), "finetuning": {"epochs": 1}})
    places = [{"clips": {"databases": [f"toy:{folder}"], "most": 8}} for folder in ("/a", "/b")]
    first = evaluate(config, Material(clips, about=places[0]), tmp_path)
    seldom = config.model_copy(
        update={"run": config.run.model_copy(update={"log": ("tensorboard",)})}
    )
    again = evaluate(seldom, Material(clips, about=places[1]), tmp_path)
    assert again.content["pooled"] == first.content["pooled"]
    with pytest.raises(ValueError, match=r"they differ in about\)"):
        evaluate(config, Material(clips, about={"clips": {"most": 9}}), tmp_path)


def test_other_pixels_under_the_same_names_are_another_evaluation(
    tmp_path: Path,
    clips: CachedInputs,
    toy_samples: ToySamples,
    toy_inputs: ToyInputs,
    as_clips: ToyRole,
) -> None:
    config = CONFIG.model_copy(update={"seeds": (0,), "finetuning": {"epochs": 1}})
    evaluate(config, Material(clips), tmp_path)
    other = toy_inputs(create_recognizer("dere_grl", 3), as_clips(toy_samples(24, seed=9)))
    assert [info.key for info in other.infos] == [info.key for info in clips.infos]
    with pytest.raises(ValueError, match="holds another evaluation"):
        evaluate(config, Material(other), tmp_path)


def test_another_checkpoint_is_another_evaluation(tmp_path: Path, clips: CachedInputs) -> None:
    config = CONFIG.model_copy(update={"seeds": (0,), "finetune": False})
    for seed in (0, 1):
        torch.manual_seed(seed)
        recognizer = create_recognizer("dere_grl", 3)
        card = Card("dere_grl", recognizer.config.model_dump(mode="json"), "three_class", "random")
        save_checkpoint(tmp_path / f"{seed}.safetensors", recognizer, card)
    first, second = (load_checkpoint(tmp_path / f"{seed}.safetensors") for seed in (0, 1))
    evaluate(config, Material(clips, checkpoint=first), tmp_path / "out")
    with pytest.raises(ValueError, match="holds another evaluation"):
        evaluate(config, Material(clips, checkpoint=second), tmp_path / "out")
