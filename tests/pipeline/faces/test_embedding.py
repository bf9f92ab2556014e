import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from miex.datasets.faces.base import open_face_source
from miex.datasets.images import open_photograph
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import DlibDetector
from miex.pipeline.faces.embedding import read_model
from miex.pipeline.faces.models import EMBEDDING_MODEL, model_file


def test_embeddings_equal_dlibs_own() -> None:
    """Compare embeddings of real photographs in several sizes with those that dlib computes."""
    import dlib

    reference = dlib.face_recognition_model_v1(str(model_file(EMBEDDING_MODEL)))
    detector = DlibDetector(FaceConfig())
    compared = 0
    for photograph in open_face_source("samples").photographs():
        image = open_photograph(photograph.path, 50, 640).pixels
        for box in detector.find(image)[:1]:
            points = detector.landmarks(image, box)
            shape = dlib.full_object_detection(
                dlib.rectangle(*(round(edge) for edge in box)),
                dlib.points([dlib.point(round(float(x)), round(float(y))) for x, y in points]),
            )
            expected = np.array(reference.compute_face_descriptor(image, shape))
            found = detector.embed(image, points)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=1e-5)
            compared += 1
        if compared == 4:
            break
    assert compared == 4


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    content = model_file(EMBEDDING_MODEL).read_bytes()
    for name, damaged in {
        "cut.dat": content[: len(content) // 2],
        "other.dat": b"something else",
        "sizes.dat": content.replace(b"\x01\x05con_4", b"\x01\x05con_5", 1),
    }.items():
        path = tmp_path / name
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=name):
            read_model(path)


def test_a_face_table_remembers_how_embeddings_were_computed() -> None:
    name = DlibDetector(FaceConfig()).name
    assert importlib.metadata.version("face_recognition_models") in name
    assert name.endswith("embedding PyTorch 2")


def test_an_embedding_does_not_depend_on_the_number_of_threads() -> None:
    network = read_model(model_file(EMBEDDING_MODEL))
    chip = np.random.default_rng(0).integers(0, 255, (150, 150, 3), dtype=np.uint8)
    number = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(network.embed(chip))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(number)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_an_embedding_does_not_depend_on_the_other_faces() -> None:
    network = read_model(model_file(EMBEDDING_MODEL))
    rng = np.random.default_rng(0)
    chips = [rng.integers(0, 255, (150, 150, 3), dtype=np.uint8) for _ in range(10)]
    together = network.embed_all(chips)
    assert together.shape == (10, 128)
    assert np.array_equal(network.embed_all(chips[7:]), together[7:])
    np.testing.assert_allclose(network.embed(chips[3]), together[3], atol=1e-6)
    assert network.embed_all([]).shape == (0, 128)
