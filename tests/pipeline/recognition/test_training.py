import copy
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_recognition import ToyInputs, ToySamples

from miex.datasets.files import DiskFullError
from miex.pipeline.recognition import checkpoint as checkpoints
from miex.pipeline.recognition.checkpoint import (
    CHECKPOINT,
    Card,
    load_checkpoint,
    save_checkpoint,
)
from miex.pipeline.recognition.optimization import learning_rate
from miex.pipeline.recognition.order import batches_of, draw_weights
from miex.pipeline.recognition.prediction import predict
from miex.pipeline.recognition.recognizers.base import (
    AnyRecognizer,
    Hyperparameters,
    RecognizerConfig,
    create_recognizer,
)
from miex.pipeline.recognition.run_config import RunConfig
from miex.pipeline.recognition.training import UNFINISHED, Data, _share, train
from miex.pipeline.recognition.training_log import METRICS, TrainingLog

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


def test_a_training_of_fewer_steps_than_its_epochs(tmp_path: Path, data: Data) -> None:
    def stop(step: int, steps: int, terms: dict[str, float]) -> None:
        assert steps == 7
        if step == 5:
            raise RuntimeError("killed")

    short = SHORT.model_copy(update={"max_steps": 7, "schedule": "cosine"})
    assert short.steps(4) == 7
    assert SHORT.steps(4) == 16
    assert learning_rate(short, 0, 4) == short.learning_rate
    assert 0 < learning_rate(short, 6, 4) < 0.1 * short.learning_rate
    whole, killed = fresh(), fresh()
    card = train(whole, data, card_of(whole), "pretrain", RUN, hyper=short)
    assert card.stages[-1].steps == 7
    options = {"hyper": short, "folder": tmp_path}
    with pytest.raises(RuntimeError, match="killed"):
        train(killed, data, card_of(killed), "pretrain", RUN, on_step=stop, **options)
    resumed = fresh(99)
    train(resumed, data, card_of(resumed), "pretrain", RUN, **options)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_each_stage_has_its_hyperparameters() -> None:
    paper = Hyperparameters(epochs=5)
    own = Hyperparameters(epochs=9, max_steps=40, batch_size=128)
    config = RecognizerConfig(training=paper, pre_training=own)
    assert config.hyperparameters({}) == paper
    assert config.hyperparameters({}, "fine_tuning") == paper
    assert config.hyperparameters({}, "pretraining") == own
    assert config.hyperparameters({"batch_size": 64}, "pretraining").max_steps == 40
    longer = config.hyperparameters({"epochs": 20}, "alone")
    assert (longer.epochs, longer.max_steps, longer.batch_size) == (20, None, 128)


def test_dropout_is_drawn_alike_when_a_training_goes_on(
    tmp_path: Path, toy_samples: ToySamples, toy_inputs: ToyInputs
) -> None:
    def start(seed: int) -> Any:
        torch.manual_seed(seed)
        return create_recognizer("ststnet", 3, {"method": "dis"})

    data = Data(toy_inputs(start(0), toy_samples(20)), range(20), "toy")
    whole, killed = start(0), start(0)

    def kill(step: int, steps: int, terms: dict[str, float]) -> None:
        if step == 5:
            raise RuntimeError("killed")

    assert whole.config.dropout > 0
    options = {"hyper": SHORT, "folder": tmp_path}
    train(whole, data, card_of(whole), "pretrain", RUN, hyper=SHORT)
    with pytest.raises(RuntimeError, match="killed"):
        train(killed, data, card_of(killed), "pretrain", RUN, on_step=kill, **options)
    torch.manual_seed(77)
    second = start(99)
    train(second, data, card_of(second), "pretrain", RUN, **options)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_other_labels_are_another_training(tmp_path: Path, data: Data) -> None:
    options = {"hyper": SHORT, "folder": tmp_path}
    recognizer = fresh()
    train(recognizer, data, card_of(recognizer), "finetune", RUN, **options)
    relabelled = copy.copy(data.inputs)
    relabelled.infos = [replace(info, label=(info.label + 1) % 3) for info in data.inputs.infos]
    other = replace(data, inputs=relabelled)
    with pytest.raises(ValueError, match="holds a recognizer of another training"):
        train(recognizer, other, card_of(recognizer), "finetune", RUN, **options)


def test_a_batch_of_one_sample(toy_samples: ToySamples, toy_inputs: ToyInputs) -> None:
    recognizer = create_recognizer("dual_atme", 3, {"method": "dis"})
    alone = Data(toy_inputs(recognizer, toy_samples(3)), [0], "toy")
    with pytest.raises(ValueError, match=r"dual_atme cannot be trained on a batch of one sample"):
        train(recognizer, alone, card_of(recognizer), "finetune", RUN, hyper=SHORT)


def test_a_damaged_log_loses_the_damaged_lines_only(tmp_path: Path) -> None:
    lines = ['{"step": 1, "loss": 0.5}\n', "nonsense\n", '{"step": 2, "loss": 0.4}\n', '{"st']
    (tmp_path / METRICS).write_text("".join(lines))
    TrainingLog(tmp_path, 2).close()
    assert (tmp_path / METRICS).read_text() == lines[0] + lines[2]


def test_remains_of_a_killed_writer_are_removed(tmp_path: Path, data: Data) -> None:
    remains = tmp_path / f".{UNFINISHED}.1-1.partial"
    remains.write_bytes(b"half")
    recognizer = fresh()
    train(recognizer, data, card_of(recognizer), "pretrain", RUN, hyper=SHORT, folder=tmp_path)
    assert not remains.exists()


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


def test_answers_that_are_not_finite_are_no_answers(data: Data) -> None:
    recognizer = fresh()
    with torch.no_grad():
        next(recognizer.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match=r"dere_grl answers NaN or infinity: its last steps"):
        predict(recognizer, data.inputs, range(3), device="cpu")


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


def test_processes_share_all_of_a_batch() -> None:
    for count, processes in ((32, 6), (33, 4), (9, 1), (16, 8)):
        batch = np.arange(count)
        shares = [_share(batch, processes, mine) for mine in range(processes)]
        assert len({len(share) for share in shares}) == 1
        assert set(np.concatenate(shares).tolist()) == set(range(count))
        assert len(np.concatenate(shares)) < count + processes


def test_no_process_gets_a_single_sample() -> None:
    for count in range(8, 40):
        batches = batches_of(count, 8, 0, 0, None, processes=4)
        assert sum(map(len, batches)) == count
        assert min(map(len, batches)) >= 8
