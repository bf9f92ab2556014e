"""Tests of the column `au_fidelity` of a dataset."""

import hashlib
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from miex.datasets.dataset_format import DatasetFolder
from miex.generators.base import GeneratorConfig
from miex.pipeline.make_dataset import synthesize
from miex.pipeline.synthesis.config import QualityConfig, SynthesisConfig
from miex.pipeline.synthesis.run import redraw

HALF = QualityConfig(fidelity_share=0.5, fidelity_estimator="landmarks", identity_share=0)


@pytest.fixture(scope="module")
def made(sample_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fidelity") / "dataset"
    config = SynthesisConfig(faces=str(sample_table), samples=24, identities=6, quality=HALF)
    synthesize(config, out, workers=1)
    return out


def test_a_share_of_the_rows_is_measured(made):
    values = [row["au_fidelity"] for row in DatasetFolder.open(made).rows(["au_fidelity"])]
    measured = [value for value in values if value is not None]
    assert 4 <= len(measured) <= 20
    assert all(-1 <= value <= 1 for value in measured)
    assert max(measured) > 0.5


def test_the_manifest_says_with_what(made):
    found = DatasetFolder.open(made).manifest["inputs"]["fidelity"]
    assert found["estimator"] == "landmarks"
    assert found["version"]


def test_a_measured_row_can_be_made_again(made):
    rows = {row["sample_id"]: row["au_fidelity"] for row in DatasetFolder.open(made).rows()}
    name = next(name for name, value in rows.items() if value is not None)
    assert redraw(made, name)["au_fidelity"] == pytest.approx(rows[name])


def test_it_does_not_change_what_is_drawn(made, sample_table, tmp_path):
    plain = QualityConfig(identity_share=0)
    config = SynthesisConfig(faces=str(sample_table), samples=24, identities=6, quality=plain)
    synthesize(config, tmp_path / "plain", workers=1)
    one, other = DatasetFolder.open(made), DatasetFolder.open(tmp_path / "plain")
    for a, b in zip(one.rows(), other.rows(), strict=True):
        assert a.pop("au_fidelity") is None or b["au_fidelity"] is None
        assert b.pop("au_fidelity") is None
        assert a == b


def test_unused_fields_leave_the_config_as_it_was():
    config = SynthesisConfig()
    assert "fidelity_share" not in config.canonical()
    before = config.model_dump(mode="json")
    del before["quality"]["fidelity_share"], before["quality"]["fidelity_estimator"]
    del before["drift"], before["asymmetry"], before["sensor"]
    for name in ("max_expression", "rest_weight", "max_bystander"):
        del before["face_preparation"][name]
    text = json.dumps(before, sort_keys=True, separators=(",", ":"))
    assert config.sha256() == hashlib.sha256(text.encode()).hexdigest()
    assert "fidelity_share" in SynthesisConfig(quality=HALF).canonical()


def test_a_share_needs_an_estimator():
    with pytest.raises(ValidationError, match="fidelity_estimator"):
        QualityConfig(fidelity_share=0.1)


def test_an_absent_estimator_shows_before_the_work(sample_table, tmp_path):
    quality = QualityConfig(fidelity_share=1, fidelity_estimator="openface-models:nowhere")
    # The trained generator refuses this estimator, which labelled its training data.
    generator = GeneratorConfig(name="warp")
    config = SynthesisConfig(
        faces=str(sample_table), samples=3, quality=quality, generator=generator
    )
    with pytest.raises(FileNotFoundError, match="nowhere"):
        synthesize(config, tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()
