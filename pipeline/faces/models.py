"""Paths of dlib's model files, which the package `face_recognition_models` contains.

The package is located without importing it, since its import needs `pkg_resources`, which current
versions of setuptools lack. This module imports only the standard library, so that `miex doctor`
can search for the models where other packages cannot be imported.
"""

import importlib.util
from pathlib import Path

SHAPE_MODEL = "shape_predictor_68_face_landmarks.dat"
EMBEDDING_MODEL = "dlib_face_recognition_resnet_model_v1.dat"
CNN_MODEL = "mmod_human_face_detector.dat"

MODELS = {
    SHAPE_MODEL: "68 landmarks of a face",
    EMBEDDING_MODEL: "identity embedding",
    CNN_MODEL: "finds turned and covered faces",
}
"""Purpose of each model file."""

CHIP_SIDE = 150
"""Side of the aligned face that is the input of the embedding network, in pixels."""

EMBEDDING_VERSION = "PyTorch 2"
"""Version of the computation, stored in face tables; it changes if the embeddings change."""


def model_file(name: str) -> Path:
    """Return the path of one of dlib's model files.

    Args:
        name: File name, a key of `MODELS`.

    Raises:
        FileNotFoundError: `face_recognition_models` is not installed, or lacks the file.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"dlib's model {name} was not found. It is part of the package `face_recognition_models`; "
        "install it with `pip install --force-reinstall face_recognition_models`"
    )
