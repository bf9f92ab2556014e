"""Where dlib's model files lie: in the package `face_recognition_models`.

The package is located, not imported: its import needs `pkg_resources`, which current setuptools
lack. Nothing here imports more than the standard library, so that `miex doctor` can look for the
models on a machine where something else is broken.
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
"""What each file is for."""


def model_file(name: str) -> Path:
    """Path of one of dlib's model files.

    Raises:
        FileNotFoundError: `face_recognition_models` is not installed, or lacks the file.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"dlib's model {name} was not found; it comes with the package "
        "`face_recognition_models`: install it again with `pip install face_recognition_models`"
    )
