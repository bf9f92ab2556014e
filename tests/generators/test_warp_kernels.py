"""Kernels of `warp` and PyTorch give the same bytes; the motion that `warp` states."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from au_vectors import aus

from miex.generators._warp_render import measure_frames, move_frames
from miex.pipeline.synthesis.quality import motion_between


def test_the_motion_is_that_of_the_pixels_that_change(warp, face_of):
    face = face_of(128)
    noise = np.random.default_rng(4).normal(0, 1, (128, 128)).astype(np.float32)
    spots = np.clip(128 + 250 * cv2.GaussianBlur(noise, (0, 0), 2), 0, 255).astype(np.uint8)
    face = dataclasses.replace(face, crop=np.repeat(spots[..., None], 3, axis=2))
    state = warp.prepare(face)
    vectors = np.concatenate([aus(), aus(AU12=0.7), aus(AU12=1.4), aus(AU01=1.0, AU26=1.0)])
    frames, motion = warp.render_with_motion([state] * 4, vectors)
    assert np.array_equal(frames, warp.render([state] * 4, vectors))
    assert motion[0] == 0
    assert motion[2] == pytest.approx(2 * motion[1], rel=0.15)
    flow = [motion_between(face.crop, frame) for frame in frames]
    assert motion[1:] == pytest.approx(np.array(flow[1:]), rel=0.25)
    plain = warp.prepare(dataclasses.replace(face, crop=np.full_like(face.crop, 77)))
    assert warp.render_with_motion([plain], aus(AU12=1.4))[1][0] == 0


def test_kernels_and_torch_render_the_same_bytes(warp, face_of, kernels_off):
    rng = np.random.default_rng(5)
    vectors = (rng.uniform(-1, 2, (9, 17)) * (rng.random((9, 17)) < 0.4)).astype(np.float32)
    for size, yaw in ((64, 0.0), (128, 20.0), (228, -15.0)):
        noise = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        turned = dataclasses.replace(face_of(size, yaw=yaw), crop=noise)
        states = [warp.prepare(face) for face in (face_of(size), turned)]
        chosen = [states[row % 2] for row in range(9)]
        compiled = move_frames(chosen, vectors)
        measured = measure_frames(chosen, vectors)
        with kernels_off():
            by_torch = move_frames(chosen, vectors)
            assert torch.equal(warp.prepare(turned).basis, states[1].basis)
            assert np.array_equal(measure_frames(chosen, vectors)[1], measured[1])
        assert torch.equal(measured[0], compiled.frames)
        assert (compiled.frames != chosen[0].crop).any()
        assert torch.equal(compiled.frames, by_torch.frames)
        assert torch.equal(compiled.source, by_torch.source)
