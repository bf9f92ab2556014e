"""Embeddings for the realism of rendered faces, by name; see `miex.pipeline.assessment.realism`.

Nothing is downloaded: dlib's model comes with a package, the texture needs none, and the others
are files that the user names.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from miex.pipeline.assessment.realism import Embed, scaled, texture
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import DlibDetector

IDENTITY = "dlib-identity"
TEXTURE = "lbp-texture"

DESCRIPTIONS = {
    IDENTITY: "dlib's ResNet face embedding, 128 numbers of length 1: who it is; blind to much of "
    "the texture",
    TEXTURE: "uniform local binary patterns in 4 x 4 cells, 944 numbers: blur, noise and "
    "resampling; blind to shape",
    "mobilefacenet": "MobileFaceNet, 128 numbers of length 1: who it is",
    "inception": "torchvision's Inception v3, pooled features, 2,048 numbers; close to what the "
    "literature calls KID and FID, though its weights are not theirs",
}

_IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))


def open_embedding(spec: str) -> Embed:
    """Opens an embedding.

    Args:
        spec: `dlib-identity`, `lbp-texture`, `mobilefacenet:FILE.onnx` or `inception:FILE.pth`.

    Raises:
        ValueError: No such embedding, or a file that is none.
        FileNotFoundError: The file is absent.
    """
    name, _, file = spec.partition(":")
    if name == IDENTITY and not file:
        return dlib_identity()
    if name == TEXTURE and not file:
        return texture
    if name in ("mobilefacenet", "inception") and file:
        path = Path(file)
        if not path.is_file():
            raise FileNotFoundError(f"embedding {name}: no file {path}")
        return _mobilefacenet(path) if name == "mobilefacenet" else _inception(path)
    raise ValueError(
        f"embedding {spec!r}: expected {IDENTITY}, {TEXTURE}, mobilefacenet:FILE.onnx or "
        "inception:FILE.pth"
    )


def dlib_identity() -> Embed:
    """The embedding of dlib; two photographs of one person lie closer than 0.6 (Euclidean)."""
    return DlibDetector(FaceConfig()).embed


def _mobilefacenet(path: Path) -> Embed:
    """MobileFaceNet (Chen et al. 2018) as ONNX: 112 x 112 RGB, (x - 127.5) / 128."""
    try:
        network = cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        raise ValueError(f"{path}: OpenCV cannot read it as ONNX: {error.msg}") from None

    def embed(image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        network.setInput(cv2.dnn.blobFromImage(image, 1 / 128, (112, 112), (127.5,) * 3))
        return scaled(network.forward().ravel())

    return embed


def _inception(path: Path) -> Embed:
    """Inception v3 (Szegedy et al., CVPR 2016) with torchvision's weights, before its classifier.

    Not transformed as torchvision's constructor would: the input is normalised here.
    """
    from torchvision.models import inception_v3

    network: Any = inception_v3(weights=None, init_weights=False, transform_input=False)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: not torchvision's weights of inception_v3 ({reason})") from None
    network.fc = torch.nn.Identity()
    network.eval()

    def embed(image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        large = cv2.resize(image, (299, 299), interpolation=cv2.INTER_CUBIC) / 255.0
        mean, deviation = _IMAGENET
        pixels = ((large - mean) / deviation).transpose(2, 0, 1)[None].astype(np.float32)
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(pixels))[0].numpy(), np.float32)

    return embed
