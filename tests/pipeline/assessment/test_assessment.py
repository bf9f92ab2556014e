"""Tests of `miex assess-generator` on the sample faces, and of its error messages."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from miex.au_sources.action_units import AU_NAMES
from miex.datasets.encoding import ImageConfig, encode_frame
from miex.flows.cli import app
from miex.generators.base import GeneratorConfig
from miex.generators.ganimation.training_notes import AUAgreement, TrainingNotes
from miex.generators.ganimation.training_set import TrainingRow, write_training_set
from miex.pipeline.assessment.assessment import assess_generators, labels_of
from miex.pipeline.assessment.config import AssessmentConfig
from miex.pipeline.assessment.held_out import open_held_out
from miex.pipeline.faces.table import FaceTable

WARP = GeneratorConfig(name="warp", device="cpu")
QUICK = ["--source", "expert:miex", "--set", "intensities=[1, 3]", "--set", "looks=2"]


def call(*words: object):
    # Errors keep their type with --debug.
    return CliRunner().invoke(app, ["--debug", "assess-generator", *map(str, words)])


@pytest.fixture(scope="module")
def assessed(sample_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("assessed") / "out"
    words = ["warp", "--faces", sample_table, "-n", 8, "-e", "landmarks", "-j", 1, "-o", out]
    result = call(*words, "--device", "cpu", "--set", "splits=4", *QUICK)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "fidelity" in result.output
    assert "is too high" in result.output
    return out


@pytest.fixture(scope="module")
def document(assessed: Path) -> dict:
    return json.loads((assessed / "assessment.json").read_text())


def test_it_writes_everything_whole(assessed):
    names = {path.name for path in assessed.iterdir()}
    assert names == {
        "assessment.json",
        "card.md",
        "index.html",
        "sheet-micro.png",
        "sheet-warp.png",
    }
    with Image.open(assessed / "sheet-warp.png") as sheet:
        assert sheet.width > 500


def test_the_numbers_say_what_was_measured(document, sample_table):
    assert document["faces"]["sha256"] == FaceTable.open(sample_table).sha256
    assert document["faces"]["identities"] == 8
    assert document["estimators"][0]["estimator"] == "landmarks"
    (warp,) = document["generators"]
    assert warp["name"] == "warp"
    assert warp["sha256"] is None
    assert [row["name"] for row in warp["targets"]] == [
        *("fidelity", "direction", "identity", "outside", "nulls", "motion", "kid")
    ]
    assert warp["identity"]["same_person"] == 1
    # The landmark estimator inverts the motion by which warp draws: it has to see AU12.
    smile = warp["fidelity"][0]["aus"][8]
    assert smile["direction"]["3"] >= 0.75
    assert smile["change"]["3"] > smile["change"]["1"] > 0
    assert {row["cases"] for row in warp["realism"]} == {"all", "single", "micro"}
    assert "AU05" not in document["aus"]
    assert "AU12" in document["aus"]


def test_no_folder_of_this_machine_is_named(assessed, sample_table):
    for name in ("assessment.json", "card.md", "index.html"):
        assert str(sample_table.parent) not in (assessed / name).read_text()


class Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open, self.ids, self.links, self.resources = [], set(), [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.add(value)
            if key == "href":
                self.links.append(value)
            if key == "src":
                self.resources.append(value)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_no_network(assessed):
    text = (assessed / "index.html").read_text()
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    assert {link[1:] for link in outline.links} <= outline.ids
    assert all(one.startswith("data:image/webp") for one in outline.resources)
    assert len(outline.resources) == 2
    assert not re.findall(r"https?://(?!www\.w3\.org)", text)
    assert text.count("AU12 requested") >= 10
    assert "not met" in text


def test_the_card_holds_the_targets(assessed, document):
    text = (assessed / "card.md").read_text()
    assert text.startswith("## Assessment")
    for row in document["generators"][0]["targets"]:
        assert row["text"] in text
    assert "AU12" in text


@pytest.mark.slow
def test_workers_do_not_change_a_number(document, sample_table, tmp_path):
    config = AssessmentConfig(
        generators=(WARP,),
        faces=str(sample_table),
        identities=8,
        estimators=("landmarks",),
        sources=("expert:miex",),
        intensities=(1.0, 3.0),
        looks=2,
        splits=4,
    )
    again = assess_generators(config, tmp_path, workers=2)
    assert again == document


@pytest.fixture(scope="module")
def training_set(sample_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a training set labelled by `landmarks`, with the sample faces as held-out split."""
    path = tmp_path_factory.mktemp("training") / "set.parquet"
    faces = FaceTable.open(sample_table).load(range(8))
    rows = [
        TrainingRow(
            image=encode_frame(face.crop, ImageConfig(format="png")),
            suffix="png",
            landmarks=face.landmarks,
            aus=np.zeros(17, np.float32),
            identity=face.identity,
            origin=face.origin,
            split="held_out",
        )
        for face in faces
    ]
    agreement = tuple(AUAgreement(name, True, "planted") for name in AU_NAMES)
    notes = TrainingNotes(faces[0].crop.shape[0], "samples", "landmarks", "1", agreement)
    write_training_set(path, rows, notes)
    return path


def test_held_out_people_of_a_training_set_are_read(training_set, sample_table):
    people = open_held_out(training_set)
    face = FaceTable.open(sample_table).load([0])[0]
    assert people.labelled_by == "landmarks"
    assert len(people.faces) == 8
    assert np.array_equal(people.faces[0].crop, face.crop)
    assert np.array_equal(people.faces[0].landmarks, face.landmarks)
    assert people.faces[0].quality.face_size > 20
    few = open_held_out(training_set, 3, seed=1)
    assert len({one.identity for one in few.faces}) == 3


def test_the_labeller_is_refused(training_set, tmp_path):
    from miex.generators.ganimation.checkpoint import save_checkpoint
    from miex.generators.ganimation.network import random_network

    weights = tmp_path / "w.safetensors"
    save_checkpoint(random_network(0), weights)
    result = call(
        *("ganimation", "--checkpoint", f"ganimation={weights}", "--faces", training_set),
        *("-e", "landmarks", "-o", tmp_path / "out"),
    )
    assert isinstance(result.exception, ValueError)
    assert "labelled the training data" in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--checkpoint", "ganimation=x.pth"], "generator 'ganimation' is not among those named"),
        (["--checkpoint", "warp"], "NAME=FILE"),
        (["--set", "looks=1"], "looks"),
        (["--set", "intensities=[3, 1]"], "ascending"),
        (["-n", "500"], "request fewer"),
        (["-e", "nobody"], "nobody"),
        (["--trained-on", "landmarks", "--source", "expert:nothing"], "nothing"),
    ],
)
def test_bad_input_is_named(words, message, sample_table, tmp_path):
    given = ["warp", "--faces", sample_table, "-o", tmp_path / "out", "-j", 1]
    if "-e" not in words:
        given += ["-e", "landmarks"]
    result = call(*given, *words)
    assert result.exception is not None
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_generators_of_one_name_are_told_apart():
    def of(name: str) -> GeneratorConfig:
        return GeneratorConfig(name="ganimation", checkpoint=Path(f"/weights/{name}.safetensors"))

    assert labels_of([of("a"), of("b"), WARP]) == ["ganimation a", "ganimation b", "warp"]
    assert labels_of([of("a"), WARP]) == ["ganimation", "warp"]
    assert labels_of([of("a"), of("a")]) == ["ganimation a (1)", "ganimation a (2)"]
