"""Embeddings for the realism of rendered faces; see `miex.pipeline.assessment.realism`.

No model is downloaded: dlib's model is part of a package, the texture embedding needs no model, and
the user names the files of the others.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from miex.datasets.given_files import require_file
from miex.pipeline.assessment.config import IDENTITY as IDENTITY
from miex.pipeline.assessment.config import TEXTURE as TEXTURE
from miex.pipeline.assessment.realism import Embed, scaled, texture
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import DlibDetector

DESCRIPTIONS = {
    IDENTITY: "dlib's ResNet face embedding, a unit vector of 128 numbers; it represents the "
    "identity and little of the texture",
    TEXTURE: "uniform local binary patterns in 4 x 4 cells, 944 numbers; they respond to blur, "
    "noise and resampling, but not to shape",
    "mobilefacenet": "MobileFaceNet, a unit vector of 128 numbers; it represents the identity",
    "inception": "pooled features of torchvision's Inception v3, 2,048 numbers; KID and FID in the "
    "literature use the same network with other weights",
}
"""What each embedding represents, for the page of the assessment."""

_IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))


def open_embedding(spec: str) -> Embed:
    """Open an embedding.

    Args:
        spec: `dlib-identity`, `lbp-texture`, `mobilefacenet:FILE.onnx` or `inception:FILE.pth`.

    Returns:
        A function from an image ``uint8 (S, S, 3)`` RGB and landmarks ``(68, 2)`` to features
        ``float32 (D,)``.

    Raises:
        ValueError: The embedding does not exist, or the file is not a model of its kind.
        FileNotFoundError: The file does not exist.
    """
    name, _, file = spec.partition(":")
    if name == IDENTITY and not file:
        return dlib_identity()
    if name == TEXTURE and not file:
        return texture
    if name in ("mobilefacenet", "inception") and file:
        path = Path(file).expanduser()
        require_file(path, f"model of the embedding {name}", f"write {name}:FILE")
        return _mobilefacenet(path) if name == "mobilefacenet" else _inception(path)
    raise ValueError(
        f"embedding {spec!r}: expected {IDENTITY}, {TEXTURE}, mobilefacenet:FILE.onnx or "
        "inception:FILE.pth"
    )


def dlib_identity() -> Embed:
    """Return dlib's face embedding; distances below 0.6 (Euclidean) mean the same person."""
    return DlibDetector(FaceConfig()).embed


def _mobilefacenet(path: Path) -> Embed:
    """Open MobileFaceNet (Chen et al. 2018) in ONNX; its input is 112 x 112 RGB, (x - 127.5) / 128.

    Raises:
        ValueError: The file cannot be read.
    """
    try:
        network = cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        raise ValueError(
            f"{path}: OpenCV cannot read the file as ONNX ({error.msg}); give a MobileFaceNet "
            "exported to ONNX"
        ) from None

    def embed(image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        network.setInput(cv2.dnn.blobFromImage(image, 1 / 128, (112, 112), (127.5,) * 3))
        return scaled(network.forward().ravel())

    return embed


def _inception(path: Path) -> Embed:
    """Open Inception v3 (Szegedy et al., CVPR 2016) with torchvision's weights, without classifier.

    The input is normalized here and not in the network (`transform_input=False`).

    Raises:
        ValueError: The file does not hold weights of torchvision's `inception_v3`.
    """
    from torchvision.models import inception_v3

    network: Any = inception_v3(weights=None, init_weights=False, transform_input=False)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path} does not hold torchvision's weights of inception_v3 ({reason})"
        ) from None
    network.fc = torch.nn.Identity()
    network.eval()

    def embed(image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        large = cv2.resize(image, (299, 299), interpolation=cv2.INTER_CUBIC) / 255.0
        mean, deviation = _IMAGENET
        pixels = ((large - mean) / deviation).transpose(2, 0, 1)[None].astype(np.float32)
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(pixels))[0].numpy(), np.float32)

    return embed
