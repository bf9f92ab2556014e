import hashlib
import json
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch

from miex.generators.ganimation.checkpoint import load_checkpoint, save_checkpoint
from miex.generators.ganimation.network import random_network, to_network_range

PUBLIC = ("pumarola", "donydchen")


def save(state, path, **options):
    torch.save(OrderedDict(state), path, **options)
    return path


def slow_and_ours(checkpoint, layout, state, slow_forward, drawn_face, random_aus, side):
    crops = np.stack([drawn_face(seed, side).crop for seed in range(1)])
    image = to_network_range(torch.from_numpy(crops).permute(0, 3, 1, 2))
    aus = torch.from_numpy(random_aus(3, 1))
    with torch.inference_mode():
        return slow_forward(state, layout, image, aus), checkpoint.network(image, aus / 5)


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("layout", PUBLIC)
def test_a_public_file_gives_the_images_of_its_own_network(
    layout, side, public_state, slow_forward, drawn_face, random_aus, tmp_path
):
    """For donydchen, too, whose biases only the slow network keeps."""
    state = public_state(layout, 0)
    checkpoint = load_checkpoint(save(state, tmp_path / "any_name.bin"))
    assert checkpoint.format == layout
    assert checkpoint.image_size == 128
    slow, ours = slow_and_ours(
        checkpoint, layout, state, slow_forward, drawn_face, random_aus, side
    )
    for theirs, mine in zip(slow, ours, strict=True):
        assert (theirs - mine).abs().max() < 1e-4
        assert (theirs - mine).abs().mean() < 1e-5


@pytest.mark.parametrize("layout", PUBLIC)
def test_the_key_lists_are_complete(layout, keys, public_state, tmp_path):
    state = public_state(layout, 0)
    checkpoint = load_checkpoint(save(state, tmp_path / "g.pth"))
    loaded = checkpoint.network.state_dict()
    convolutions = [w for w in loaded.values() if w.ndim == 4]
    theirs = [w for w in state.values() if w.ndim == 4]
    assert len(keys[layout]) == {"pumarola": 53, "donydchen": 36}[layout]
    assert (
        sum(w.numel() for w in state.values())
        == ({"pumarola": 8_471_296, "donydchen": 8_467_584}[layout])
    )
    assert len(convolutions) == len(theirs) == 19
    assert all(torch.equal(a, b) for a, b in zip(convolutions, theirs, strict=True))


def same(path, state, tmp_path):
    reference = load_checkpoint(save(state, tmp_path / "reference.pth")).network.state_dict()
    loaded = load_checkpoint(path).network.state_dict()
    return all(torch.equal(loaded[key], reference[key]) for key in reference)


def test_what_old_and_parallel_training_adds_is_dropped(keys, public_state, tmp_path):
    state = public_state("pumarola", 0)
    old = state | {key: torch.zeros(shape) for key, shape in keys["pumarola_legacy"].items()}
    parallel = {f"module.{key}": tensor for key, tensor in old.items()}
    assert same(save(old, tmp_path / "old.pth"), state, tmp_path)
    assert same(save(parallel, tmp_path / "parallel.pth"), state, tmp_path)
    old_file = tmp_path / "zipless.pth"
    save(state, old_file, _use_new_zipfile_serialization=False)
    assert same(old_file, state, tmp_path)


def test_public_weights_converted_to_safetensors_are_read(public_state, tmp_path):
    state = public_state("donydchen", 0)
    safetensors.torch.save_file(state, tmp_path / "converted")
    assert same(tmp_path / "converted", state, tmp_path)
    assert load_checkpoint(tmp_path / "converted").format == "donydchen"


def test_ours_comes_back_bit_for_bit(tmp_path):
    network = random_network(3)
    path = tmp_path / "ours.safetensors"
    save_checkpoint(network, path, image_size=256, card={"data": "EmotionNet", "epochs": "30"})
    checkpoint = load_checkpoint(path)
    assert checkpoint.format == "miex"
    assert checkpoint.image_size == 256
    assert checkpoint.card == {"data": "EmotionNet", "epochs": "30"}
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    loaded = checkpoint.network.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in network.state_dict().items())
    assert [entry.name for entry in tmp_path.iterdir()] == ["ours.safetensors"]
    first = path.read_bytes()
    save_checkpoint(network, path, image_size=256, card={"epochs": "30", "data": "EmotionNet"})
    assert path.read_bytes() == first


def test_ours_in_half_precision(tmp_path):
    network = random_network(3)
    path = tmp_path / "half.safetensors"
    save_checkpoint(network, path, dtype=torch.float16)
    assert path.stat().st_size < 17.1e6
    loaded = load_checkpoint(path).network.state_dict()
    for key, value in network.state_dict().items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], value.half().float())


def test_other_precisions_and_broken_weights_are_not_written(tmp_path):
    network = random_network(3)
    with pytest.raises(ValueError, match=r"float32 or torch\.float16, not torch\.bfloat16"):
        save_checkpoint(network, tmp_path / "x", dtype=torch.bfloat16)
    with torch.no_grad():
        network.colour.weight[0, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=r"colour\.weight.*infinity in torch\.float16"):
        save_checkpoint(network, tmp_path / "x", dtype=torch.float16)
    assert not list(tmp_path.iterdir())


class Harm:
    """Unpickled, it creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("container", ["zip", "old", "pickle 2", "pickle 4", "hidden"])
def test_a_malicious_pickle_is_refused_and_nothing_runs(container, public_state, tmp_path):
    trap, path = tmp_path / "sprung", tmp_path / "30_net_gen.pth"
    if container.startswith("pickle"):
        path.write_bytes(pickle.dumps(Harm(trap), protocol=int(container[-1])))
    elif container == "hidden":
        save(public_state("donydchen", 0) | {"epoch": Harm(trap)}, path)
    else:
        torch.save(Harm(trap), path, _use_new_zipfile_serialization=container == "zip")
    with pytest.raises(ValueError, match="refused, and nothing in it was run") as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "mkdir" in str(caught.value) or container == "pickle 4"
    assert "weights_only" not in str(caught.value)
    assert not trap.exists()


def without(key):
    return lambda state: {k: v for k, v in state.items() if k != key}


@pytest.mark.parametrize(
    ("layout", "change", "message"),
    [
        (
            "pumarola",
            lambda s: s | {"main.0.weight": torch.zeros(64, 15, 7, 7)},
            r"'main\.0\.weight' has shape \(64, 15, 7, 7\), expected \(64, 20, 7, 7\)",
        ),
        ("donydchen", without("model.3.weight"), r"key 'model\.3\.weight' missing"),
        ("donydchen", without("color_top.0.weight"), r"'color_top\.0\.weight' missing"),
        (
            "donydchen",
            lambda s: s | {f"model.99.{i}": torch.zeros(1) for i in range(3)},
            r"key 'model\.99\.0' and 2 more unexpected; expected 19 tensors",
        ),
        ("pumarola", lambda s: s | {"epoch": 30}, "'epoch' unexpected"),
        (
            "pumarola",
            lambda s: s | {"main.1.bias": torch.full((64,), float("nan"))},
            r"'main\.1\.bias' holds NaN or infinity",
        ),
        ("pumarola", lambda s: s | {"main.1.bias": [1.0]}, r"'main\.1\.bias' is list"),
        (
            "pumarola",
            lambda s: s | {"main.1.bias": torch.zeros(64, dtype=torch.int64)},
            r"'main\.1\.bias' is torch\.int64",
        ),
        (
            "pumarola",
            lambda s: {"main.0.weight": torch.zeros(64, 3, 4, 4), "conv1.weight": s["main.1.bias"]},
            r"no generator of GANimation \(it holds main\.0\.weight, conv1\.weight\).*discrimin",
        ),
        ("pumarola", lambda s: {"state_dict": s}, r"no generator.*it holds state_dict"),
        ("pumarola", lambda s: {}, r"no generator.*it holds nothing"),
    ],
)
def test_wrong_weights_are_named(layout, change, message, public_state, tmp_path):
    path = save(change(public_state(layout, 0)), tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(str(path))


def test_files_that_are_no_checkpoints_are_named(public_state, tmp_path):
    path = tmp_path / "30_net_gen.pth"
    whole = save(public_state("donydchen", 0), tmp_path / "whole").read_bytes()
    save_checkpoint(random_network(0), tmp_path / "ours")
    ours = (tmp_path / "ours").read_bytes()
    for content, message in (
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "it may be a web page"),
        (whole[: len(whole) // 2], "damaged or cut off"),
        (b"\x80\x02 garbage", "damaged or cut off|refused"),
        (ours[: len(ours) // 2], "damaged safetensors file"),
        (ours[:8] + b"{" * 2000, "damaged safetensors file"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            load_checkpoint(path)
        assert str(path) in str(caught.value)
    torch.save(torch.zeros(3), path)
    with pytest.raises(ValueError, match="holds one Tensor, expected a state dict"):
        load_checkpoint(path)
    with pytest.raises(ValueError, match=r"is a folder, expected a regular file.*donydchen"):
        load_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint of a generator at .*donydchen"):
        load_checkpoint(tmp_path / "absent")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2 of miex-ganimation, this miex reads up to 1; update"),
        ({"version": "one"}, "metadata 'miex-ganimation' is incomplete or damaged"),
        ({"image_size": None}, "metadata 'miex-ganimation' is incomplete or damaged"),
        ({"card": []}, "metadata 'miex-ganimation' is incomplete or damaged"),
    ],
)
def test_metadata_is_checked(change, message, tmp_path):
    path = tmp_path / "ours.safetensors"
    about = {"version": 1, "image_size": 128, "card": {}} | change
    metadata = {"miex-ganimation": json.dumps(about)}
    safetensors.torch.save_file(random_network(0).state_dict(), path, metadata)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path)


def test_the_key_lists_are_those_of_the_reference(shared, keys):
    for layout in PUBLIC:
        facts = json.loads((shared / f"reference/ganimation_keys_{layout}.json").read_text())
        assert facts["generator"] == keys[layout]
