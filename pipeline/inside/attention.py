"""UAMRN's attention between magnifications of one sample, as in figure 4 of Wei et al. 2022."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from miex.pipeline.inside.canvas import PANEL, Picture, Row, png_picture, sheet
from miex.pipeline.recognition.recognizers.uamrn import UAMRN
from miex.pipeline.recognition.representations.base import Inputs

_THUMBNAILS = 3
"""Magnified frames beside the matrices."""


def attention_colours(weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours of an attention matrix: the darker the larger, as in the paper; white where it is 0.

    Args:
        weights: ``(L, L)``, queries by keys; scaled by its largest value.

    Returns:
        ``uint8 (L, L, 3)`` RGB.
    """
    most = float(weights.max())
    share = weights / most if most > 0 else weights
    # White, and what is nearly white, is left to what is exactly 0: keys in no bucket of a query.
    levels = (40 + 215 * share).round().astype(np.uint8)
    colours = cv2.applyColorMap(255 - levels, cv2.COLORMAP_OCEAN)[..., ::-1]
    return np.where((weights > 0)[..., None], colours, 255).astype(np.uint8)


def attention_picture(
    recognizer: UAMRN, shown: Inputs, titles: Sequence[str], others: Inputs
) -> Picture:
    """Draws attention matrices: of some samples, and the mean of more.

    Args:
        recognizer: Which one, on the device of the inputs.
        shown: Inputs of the samples, one row each.
        titles: What to call each of them.
        others: Inputs of the samples of the mean.
    """
    each = recognizer.attention(shown).cpu()
    mean = recognizer.attention(others).cpu().mean(0)
    factors = recognizer.magnify.factors.tolist()
    frames = recognizer.sequence(shown).cpu()
    places = np.unique(np.linspace(0, len(factors) - 1, _THUMBNAILS).round().astype(int))
    config = recognizer.config
    heads = [f"alpha {factors[place]:.1f}" for place in places] + [
        f"block {block + 1}, head {head + 1}"
        for block in range(config.blocks)
        for head in range(config.heads)
    ]
    blank: list[NDArray[np.uint8] | None] = [None] * len(places)
    first = f"{len(others['onset'])} samples; {_empty(mean)} in all of them"
    rows = [Row("mean", [first], blank + _matrices(mean))]
    for weights, sequence, title in zip(each, frames, titles, strict=True):
        faces = [np.ascontiguousarray(sequence[place].permute(1, 2, 0).numpy()) for place in places]
        name, _, details = title.partition(": ")
        rows.append(Row(name, [details, _empty(weights)], [*faces, *_matrices(weights)]))
    low, high = factors[0], factors[-1]
    subtitle = (
        f"Rows are queries, columns keys: the {len(factors)} magnifications of one sample, alpha"
        f" {low:g} in the upper left corner to {high:g} in the lower right. Darker is more, each"
        " matrix by its own largest value; white is 0"
        + (": query and key share no bucket." if config.attention == "sparse" else ".")
    )
    caption = (
        f"UAMRN's {config.attention} attention between magnifications (alpha {low:g} to {high:g}):"
        f" the mean of {len(others['onset'])} samples, and {len(titles)} samples one by one."
    )
    drawn = sheet("Attention between magnifications", subtitle, heads, rows)
    return png_picture("attention.png", caption, drawn)


def _matrices(weights: Tensor) -> list[NDArray[np.uint8] | None]:
    """Of every block and head, ``(blocks, heads, L, L)``, in squares that stay sharp."""
    return [_enlarged(attention_colours(each.numpy())) for each in weights.flatten(0, 1)]


def _enlarged(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(colours).resize((PANEL, PANEL), Image.Resampling.NEAREST)
    framed = np.array(image)
    framed[[0, -1]] = framed[:, [0, -1]] = 190
    return framed


def _empty(weights: Tensor) -> str:
    return f"{float((weights == 0).float().mean()):.0%} of all pairs hidden"
