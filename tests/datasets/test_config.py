"""Configs are built by one rule, from a file and from values by dotted name."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from miex.datasets.config import build, parse_assignments
from miex.datasets.flags import parameters, places
from miex.pipeline.aus.extraction import AUExtractionConfig
from miex.pipeline.recognition.job_config import EvaluateJob, FinetuneJob, PretrainJob
from miex.pipeline.synthesis.config import SynthesisConfig


def test_without_anything_the_defaults_stand() -> None:
    assert build(SynthesisConfig, {}) == SynthesisConfig()


def test_overrides_win_over_the_file_and_the_rest_of_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text("name: lab\nseed: 7\ngenerator: {batch_size: 8, device: cpu}\n")
    config = build(
        SynthesisConfig, {"seed": 0, "generator.batch_size": 4, "sequence.frames": 5}, path
    )
    assert (config.name, config.seed) == ("lab", 0)
    assert (config.generator.batch_size, config.generator.device) == (4, "cpu")
    assert config.sequence.frames == 5


def test_a_none_sets_a_field_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text("identities: 10\n")
    assert build(SynthesisConfig, {"identities": None}, path).identities is None


def test_emotion_weights_are_free_names() -> None:
    config = build(SynthesisConfig, {"emotion_weights.disgust": 2.0})
    assert config.emotion_weights == {"disgust": 2.0}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"sedd": 1}, r"sedd: there is no such field; there are: name, seed, faces"),
        ({"generator.batch": 1}, r"generator.batch: .* there are: name, checkpoint"),
        ({"seed.deep": 1}, r"seed.deep: 'seed' is no group of fields"),
        ({"seed": -1, "sequence.frames": 1}, r"seed: .*\(given: -1\); sequence.frames: .*: 1\)"),
        ({"seed": 2**63}, r"seed: .*less than 9223372036854775808"),
        ({"intensity": (3, 1)}, r"^intensity: expected 0 < low <= high <= 5 \(given: \(3, 1\)\)$"),
        ({"sources": ["expert:miex"] * 2}, r"^sources: duplicate source expert:miex"),
        ({"label_space": "nine"}, r"label_space: no label space is called 'nine'"),
    ],
)
def test_every_wrong_field_is_named(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(SynthesisConfig, overrides)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1: 2\n", "there is no such field"),
        (b"name: x\nnamee: y\n", "namee: there is no such field"),
        (b"\xff\xfe\x00", "is no text in UTF-8"),
        (b"seed: [", "is not YAML"),
        (b"- 1\n", "expected `field: value` lines, found list"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"dataset\.yaml.*{message}"):
        build(SynthesisConfig, {}, path)


def test_assignments_are_yaml() -> None:
    words = ["a=1", "b.c=0.5", "d=[1, 2]", "e=true", "f=text=with equals", "g=", "h=~"]
    assert parse_assignments(words) == {
        "a": 1,
        "b.c": 0.5,
        "d": [1, 2],
        "e": True,
        "f": "text=with equals",
        "g": None,
        "h": None,
    }


@pytest.mark.parametrize("word", ["seed", "=3", "a=[1"])
def test_unreadable_assignments(word: str) -> None:
    with pytest.raises(ValueError, match=r"expected NAME=VALUE|cannot be read"):
        parse_assignments([word])


def test_groups_keep_the_defaults_of_the_model(tmp_path: Path) -> None:
    """A part of a group changes nothing else in it, wherever it is given."""
    path = tmp_path / "dataset.yaml"
    path.write_text("drift: true\nsequence: {frames: 4}\nquality:\n")
    config = build(SynthesisConfig, {"drift.turn": 0.5, "sequence.easing": "early"}, path)
    assert (config.drift.shift, config.drift.turn) == (0.01, 0.5)
    assert (config.sequence.frames, config.sequence.easing) == (4, "early")


def test_fields_of_an_inlined_group_need_no_prefix(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("recognizer: ststnet\nevaluation: {protocol: loso}\nconfig: {filters: [1]}\n")
    job = build(EvaluateJob, {"config.side": 64, "seeds": 2}, path)
    assert job.evaluation.config == {"side": 64, "filters": [1]}
    assert (job.evaluation.protocol, job.evaluation.seeds) == ("loso", (0, 1))
    same = {"evaluation.recognizer": "ststnet", "evaluation.config.side": 64}
    assert build(EvaluateJob, same).evaluation.config == {"side": 64}


@pytest.mark.parametrize("order", [1, -1])
def test_the_source_decides_which_group_is_meant(order: int) -> None:
    given = {"window": 3, "source": "early_mae"}
    config = build(AUExtractionConfig, dict([*given.items()][::order]))
    assert (config.early_mae.window, config.real_mie.window) == (3, 1)
    assert build(AUExtractionConfig, {"letters": "micro", "estimator": "facs"}).facs.letters
    with pytest.raises(ValueError, match=r"alpha: there is no such field; there are: .*min_change"):
        build(AUExtractionConfig, {"alpha": (0.1, 0.2)})


def test_changes_of_hyperparameters_are_checked() -> None:
    job = build(PretrainJob, {"recognizer": "ststnet", "training.epochs": 3})
    assert job.training == {"epochs": 3}
    with pytest.raises(
        ValueError, match=r"training\.epoch: .* there are: optimizer, learning_rate"
    ):
        build(PretrainJob, {"recognizer": "ststnet", "training.epoch": 3})


@pytest.mark.parametrize("job", [PretrainJob, FinetuneJob, EvaluateJob])
def test_a_missing_value_names_its_flag_and_what_may_be_chosen(job: type[BaseModel]) -> None:
    with pytest.raises(ValueError, match=r"-r/--recognizer.*One of: .*ststnet") as raised:
        build(job)
    assert "Field required" not in str(raised.value)


def test_parameters_take_plain_values() -> None:
    given = {"clips": Path("a"), "exclude": ["x:1"], "epochs": None, "checkpoint": Path("w")}
    assert places(FinetuneJob, given) == {
        "clips.databases": ("a",),
        "exclude": ("x:1",),
        "checkpoint": "w",
    }
    with pytest.raises(ValueError, match=r"epoch: there is no such parameter; there are: .*epochs"):
        places(FinetuneJob, {"epoch": 1})


NEEDED: dict[Any, dict[str, Any]] = {
    SynthesisConfig: {},
    AUExtractionConfig: {},
    (AUExtractionConfig, "alpha"): {"source": "early_mae"},
    (AUExtractionConfig, "draws"): {"source": "early_mae"},
    (AUExtractionConfig, "seed"): {"source": "early_mae"},
    (AUExtractionConfig, "intensity"): {"estimator": "facs"},
    PretrainJob: {"recognizer": "ststnet"},
    FinetuneJob: {"recognizer": "ststnet"},
    EvaluateJob: {"recognizer": "ststnet"},
}
MODELS = [model for model in NEEDED if isinstance(model, type)]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_flag_is_described_and_sets_its_field(model: type[BaseModel]) -> None:
    for each in parameters(model):
        assert len(each.description) > 10, each
        if each.default is not None:
            given = {each.place: each.default} | NEEDED.get((model, each.name), NEEDED[model])
            built = build(model, given)
            assert built.model_fields_set
