"""`generator: auto` is the better of what is embedded, by measured quality."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from miex.datasets.files import sha256_file
from miex.generators import _auto
from miex.generators.base import GeneratorConfig, create_generator
from miex.generators.ganimation.checkpoint import save_checkpoint
from miex.generators.ganimation.network import random_network

FIGURES = ("fidelity", "direction", "identity", "outside", "nulls", "motion", "kid")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "lfw.safetensors"
    save_checkpoint(random_network(0), path)
    return path


@pytest.fixture
def embedded(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_auto, "WEIGHTS", weights.parent)
    yield weights
    weights.with_suffix(".json").unlink(missing_ok=True)


def plant(weights: Path, sha256: str | None = None, **learnt: object) -> None:
    verdict = {
        "fidelity": 0.7,
        "kid": 1.0,
        "targets_met": False,
        "better_than_warp": dict.fromkeys(FIGURES, True),
    }
    entries = [
        {
            "name": "ganimation",
            "sha256": sha256 or sha256_file(weights),
            "verdict": verdict | learnt,
        },
        {
            "name": "warp",
            "sha256": None,
            "verdict": {"fidelity": 0.5, "kid": 2.0, "targets_met": False},
        },
    ]
    weights.with_suffix(".json").write_text(json.dumps({"generators": entries}))


def test_nothing_embedded_is_warp(tmp_path, monkeypatch):
    monkeypatch.setattr(_auto, "WEIGHTS", tmp_path / "none")
    assert GeneratorConfig(name="auto").name == "warp"
    assert GeneratorConfig().name == "warp"


def test_weights_without_an_assessment_are_not_better(embedded):
    assert GeneratorConfig(name="auto").name == "warp"


def test_the_better_one_is_taken_and_recorded(embedded):
    plant(embedded)
    config = GeneratorConfig(name="auto", device="cpu")
    assert config.name == GeneratorConfig().name == "ganimation"
    assert config.model_dump()["name"] == "ganimation"
    generator = create_generator(config)
    assert generator.sha256 == sha256_file(embedded)


@pytest.mark.parametrize(
    "worse",
    [
        *({"better_than_warp": {**dict.fromkeys(FIGURES, True), one: False}} for one in FIGURES),
        {"better_than_warp": {}},
        {"sha256": "0" * 64},
    ],
)
def test_one_number_that_is_not_better_is_enough_for_warp(embedded, worse):
    plant(embedded, **worse)
    assert GeneratorConfig(name="auto").name == "warp"


def test_a_damaged_assessment_is_named(embedded):
    embedded.with_suffix(".json").write_text("{}")
    with pytest.raises(ValidationError, match="no assessment"):
        GeneratorConfig(name="auto")


def test_a_checkpoint_belongs_to_a_generator(tmp_path):
    with pytest.raises(ValidationError, match="brings its own"):
        GeneratorConfig(name="auto", checkpoint=tmp_path / "x.pth")
