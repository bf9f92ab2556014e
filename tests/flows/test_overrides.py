"""A config file and the single values that win over it."""

from pathlib import Path

import pytest

from miex.datasets.config import parse_assignments
from miex.flows.overrides import configure
from miex.pipeline.synthesis.config import SynthesisConfig


def test_without_anything_the_defaults_stand() -> None:
    assert configure(None, {}) == SynthesisConfig()


def test_overrides_win_over_the_file_and_the_rest_of_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text("name: lab\nseed: 7\ngenerator: {batch_size: 8, device: cpu}\n")
    config = configure(path, {"seed": 0, "generator.batch_size": 4, "sequence.frames": 5})
    assert (config.name, config.seed) == ("lab", 0)
    assert (config.generator.batch_size, config.generator.device) == (4, "cpu")
    assert config.sequence.frames == 5


def test_a_none_sets_a_field_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text("identities: 10\n")
    assert configure(path, {"identities": None}).identities is None


def test_emotion_weights_are_free_names() -> None:
    config = configure(None, {"emotion_weights.disgust": 2.0})
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
        configure(None, overrides)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1: 2\n", "there is no such field"),
        (b"name: x\nnamee: y\n", "namee: there is no such field"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"seed: [", "is not YAML"),
        (b"- 1\n", "expected `field: value` lines, found list"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"dataset\.yaml.*{message}"):
        configure(path, {})


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
