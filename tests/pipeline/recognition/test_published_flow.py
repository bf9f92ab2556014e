from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_recognition import ToySamples

from miex.pipeline.recognition.clip_samples import clip_blocks
from miex.pipeline.recognition.input_form import takers_of_flow, with_input_form
from miex.pipeline.recognition.recognizers import _flow_baseline
from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.representations.published_flow import (
    CROPS,
    PublishedFlow,
    PublishedFlowConfig,
    crop_matrix,
)
from miex.pipeline.recognition.representations.rigid_motion import (
    STILL,
    align_to_onset,
    remove_rigid_motion,
    rigid_motion,
)
from miex.pipeline.recognition.sample import NO_FRAMES, Sample, require_usable

CPU = torch.device("cpu")
QUICK = PublishedFlowConfig(flow_side=64, method="dis")


def finished(sample: Sample, seed: int = 0) -> Sample:
    """A sample that is published as flow."""
    pixels = np.random.default_rng(seed).integers(0, 256, (28, 28, 3), np.uint8)
    return replace(sample, frames=NO_FRAMES, apex_index=0, landmarks=None, flow=pixels)


def test_a_finished_image_stays_what_it_is(toy_samples: ToySamples) -> None:
    sample = finished(toy_samples(1)[0])
    assert sample.flow is not None
    flow = PublishedFlow(QUICK).compute([sample], CPU)["flow"]
    expected = torch.from_numpy(sample.flow).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(flow[0].float(), expected, atol=2e-3, rtol=0)


def test_samples_with_frames_get_the_same_form(toy_samples: ToySamples) -> None:
    samples = toy_samples(4)
    flow = PublishedFlow(QUICK).compute([*samples, finished(samples[0])], CPU)["flow"].float()
    assert flow.shape == (5, 3, 28, 28)
    assert torch.equal(flow.amin((2, 3)), torch.zeros(5, 3))
    torch.testing.assert_close(flow.amax((2, 3)), torch.ones(5, 3), atol=1e-3, rtol=0)
    again = PublishedFlow(QUICK).compute(samples[2:3], CPU)["flow"].float()
    torch.testing.assert_close(again[0], flow[2], atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", ["casme2_smic", "samm"])
def test_eyes_and_mouth_come_to_lie_where_they_were_measured(
    toy_samples: ToySamples, name: Any
) -> None:
    config = PublishedFlowConfig(crops=(name,), jitter=0)
    landmarks = toy_samples(1)[0].landmarks
    assert landmarks is not None
    points = landmarks[0]
    matrix = crop_matrix(points, config, np.random.default_rng(0))
    parts = [points[36:42], points[42:48], points[48:68]]
    placed = [matrix[:, :2] @ part.mean(0) + matrix[:, 2] for part in parts]
    shares = (np.array(placed) + 0.5) / config.side
    np.testing.assert_allclose(shares[:, 0], np.array(CROPS[name])[:, 0], atol=0.02)
    assert abs(shares[:2, 1].mean() - CROPS[name][0][1]) < 0.01
    assert abs(shares[2, 1] - CROPS[name][2][1]) < 0.01


def test_recognizers_of_frames_refuse_finished_flow_and_say_why(
    tmp_path: Path, toy_samples: ToySamples
) -> None:
    with pytest.raises(ValueError, match="published as optical flow of the whole face"):
        require_usable(finished(toy_samples(1)[0]))
    (tmp_path / "clips.csv").write_text("dataset,sub,filename_o,label\ncasme2,sub01,EP02,1\n")
    (tmp_path / "images").mkdir()
    place = f"megc2019_flow:{tmp_path}"
    with pytest.raises(ValueError, match=r"branches needs another input; .*ststnet"):
        with_input_form("branches", {}, [place])
    with pytest.raises(ValueError, match="form=face cannot be made"):
        with_input_form("ststnet", {"form": "face"}, [place])
    settled = with_input_form("ststnet", {}, [place])
    assert settled["form"] == "published"
    assert settled["training"]["epochs"] == 60
    assert settled["pre_training"]["max_steps"] == 40
    given = with_input_form("ststnet", {"pre_training": {"epochs": 3}}, [place])
    assert given["pre_training"] == {"epochs": 3}
    own = {"training": {"epochs": 800}}
    assert with_input_form("ststnet", own, [place]) == {"form": "published", **own}
    assert with_input_form("ststnet", {}, []) == {"form": "face"}
    assert with_input_form("branches", {"side": 64}, []) == {"side": 64}
    assert {"ststnet", "off_apexnet", "dual_inception", "htnet", "rcn"} <= set(takers_of_flow())


def test_clips_of_the_reader_become_samples_of_their_people(tmp_path: Path) -> None:
    from PIL import Image

    from miex.datasets.clips.base import open_clips
    from miex.datasets.labels import LABEL_SPACES

    (tmp_path / "clips.csv").write_text(
        "dataset,sub,filename_o,label\ncasme2,sub01,EP02,1\nsmic,s03,s03_ne_01,0\nsamm,6,006_1,2\n"
    )
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    for name in ("sub01_EP02 .png", "s03_s03_ne_01.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "6_006_1 .png").write_bytes(b"damaged")
    reader = open_clips(f"megc2019_flow:{tmp_path}")
    blocks, left_out = clip_blocks([reader], LABEL_SPACES["three_class"])
    infos = [info for block in blocks for info in block.infos]
    assert [(info.key, info.label, info.person) for info in infos] == [
        ("casme2:sub01/EP02", 1, ("casme2", "sub01")),
        ("smic:s3/s3_ne_01", 0, ("smic", "s3")),
    ]
    assert [each.reason for each in left_out] == ["unreadable_frame"]
    sample = next(iter(blocks[0].load(landmarks=True)))
    assert sample.flow is not None
    np.testing.assert_array_equal(sample.flow, pixels)


def flow_inputs(count: int = 64) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    motion = torch.nn.functional.interpolate(torch.randn(count, 3, 7, 7), (28, 28), mode="bicubic")
    from miex.pipeline.recognition.representations.published_flow import stretched

    return {"flow": stretched(motion).half()}


def augment(inputs: dict[str, torch.Tensor], seed: int = 0, **config: Any) -> torch.Tensor:
    recognizer: Any = create_recognizer("ststnet", 3, {"form": "published", **config})
    generator = torch.Generator().manual_seed(seed)
    flow: torch.Tensor = recognizer.augment(inputs, generator)["flow"]
    return flow.float()


def test_mirroring_turns_the_sign_of_u_alone() -> None:
    inputs = flow_inputs(8)
    flow = inputs["flow"].float()
    mirrored = augment(inputs, flip=1.0, noise=0, drift=0)
    torch.testing.assert_close(mirrored[:, 0], 1 - flow[:, 0].flip(-1), atol=3e-3, rtol=0)
    torch.testing.assert_close(mirrored[:, 1:], flow[:, 1:].flip(-1), atol=3e-3, rtol=0)
    torch.testing.assert_close(augment(inputs, flip=0, noise=0, drift=0), flow, atol=1e-6, rtol=0)


def test_noise_brings_fine_detail_and_grows_with_its_strength() -> None:
    inputs = flow_inputs()

    def detail(flow: torch.Tensor) -> float:
        return float(flow[:, :2].diff(dim=-1).abs().mean() / flow[:, :2].std())

    found = [detail(augment(inputs, flip=0, drift=0, noise=each)) for each in (0, 0.25, 1.0)]
    assert found[0] < found[1] < found[2]
    for flow in (augment(inputs, noise=1.0), augment(inputs, drift=1.0)):
        assert flow.amin() == 0
        torch.testing.assert_close(flow.amax((2, 3)), torch.ones(64, 3))


def test_the_form_face_is_not_augmented() -> None:
    inputs = flow_inputs(4)
    config = _flow_baseline.FlowBaselineConfig(form="face")
    assert _flow_baseline.augmented(inputs, config, torch.Generator()) is inputs


def head_motion(landmarks: np.ndarray, change: np.ndarray, side: int) -> torch.Tensor:
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    field = np.einsum("ij,jhw->ihw", change, np.stack([x, y, np.ones_like(x)]).astype(float))
    return torch.from_numpy(field[None].astype(np.float32))


def test_rigid_motion_is_found_and_taken_off(toy_samples: ToySamples) -> None:
    points = toy_samples(1)[0].landmarks
    assert points is not None
    change = np.array([[0.01, -0.02, 1.5], [0.02, 0.01, -0.7]])
    still = points[0, list(STILL)].astype(np.float64)
    found = rigid_motion(still, still @ (np.eye(2) + change[:, :2]).T + change[:, 2])
    np.testing.assert_allclose(found, change, atol=1e-6)
    flow = head_motion(points[0], change, 64)
    own = torch.zeros_like(flow)
    own[:, 1, 44:48, 20:40] = -2.0  # a mouth that rises
    rest = remove_rigid_motion(flow + own, [points[0]])
    torch.testing.assert_close(rest, own, atol=1e-3, rtol=0)


def test_frames_are_brought_back_to_the_onset(toy_samples: ToySamples) -> None:
    import cv2

    sample = toy_samples(1)[0]
    assert sample.landmarks is not None
    change = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, -1.0]])
    moved = cv2.warpAffine(
        sample.onset, np.eye(2, 3) + change, (64, 64), borderMode=cv2.BORDER_REFLECT_101
    )
    landmarks = np.stack([sample.landmarks[0], sample.landmarks[0] + [2.0, -1.0]])
    aligned = align_to_onset(np.stack([sample.onset, moved]), landmarks.astype(np.float32))
    inner = np.s_[8:-8, 8:-8]
    before = np.abs(moved[inner].astype(int) - sample.onset[inner]).mean()
    after = np.abs(aligned[1][inner].astype(int) - sample.onset[inner]).mean()
    assert after < 0.05 * before
