import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from miex.datasets.files import DiskFullError
from miex.datasets.labels import LABEL_SPACES
from miex.pipeline.recognition import checkpoint as checkpoints
from miex.pipeline.recognition.cache import CachedInputs
from miex.pipeline.recognition.checkpoint import (
    Card,
    load_checkpoint,
    save_checkpoint,
    transfer,
)
from miex.pipeline.recognition.order import batches_of, draw_weights
from miex.pipeline.recognition.recognizers.base import (
    AnyRecognizer,
    Hyperparameters,
    create_recognizer,
)
from miex.pipeline.recognition.sample import Sample
from miex.pipeline.recognition.training import (
    CHECKPOINT,
    UNFINISHED,
    Data,
    RunConfig,
    learning_rate,
    predict,
    train,
)
from miex.pipeline.recognition.training_log import METRICS

ToySamples = Callable[..., list[Sample]]
ToyInputs = Callable[[AnyRecognizer, list[Sample]], CachedInputs]

RUN = RunConfig(device="cpu", seed=3, checkpoint_seconds=1e-9)
SHORT = Hyperparameters(epochs=4, batch_size=8, learning_rate=1e-3, schedule="cosine")


def fresh(seed: int = 0, classes: int = 3) -> Any:
    torch.manual_seed(seed)
    return create_recognizer("dere_grl", classes)


def card_of(recognizer: AnyRecognizer) -> Card:
    return Card(recognizer.name, recognizer.config.model_dump(mode="json"), "three_class", "random")


@pytest.fixture(scope="module")
def data(toy_samples: ToySamples, toy_inputs: ToyInputs) -> Data:
    inputs = toy_inputs(fresh(), toy_samples(30))
    return Data(inputs, range(24), "toy")


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / METRICS).read_text().splitlines()]


def test_a_killed_training_goes_on_with_identical_losses(tmp_path: Path, data: Data) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    recognizer = fresh()
    card = train(recognizer, data, card_of(recognizer), "pretrain", RUN, hyper=SHORT, folder=whole)
    assert card.stages[-1].steps == 12

    def kill(step: int, steps: int, terms: dict[str, float]) -> None:
        if step == 8:
            raise RuntimeError("killed")

    first = fresh()
    with pytest.raises(RuntimeError, match="killed"):
        train(
            first, data, card_of(first), "pretrain", RUN, hyper=SHORT, folder=killed, on_step=kill
        )
    assert (killed / UNFINISHED).is_file()
    second = fresh(seed=99)
    train(second, data, card_of(second), "pretrain", RUN, hyper=SHORT, folder=killed)
    assert losses(killed) == losses(whole)
    assert not (killed / UNFINISHED).exists()
    one, two = load_checkpoint(whole / CHECKPOINT), load_checkpoint(killed / CHECKPOINT)
    assert one.card == two.card
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, two.tensors[name]), name


def test_another_training_does_not_go_on_in_the_folder(tmp_path: Path, data: Data) -> None:
    recognizer = fresh()
    save_checkpoint(
        tmp_path / UNFINISHED,
        recognizer,
        card_of(recognizer),
        checkpoints.Progress(1, {}),
    )
    with pytest.raises(ValueError, match="holds an unfinished training with other data"):
        train(recognizer, data, card_of(recognizer), "pretrain", RUN, hyper=SHORT, folder=tmp_path)


def test_it_learns_and_says_what_it_was_trained_on(tmp_path: Path, data: Data) -> None:
    recognizer = fresh()
    hyper = recognizer.config.training.model_copy(update={"epochs": 60})
    card = train(
        recognizer, data, card_of(recognizer), "finetune", RUN, hyper=hyper, folder=tmp_path
    )
    stage = card.stages[-1]
    assert stage.samples == 24
    assert stage.sources == {"real": 24}
    assert stage.subjects == tuple(("toy", f"toy{i:03d}") for i in range(24))
    labels = [info.label for info in data.inputs.infos[24:]]
    logits = predict(recognizer, data.inputs, range(24, 30), device="cpu")
    assert (logits.argmax(1) == labels).all()
    loaded = load_checkpoint(tmp_path / CHECKPOINT)
    assert loaded.card == card
    again = predict(loaded.create(), data.inputs, range(24, 30), device="cpu", batch_size=1)
    np.testing.assert_allclose(again, logits, atol=1e-5)


def test_the_seed_decides_everything(data: Data) -> None:
    def run(seed: int) -> list[float]:
        seen: list[float] = []
        recognizer = fresh()
        config = RUN.model_copy(update={"seed": seed})
        train(
            recognizer,
            data,
            card_of(recognizer),
            "finetune",
            config,
            hyper=SHORT,
            on_step=lambda step, steps, terms: seen.append(terms["loss"]),
        )
        return seen

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_a_loss_that_is_not_finite_stops_at_once(data: Data) -> None:
    recognizer = fresh()
    with torch.no_grad():
        next(recognizer.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match=r"dere_grl: the loss is nan at step 1 \(toy:toy"):
        train(recognizer, data, card_of(recognizer), "finetune", RUN, hyper=SHORT)


def test_a_full_disk_keeps_the_last_state(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = 0
    real = checkpoints.save_checkpoint

    def full(*args: Any, **options: Any) -> None:
        nonlocal writes
        writes += 1
        if writes == 3:
            raise DiskFullError(28, "the disk is full")
        real(*args, **options)

    monkeypatch.setattr("miex.pipeline.recognition.training.save_checkpoint", full)
    recognizer = fresh()
    with pytest.raises(DiskFullError):
        train(recognizer, data, card_of(recognizer), "pretrain", RUN, hyper=SHORT, folder=tmp_path)
    found = load_checkpoint(tmp_path / UNFINISHED)
    assert found.progress is not None
    assert found.progress.step == 2


def test_transfer_keeps_what_does_not_depend_on_the_classes(tmp_path: Path) -> None:
    source = fresh()
    save_checkpoint(tmp_path / "a.safetensors", source, card_of(source))
    found = load_checkpoint(tmp_path / "a.safetensors")
    same = fresh(seed=1)
    assert transfer(same, found, LABEL_SPACES["three_class"]) == ()
    assert all(
        torch.equal(a, b)
        for a, b in zip(same.state_dict().values(), source.state_dict().values(), strict=True)
    )
    other = fresh(seed=1, classes=5)
    kept = transfer(other, found, LABEL_SPACES["casme2_5class"])
    assert kept
    assert all(name.startswith(other.class_layers) for name in kept)
    rest = set(source.state_dict()) - set(kept)
    assert rest
    assert all(torch.equal(other.state_dict()[n], source.state_dict()[n]) for n in rest)
    assert "then pretrained on" in other.weights


def test_as_many_classes_need_not_be_the_same(tmp_path: Path) -> None:
    source = fresh(classes=5)
    card = replace(card_of(source), label_space="casme2_5class")
    save_checkpoint(tmp_path / "a.safetensors", source, card)
    found = load_checkpoint(tmp_path / "a.safetensors")
    other = fresh(seed=1, classes=5)
    assert transfer(other, found, LABEL_SPACES["samm_5class"])
    assert transfer(other, found, LABEL_SPACES["casme2_5class"]) == ()


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(ValueError, match=r"x\.safetensors: no checkpoint of a recognizer"):
        load_checkpoint(tmp_path / "x.safetensors")
    with pytest.raises(FileNotFoundError, match="`miex pretrain` writes them"):
        load_checkpoint(tmp_path / "y.safetensors")


def test_every_sample_is_shown_once_an_epoch_and_no_batch_is_single() -> None:
    for count, size in ((33, 8), (8, 8), (7, 8), (2, 1), (17, 16)):
        batches = batches_of(count, size, seed=0, epoch=1, weights=None)
        assert sorted(np.concatenate(batches).tolist()) == list(range(count))
        assert size == 1 or min(len(batch) for batch in batches) > 1
    assert not np.array_equal(batches_of(33, 8, 0, 0, None)[0], batches_of(33, 8, 0, 1, None)[0])


def test_weights_and_balance(data: Data) -> None:
    infos = [
        replace(info, label=0 if number else 1, weight=2.0 if number == 5 else 1.0)
        for number, info in enumerate(data.inputs.infos)
    ]
    weights = draw_weights(infos, "none")
    assert weights is not None
    assert weights[5] == pytest.approx(2 * weights[6])
    balanced = draw_weights(infos, "classes")
    assert balanced is not None
    assert balanced[0] == pytest.approx(0.5)
    assert draw_weights(data.inputs.infos, "none") is None
    assert draw_weights(data.inputs.infos[:6], "classes") is None
    with pytest.raises(ValueError, match="weight 0"):
        draw_weights([replace(info, weight=0.0) for info in infos], "none")
    with pytest.raises(ValueError, match="no sample to train on"):
        draw_weights([], "none")


def test_schedules() -> None:
    def rates(**changes: Any) -> list[float]:
        hyper = Hyperparameters(learning_rate=1.0, epochs=4, **changes)
        return [learning_rate(hyper, step, 2) for step in range(8)]

    assert rates() == [1.0] * 8
    assert rates(schedule="step", step_epochs=2, step_factor=0.1) == pytest.approx(
        [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1]
    )
    assert rates(schedule="linear_second_half") == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    cosine = rates(schedule="cosine")
    assert cosine[0] == 1
    assert cosine[4] == pytest.approx(0.5)
    assert all(a > b for a, b in itertools.pairwise(cosine))


def test_a_finished_training_is_not_made_again(tmp_path: Path, data: Data) -> None:
    recognizer = fresh()
    card = train(
        recognizer, data, card_of(recognizer), "pretrain", RUN, hyper=SHORT, folder=tmp_path
    )
    again = fresh(seed=5)
    steps: list[int] = []
    options = {"hyper": SHORT, "folder": tmp_path, "on_step": lambda step, *_: steps.append(step)}
    assert train(again, data, card_of(again), "pretrain", RUN, **options) == card
    assert steps == []
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.state_dict().values(), recognizer.state_dict().values(), strict=True)
    )
    for changed, run in (
        (replace(data, indices=range(23)), RUN),
        (data, RUN.model_copy(update={"seed": 4})),
        (data, RUN.model_copy(update={"precision": "bf16"})),
    ):
        with pytest.raises(ValueError, match="holds a recognizer of another training"):
            train(again, changed, card_of(again), "pretrain", run, **options)


def test_what_is_drawn_how_often_belongs_to_a_training(tmp_path: Path, data: Data) -> None:
    uneven = replace(data, indices=range(23))

    def kill(step: int, steps: int, terms: dict[str, float]) -> None:
        if step == 2:
            raise RuntimeError("killed")

    recognizer = fresh()
    options = {"hyper": SHORT, "folder": tmp_path}
    with pytest.raises(RuntimeError, match="killed"):
        train(recognizer, uneven, card_of(recognizer), "pretrain", RUN, on_step=kill, **options)
    balanced = RUN.model_copy(update={"balance": "classes"})
    other = fresh()
    with pytest.raises(ValueError, match="an unfinished training with other data or parameters"):
        train(other, uneven, card_of(other), "pretrain", balanced, **options)


def test_an_interrupt_in_the_middle_of_a_step_leaves_the_last_whole_state(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer, calls = fresh(), 0
    real = type(recognizer).loss

    def interrupted(self: Any, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        terms = real(self, *args)
        if calls == 6:
            raise KeyboardInterrupt
        return terms

    monkeypatch.setattr(type(recognizer), "loss", interrupted)
    options = {"hyper": SHORT, "folder": tmp_path / "killed"}
    with pytest.raises(KeyboardInterrupt):
        train(recognizer, data, card_of(recognizer), "pretrain", RUN, **options)
    monkeypatch.undo()
    second, whole = fresh(), fresh()
    train(second, data, card_of(second), "pretrain", RUN, **options)
    train(whole, data, card_of(whole), "pretrain", RUN, hyper=SHORT)
    assert all(
        torch.equal(a, b)
        for a, b in zip(second.state_dict().values(), whole.state_dict().values(), strict=True)
    )


def test_no_process_gets_a_single_sample() -> None:
    for count in range(8, 40):
        batches = batches_of(count, 8, 0, 0, None, processes=4)
        assert sum(map(len, batches)) == count
        assert min(map(len, batches)) >= 8


def test_a_checkpoint_of_other_parameters_is_refused(tmp_path: Path) -> None:
    source = fresh()
    save_checkpoint(tmp_path / "a.safetensors", source, card_of(source))
    found = load_checkpoint(tmp_path / "a.safetensors")
    other = create_recognizer("dere_grl", 3, {"shape_jitter": 0.5})
    with pytest.raises(ValueError, match=r"trained with shape_jitter=.*, not 0\.5"):
        transfer(other, found, LABEL_SPACES["three_class"])  # type: ignore[arg-type]
    stranger = create_recognizer("ststnet", 3)
    with pytest.raises(ValueError, match=r"holds 'dere_grl', not 'ststnet'"):
        transfer(stranger, found, LABEL_SPACES["three_class"])  # type: ignore[arg-type]
    longer = create_recognizer("dere_grl", 3, {"training": {"epochs": 5}})
    assert transfer(longer, found, LABEL_SPACES["three_class"]) == ()  # type: ignore[arg-type]
