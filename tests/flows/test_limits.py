"""Absurd sizes, NaN, a full memory and passwords: refused or told in one line, at once."""

import math
import resource
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from miex.datasets.config import LARGEST_COUNT, build, parse_assignments
from miex.datasets.flags import group_of, is_model
from miex.datasets.paths import masked
from miex.flows.cli import app
from miex.flows.terminal import describe
from miex.generators.ganimation.training import TrainingConfig
from miex.pipeline.synthesis.config import SynthesisConfig

MODELS = (SynthesisConfig, TrainingConfig)


def refused(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    return result.stderr


def fields_of(kind: type) -> list[tuple[type[BaseModel], str]]:
    """Return the place of every field of a type, and the model that it belongs to."""
    return [(model, place) for model in MODELS for place in places_of(model, kind)]


def places_of(model: type[BaseModel], kind: type, before: str = "") -> list[str]:
    places = []
    for name, field in model.model_fields.items():
        group = group_of(model, name)
        if group is not None and is_model(group):
            places += places_of(group, kind, f"{before}{name}.")
        elif kind in (field.annotation, *typing.get_args(field.annotation)):
            places.append(before + name)
    return places


def test_nan_and_infinity_are_no_thresholds() -> None:
    found = fields_of(float)
    assert len(found) > 10
    for model, place in found:
        for value in (math.nan, math.inf, -math.inf):
            with pytest.raises(ValueError, match=place):
                build(model, {place: value})


def test_nan_is_refused_on_every_way_in(tmp_path: Path) -> None:
    place = "quality.min_identity_similarity"
    file = tmp_path / "job.yaml"
    file.write_text("quality: {min_identity_similarity: .nan}\n")
    for given in ({"file": file}, {"values": parse_assignments([f"{place}=.nan"])}):
        with pytest.raises(ValueError, match=f"{place}.*finite number"):
            build(SynthesisConfig, **given)


def test_absurd_counts_are_refused() -> None:
    found = [each for each in fields_of(int) if not each[1].endswith("seed")]
    assert len(found) > 10
    for model, place in found:
        with pytest.raises(ValueError, match=rf"{place}: .*less than or equal to \d+"):
            build(model, {place: 10**18})
    assert build(SynthesisConfig, {"seed": LARGEST_COUNT + 1}).seed == LARGEST_COUNT + 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("synthesize", "--samples", 10**18), "samples: Input should be less than"),
        (("synthesize", "--identities", 10**18), "identities: Input should be less than"),
        (("pretrain", ".", "-r", "ststnet", "--epochs", 10**18), "epochs: Input should be less"),
        (("pretrain", ".", "-r", "ststnet", "--epochs", "1e30"), "--epochs"),
        (("synthesize", "-j", 10**12), "--workers"),
    ],
)
def test_absurd_sizes_of_commands(words: tuple[object, ...], message: str, tmp_path: Path) -> None:
    told = refused(*words, "-o", tmp_path / "out")
    assert message in " ".join(told.replace("\u2502", " ").split())
    assert not (tmp_path / "out").exists()


def test_a_name_of_5000_letters_is_refused_briefly(tmp_path: Path) -> None:
    long = "a" * 5000
    out = tmp_path / "out"
    for words in (
        ("pretrain", ".", "-r", long, "-o", out),
        ("synthesize", "--faces", f"folder:{long}", "-g", "warp", "-o", out),
        ("synthesize", "--faces", "samples", "-o", tmp_path / long),
    ):
        told = refused(*words).splitlines()[-1]
        assert told.startswith("error: ")
        assert long not in told
        assert "characters)" in told


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://me:hunter2@host/x: no", "s3://***@host/x: no"),
        ("'http://me:p@hunter2@host:80/a?b=1'", "'http://***@host:80/a?b=1'"),
        ("hf://x?token=hunter2&y=2", "hf://x?token=***&y=2"),
        ("https://h/x?X-Amz-Signature=hunter2#a", "https://h/x?X-Amz-Signature=***#a"),
        ("postgresql+asyncpg://u:hunter2@db/prefect", "postgresql+asyncpg://***@db/prefect"),
        ("expected KEY=VALUE&TOKEN=WORD", "expected KEY=VALUE&TOKEN=WORD"),
        ("a mail to me@host, then x://host/me@x", "a mail to me@host, then x://host/me@x"),
    ],
)
def test_passwords_of_addresses_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert describe(ValueError(text)) == shown


LIMITED = {
    "synthesize": ("synthesize", "--samples", "8", "-g", "warp", "-j", "1"),
    "faces": ("faces", "samples", "-j", "1"),
    "pretrain": ("pretrain", "DATA", "-r", "ststnet", "--device", "cpu"),
    "extract-aus": ("extract-aus", "samples", "--source", "early_mae"),
    "evaluate": ("evaluate", "--clips", "smic:DATA", "-p", "loso", "-r", "ststnet"),
    "train-generator": ("train-generator", "DATA", "--device", "cpu"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LIMITED)
@pytest.mark.parametrize("megabytes", [300, 600, 1030, 1200])
def test_a_full_memory_ends_in_one_line(name: str, megabytes: int, tmp_path: Path) -> None:
    limit = megabytes << 20
    ended = subprocess.run(
        [sys.executable, "-m", "miex", *LIMITED[name], "-o", str(tmp_path / "out.parquet")],
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "out of memory" in ended.stderr


def test_the_advice_at_a_full_memory_names_options_of_the_command(monkeypatch, tmp_path) -> None:
    def fill(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("miex.datasets.config.build", fill)
    for words, advice in (
        (("synthesize",), "--workers 1"),
        (("pretrain", ".", "-r", "ststnet"), "--batch-size 8"),
        (("train-generator", "x"), "a machine with more memory"),
    ):
        told = refused(*words, "-o", tmp_path / "out")
        assert told.startswith("error: out of memory: ")
        assert told.strip().endswith(advice)
