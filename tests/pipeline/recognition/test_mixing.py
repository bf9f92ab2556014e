from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_recognition import ToyInputs, ToySamples

from miex.pipeline.recognition.evaluation import evaluate
from miex.pipeline.recognition.evaluation_config import EvaluationConfig, Material
from miex.pipeline.recognition.order import batches_of, draw_weights
from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.run_config import RunConfig
from miex.pipeline.recognition.sample import Sample


def synthetic(samples: list[Sample]) -> list[Sample]:
    return [
        replace(
            each,
            info=replace(
                each.info,
                key=f"toys/{number}",
                database="miex",
                au_source="expert",
                lineage=frozenset({("faces", str(number))}),
            ),
        )
        for number, each in enumerate(samples)
    ]


def test_shares_hold_whatever_the_numbers(toy_samples: ToySamples) -> None:
    infos = [each.info for each in (*toy_samples(9), *synthetic(toy_samples(30, seed=1)))]
    for balance in ("none", "classes"):
        weights = draw_weights(infos, balance, 0.25)  # type: ignore[arg-type]
        assert weights is not None
        assert weights[9:].sum() == pytest.approx(0.25)
        assert weights.sum() == pytest.approx(1)
    labels = np.array([info.label for info in infos])
    assert weights[:9][labels[:9] == 0].sum() == pytest.approx(0.25)
    drawn = np.concatenate(batches_of(39, 16, 0, 0, weights, draws=4000))
    assert len(drawn) == 4000
    assert (drawn >= 9).mean() == pytest.approx(0.25, abs=0.03)
    assert draw_weights(infos[:9], "none") is None


def config(**fields: Any) -> EvaluationConfig:
    training = {"epochs": 3, "learning_rate": 3e-3, "batch_size": 16}
    return EvaluationConfig(
        recognizer="ststnet",
        config={"flow_side": 64, "method": "dis", "form": "face"},
        protocol="kfold",
        seeds=(0,),
        pretraining=training,
        finetuning=training,
        run=RunConfig(device="cpu"),
        **fields,
    )


def test_folds_train_on_both_and_never_on_whom_they_test(
    toy_samples: ToySamples, toy_inputs: ToyInputs, tmp_path: Path
) -> None:
    recognizer = create_recognizer("ststnet", 3, config().config)
    clips = toy_inputs(recognizer, toy_samples(20))
    rendered = synthetic(toy_samples(24, seed=1))
    tested = replace(rendered[0].info, lineage=frozenset({("toy", "toy003")}))
    rendered[0] = replace(rendered[0], info=tested)
    material = Material(clips, toy_inputs(recognizer, rendered), "toys")
    result = evaluate(config(mixing=0.5), material, tmp_path / "mixed")
    trained = result.content["training"].values()
    assert sum(each["refused_synthetic"] for each in trained) == 1
    assert result.content["config"]["mixing"] == 0.5
    with pytest.raises(ValueError, match="there is nothing to mix"):
        evaluate(config(mixing=0.5), Material(clips), tmp_path / "nothing")
    with pytest.raises(ValueError, match="there is nothing to mix"):
        evaluate(config(mixing=0.5, finetune=False), material, tmp_path / "pretrained")
