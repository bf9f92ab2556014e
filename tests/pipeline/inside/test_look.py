import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from miex.datasets.labels import LABEL_SPACES
from miex.flows.cli import app
from miex.pipeline.fictitious_databases.write import write_fictitious
from miex.pipeline.inside.config import InsideConfig
from miex.pipeline.inside.look import Inside, inside_pictures, look_inside
from miex.pipeline.inside.page import write_inside_page
from miex.pipeline.inside.samples import (
    choose_samples,
    choose_shown,
    draw_samples,
    round_robin,
)
from miex.pipeline.recognition.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint
from miex.pipeline.recognition.job_config import ClipData, PretrainJob, SyntheticData
from miex.pipeline.recognition.jobs import open_real, pretrain
from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.run_config import RunConfig
from miex.pipeline.recognition.sample import SampleInfo


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path, cache: Path
) -> Checkpoint:
    out = tmp_path_factory.mktemp("trained")
    job = PretrainJob(
        recognizer="off_apexnet",
        config={"flow_side": 64, "method": "dis", "hidden": 32},
        synthetic=SyntheticData(datasets=(str(tiny_dataset),)),
        training={"epochs": 2, "batch_size": 8},
        run=RunConfig(device="cpu"),
    )
    pretrain(job, out, cache)
    return load_checkpoint(out / CHECKPOINT)


@pytest.fixture(scope="module")
def inside(trained: Checkpoint, tiny_dataset: Path, cache: Path) -> Inside:
    config = InsideConfig(datasets=(str(tiny_dataset),), shown=1, device="cpu")
    return look_inside(trained, config, cache)


def test_everything_that_applies_is_drawn_and_stands_alone(inside: Inside, tmp_path: Path) -> None:
    assert [each.heading for each in inside.sections] == ["Grad-CAM", "t-SNE", "Action Units"]
    assert inside.missing == ()
    assert inside.samples == {"synthesized, expert": 24}
    assert inside.known == 24
    page = write_inside_page(inside, "recognizer.safetensors", tmp_path)
    text = page.read_text("utf-8")
    files = [each.file for section in inside.sections for each in section.pictures]
    for file in files:
        assert (tmp_path / file).stat().st_size > 1000
        assert file in text
    assert text.count('<img src="data:image/') == len(files)
    assert 'src="http' not in text
    assert "does not measure the accuracy" in text
    assert "pretrain" in text
    assert "off_apexnet" in text
    for file in files:
        if file.endswith(".png"):
            with Image.open(tmp_path / file) as image:
                assert np.asarray(image).std() > 10
                assert image.width < 2400


def test_the_results_page_takes_the_pictures(inside: Inside) -> None:
    pictures = inside_pictures(inside)
    assert next(iter(pictures)) == "off_apexnet: Grad-CAM"
    for shown in pictures.values():
        for caption, address in shown:
            assert caption
            assert address.startswith("data:image/")


def test_the_same_checkpoint_gives_the_same_pictures(
    inside: Inside, trained: Checkpoint, tiny_dataset: Path, cache: Path
) -> None:
    config = InsideConfig(datasets=(str(tiny_dataset),), shown=1, device="cpu")
    assert look_inside(trained, config, cache).sections == inside.sections


def test_the_command(trained: Checkpoint, tiny_dataset: Path, cache: Path, tmp_path: Path) -> None:
    options = ["--dataset", str(tiny_dataset), "--cache", str(cache), "--device", "cpu"]
    folder = str(trained.path.parent)
    out = ["-o", str(tmp_path / "page"), "--samples", "12", "--shown", "1"]
    done = CliRunner().invoke(app, ["inspect", folder, *options, *out, "--layer", "streams.0.3"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "page" / "index.html").is_file()
    assert "synthesized, expert" in done.output
    start = ["--debug", "inspect", folder]
    with pytest.raises(ValueError, match="no samples are given: name a database with --clips"):
        CliRunner().invoke(app, start, catch_exceptions=False)
    with pytest.raises(FileNotFoundError, match="no checkpoint of a recognizer"):
        CliRunner().invoke(app, [*start[:2], str(tmp_path), *options], catch_exceptions=False)
    with pytest.raises(ValueError, match="no layer 'nose' with feature maps"):
        CliRunner().invoke(app, [*start, *options, "--layer", "nose"], catch_exceptions=False)


def test_a_recognizer_without_gradients_shows_what_is_left(
    tmp_path: Path, tiny_dataset: Path, cache: Path
) -> None:
    job = PretrainJob(
        recognizer="lbp_top",
        config={"descriptor": {"side": 64}},
        synthetic=SyntheticData(datasets=(str(tiny_dataset),)),
        run=RunConfig(device="cpu"),
    )
    pretrain(job, tmp_path, cache)
    config = InsideConfig(datasets=(str(tiny_dataset),), device="cpu")
    found = look_inside(load_checkpoint(tmp_path / CHECKPOINT), config, cache)
    assert [each.heading for each in found.sections] == ["t-SNE", "Action Units"]
    assert found.missing == ("Grad-CAM: lbp_top is fitted without gradients.",)


def test_samples_of_other_classes_are_refused(
    trained: Checkpoint, tiny_dataset: Path, tmp_path: Path, cache: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    manifest = json.loads((tiny_dataset / "manifest.json").read_text("utf-8"))
    manifest["label_space"] = {"name": "two", "classes": ["yes", "no"], "citation": ""}
    (other / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(ValueError, match="is labelled in 'two'"):
        look_inside(trained, InsideConfig(datasets=(str(other),)), cache)


def info(key: int, label: int, database: str = "casme2") -> SampleInfo:
    person = frozenset({(database, str(key))})
    return SampleInfo(
        f"{database}:{key}", label, str(label), database, str(key), person, "annotated"
    )


def test_right_and_wrong_ones_of_each_class_from_every_database() -> None:
    infos = [info(n, n % 3, "samm" if n < 6 else "casme2") for n in range(60)]
    answers = np.array([n % 3 if n % 4 else (n + 1) % 3 for n in range(60)])
    scores = np.eye(3, dtype=np.float32)[answers]
    choice = choose_shown(infos, scores, 2, seed=0)
    assert [infos[n].label for n in choice.correct] == [0, 0, 1, 1, 2, 2]
    assert all(answers[n] == infos[n].label for n in choice.correct)
    assert all(answers[n] != infos[n].label for n in choice.incorrect)
    for label in range(3):
        shown = {infos[n].database for n in choice.correct if infos[n].label == label}
        assert shown == {"samm", "casme2"}
    assert choose_shown(infos, scores, 2, seed=0) == choice
    assert choose_shown(infos, scores, 2, seed=1) != choice


def test_a_large_source_is_drawn_from_few_blocks_class_by_class() -> None:
    class Block:
        content = "a"

        def __init__(self, number: int) -> None:
            self.infos = [info(100 * number + n, int(n > 3)) for n in range(20)]

    blocks = [Block(number) for number in range(10)]
    drawn = draw_samples(blocks, 16, seed=0)
    labels = [each.label for block in drawn for each in block.infos]
    assert len(drawn) == 2
    assert sorted(labels) == [0] * 8 + [1] * 8
    assert len({block.content for block in drawn}) == 2
    assert draw_samples(blocks, 200, seed=0) == blocks
    assert round_robin("aabac", 4) == [0, 2, 4, 1]


def test_clips_are_looked_at_as_they_were_trained_on(
    cache: Path, sample_table: Path, tmp_path: Path
) -> None:
    clips = write_fictitious("casme2", tmp_path / "casme2", subjects=2, clips=3, faces=sample_table)
    recognizer = create_recognizer("lbp_top", 3, {"descriptor": {"side": 64}})
    space = LABEL_SPACES["three_class"]
    data = ClipData(databases=(clips.spec,))
    trained_on, _ = open_real(data, space, recognizer, cache, "cpu")
    config = InsideConfig(clips=(clips.spec,), device="cpu")
    shown = choose_samples(config, space, recognizer, cache).inputs
    places = {info.key: index for index, info in enumerate(trained_on.infos)}
    assert len(shown)
    order = [places[info.key] for info in shown.infos]
    assert torch.equal(
        shown.take(range(len(shown)))["histograms"], trained_on.take(order)["histograms"]
    )
