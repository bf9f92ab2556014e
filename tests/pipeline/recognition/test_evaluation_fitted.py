"""Evaluation of recognizers that are fitted once, without gradients."""

from pathlib import Path

import pytest
from toy_recognition import ToyInputs, ToyRole, ToySamples

from miex.pipeline.recognition import fold as folds
from miex.pipeline.recognition.checkpoint import Card, load_checkpoint, save_checkpoint
from miex.pipeline.recognition.evaluation import evaluate
from miex.pipeline.recognition.evaluation_config import EvaluationConfig, Material
from miex.pipeline.recognition.recognizers.base import create_recognizer


def test_what_is_fitted_and_not_fine_tuned_has_seen_synthetic_samples_only(
    tmp_path: Path,
    toy_samples: ToySamples,
    toy_inputs: ToyInputs,
    as_clips: ToyRole,
    as_synthetic: ToyRole,
) -> None:
    descriptor = {"descriptor": {"side": 64, "method": "dis"}}
    fitted = create_recognizer("bi_woof", 3, descriptor)
    clips = toy_inputs(fitted, as_clips(toy_samples(12)))
    samples = as_synthetic(toy_samples(12, seed=7), {})
    # One class is never synthesized, so whoever has seen only that never answers it.
    synthetic = toy_inputs(fitted, [each for each in samples if each.info.label != 2])
    config = EvaluationConfig(
        recognizer="bi_woof", config=descriptor, protocol="loso", seeds=(0,), finetune=False
    )
    found = evaluate(config, Material(clips, synthetic, "two classes"), tmp_path / "untuned")
    assert {row["prediction"] for row in found.predictions.to_pylist()} == {0, 1}
    assert all("epoch" not in about for about in found.content["training"].values())


def test_what_is_fitted_sees_clips_and_synthetic_samples_together(
    tmp_path: Path,
    toy_samples: ToySamples,
    toy_inputs: ToyInputs,
    monkeypatch: pytest.MonkeyPatch,
    as_clips: ToyRole,
    as_synthetic: ToyRole,
) -> None:
    descriptor = {"descriptor": {"side": 64, "method": "dis"}}
    recognizer = create_recognizer("bi_woof", 3, descriptor)
    clips = toy_inputs(recognizer, as_clips(toy_samples(12)))
    synthetic = toy_inputs(recognizer, as_synthetic(toy_samples(9, seed=7), {0: "s0", 5: "s0"}))
    fitted: list[set[str]] = []
    real = folds.train
    monkeypatch.setattr(
        folds,
        "train",
        lambda it, data, *rest: (
            fitted.append({data.inputs.infos[index].key for index in data.indices}),
            real(it, data, *rest),
        )[1],
    )
    config = EvaluationConfig(recognizer="bi_woof", config=descriptor, protocol="loso", seeds=(0,))
    material = Material(clips, synthetic, "toys")
    found = evaluate(config, material, tmp_path / "both")
    assert found.content["training"]["seed-0/toy:s0"]["refused_synthetic"] == 2
    assert len(fitted[0]) == 9 + 7
    assert {"miex/0", "miex/5"}.isdisjoint(fitted[0])
    assert len(fitted[1]) == 9 + 9
    assert not any(key.startswith("toy:s0/") for key in fitted[0])
    assert found.content["pooled"]["mean"]["accuracy"] > 0.5
    assert not (tmp_path / "both" / "pretrained").exists()

    five = config.model_copy(update={"pretraining_space": "casme2_5class"})
    with pytest.raises(ValueError, match=r"pretraining_space=casme2_5class has other classes"):
        evaluate(five, material, tmp_path / "five")
    card = Card("bi_woof", recognizer.config.model_dump(mode="json"), "three_class", "none")
    recognizer.fit(synthetic.take(range(9)), synthetic.labels, 0)
    save_checkpoint(tmp_path / "p.safetensors", recognizer, card)
    checkpoint = load_checkpoint(tmp_path / "p.safetensors")
    with pytest.raises(ValueError, match=r"bi_woof is fitted once .* give the datasets instead"):
        evaluate(config, Material(clips, checkpoint=checkpoint), tmp_path / "tuned")


def test_nothing_is_set_aside_for_what_is_fitted(
    tmp_path: Path,
    toy_samples: ToySamples,
    toy_inputs: ToyInputs,
    monkeypatch: pytest.MonkeyPatch,
    as_clips: ToyRole,
) -> None:
    descriptor = {"descriptor": {"side": 64, "method": "dis"}}
    clips = toy_inputs(create_recognizer("bi_woof", 3, descriptor), as_clips(toy_samples(12)))
    counts: list[int] = []
    real = folds.train
    monkeypatch.setattr(
        folds,
        "train",
        lambda it, data, *rest, **options: (
            counts.append(len(data.indices)),
            real(it, data, *rest, **options),
        )[1],
    )
    config = EvaluationConfig(
        recognizer="bi_woof", config=descriptor, protocol="loso", seeds=(0,), selection="validation"
    )
    found = evaluate(config, Material(clips), tmp_path)
    assert counts == [9, 9, 9, 9]
    assert {about["epoch"] for about in found.content["training"].values()} == {None}
