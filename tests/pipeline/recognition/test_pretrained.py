from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor, nn

from miex.datasets.files import sha256_file
from miex.pipeline.recognition.recognizers._pretrained import resnet18, timm_backbone

SMALL = "test_resnet"
"""The smallest backbone of timm whose weights are published."""

Save = Callable[[Any, Path], object]


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, and a network that is not to be touched."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was about to be downloaded")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    return tmp_path


@pytest.fixture(scope="module")
def imagenet() -> dict[str, Tensor]:
    """What a published file of ResNet-18 holds, head included, other figures."""
    torch.manual_seed(1)
    return torchvision.models.resnet18(weights=None).state_dict()


def same(network: nn.Module, stored: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, stored[key]) for key, value in network.state_dict().items())


def put_torchvision(root: Path, stored: dict[str, Tensor]) -> Path:
    path = root / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    torch.save(stored, path)
    return path


def put_timm(root: Path) -> dict[str, Tensor]:
    """Lays weights out as Hugging Face's cache does."""
    import timm

    torch.manual_seed(2)
    stored: dict[str, Tensor] = timm.create_model(SMALL, pretrained=False).state_dict()
    repository = root / "hub" / "models--timm--test_resnet.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    save_file(stored, repository / "snapshots" / "abc" / "model.safetensors")
    return stored


def test_a_fresh_machine_gets_random_weights_and_says_so() -> None:
    network, said = resnet18("auto")
    assert said == "random"
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 512)
    backbone, said, features = timm_backbone(SMALL, "auto")
    assert said == "random"
    assert backbone.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, features)
    maps, _, _ = timm_backbone(SMALL, "auto", pooled=False)
    assert maps.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, features, 2, 2)


@pytest.mark.parametrize("weights", ["auto", "imagenet"])
def test_cached_weights_are_used(weights: str, caches: Path, imagenet: dict[str, Tensor]) -> None:
    path = put_torchvision(caches, imagenet)
    network, said = resnet18(weights)
    assert same(network, imagenet)
    assert said == (
        f"torchvision ResNet18_Weights.IMAGENET1K_V1: sha256 {sha256_file(path)[:12]}, without fc"
    )
    stored = put_timm(caches)
    backbone, said, _ = timm_backbone(SMALL, weights)
    assert same(backbone, stored)
    assert said.startswith("timm test_resnet.r160_in1k: sha256")


def test_random_ignores_the_cache(caches: Path, imagenet: dict[str, Tensor]) -> None:
    put_torchvision(caches, imagenet)
    network, said = resnet18("random")
    assert said == "random"
    assert not same(network, imagenet)


def test_absent_imagenet_weights_say_where_they_belong(caches: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        resnet18("imagenet")
    assert str(caches / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth") in str(
        error.value
    )
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"hf download timm/rexnet_130.nav_in1k") as error:
        timm_backbone("rexnet_130", "imagenet")
    assert str(caches / "hub") in str(error.value)
    with pytest.raises(ValueError, match="there are no published ImageNet weights"):
        timm_backbone("rexnetr_100", "imagenet")


@pytest.mark.parametrize(("suffix", "save"), [(".pth", torch.save), (".safetensors", save_file)])
def test_a_file_with_another_head_and_a_prefix(
    suffix: str, save: Save, tmp_path: Path, imagenet: dict[str, Tensor]
) -> None:
    # A FER+ checkpoint: trained in parallel, eight classes, an attention of its own, no counts.
    stored = {
        f"module.{key}": value
        for key, value in imagenet.items()
        if not key.startswith("fc.") and not key.endswith("num_batches_tracked")
    }
    stored |= {"module.fc.weight": torch.zeros(8, 512), "module.alpha.0.bias": torch.zeros(1)}
    path = tmp_path / f"ferplus{suffix}"
    save(stored, path)
    network, said = resnet18(str(path))
    assert same(network, imagenet)
    assert said == f"{path}: sha256 {sha256_file(path)[:12]}, without alpha, fc"


def test_parameters_among_other_things(tmp_path: Path, imagenet: dict[str, Tensor]) -> None:
    path = tmp_path / "checkpoint.pth.tar"
    torch.save({"epoch": 3, "state_dict": imagenet, "best": 0.5}, path)
    assert same(resnet18(str(path))[0], imagenet)


def test_another_network_is_refused_with_its_keys(
    tmp_path: Path, imagenet: dict[str, Tensor]
) -> None:
    path = tmp_path / "wrong.pth"
    torch.save({key: value for key, value in imagenet.items() if key != "conv1.weight"}, path)
    with pytest.raises(ValueError, match=r"wrong.pth: not the weights.*missing: conv1.weight"):
        resnet18(str(path))
    torch.save(imagenet | {"conv1.weight": torch.zeros(64, 1, 7, 7)}, path)
    with pytest.raises(ValueError, match=r"conv1.weight \(64, 1, 7, 7\) instead of \(64, 3, 7, 7"):
        resnet18(str(path))
    # A ResNet-34 has every key of a ResNet-18, in the same shapes, and more blocks.
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), path)
    with pytest.raises(ValueError, match=r"unknown: layer1.2.bn1.bias.* and \d+ more"):
        resnet18(str(path))


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (eval, ("1 / 0",))


def test_unreadable_files(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": Evil()}, path)
    with pytest.raises(ValueError, match=r"evil.pth: cannot be read without running code"):
        resnet18(str(path))
    for name in ("noise.pth", "noise.safetensors"):
        (tmp_path / name).write_bytes(b"not a checkpoint")
        with pytest.raises(ValueError, match=f"{name}: cannot be read"):
            resnet18(str(tmp_path / name))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds a list"):
        resnet18(str(tmp_path / "list.pth"))
    with pytest.raises(FileNotFoundError, match=r"no file of weights at .*; give auto, imagenet"):
        resnet18(str(tmp_path / "absent.pth"))


def test_an_unknown_backbone() -> None:
    with pytest.raises(ValueError, match="no backbone 'rexnet_1'; it has: rexnet_100"):
        timm_backbone("rexnet_1", "random")
