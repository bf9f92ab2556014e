"""Picture of UAMRN's attention between magnifications of a sample (Wei et al. 2022, figure 4)."""

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
"""Number of magnified frames drawn beside the matrices."""


def attention_colours(weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the colours of an attention matrix; larger weights are darker, and 0 is white.

    Args:
        weights: ``float32 (L, L)``, queries by keys; they are divided by the largest value.

    Returns:
        ``uint8 (L, L, 3)`` RGB.
    """
    most = float(weights.max())
    share = weights / most if most > 0 else weights
    # Only weights of exactly 0 are white: keys that share no bucket with the query.
    levels = (40 + 215 * share).round().astype(np.uint8)
    colours = cv2.applyColorMap(255 - levels, cv2.COLORMAP_OCEAN)[..., ::-1]
    return np.where((weights > 0)[..., None], colours, 255).astype(np.uint8)


def attention_picture(
    recognizer: UAMRN, shown: Inputs, titles: Sequence[str], others: Inputs
) -> Picture:
    """Draw the attention matrices of single samples and the mean over further samples.

    Args:
        recognizer: The recognizer, on the device of the inputs.
        shown: Inputs of the samples that are drawn in one row each.
        titles: Titles of these samples.
        others: Inputs of the samples over which the mean is taken.
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
    first = f"{len(others['onset'])} samples; {_zero_share(mean)} in all of them"
    rows = [Row("mean", [first], blank + _matrices(mean))]
    for weights, sequence, title in zip(each, frames, titles, strict=True):
        faces = [np.ascontiguousarray(sequence[place].permute(1, 2, 0).numpy()) for place in places]
        name, _, details = title.partition(": ")
        rows.append(Row(name, [details, _zero_share(weights)], [*faces, *_matrices(weights)]))
    low, high = factors[0], factors[-1]
    subtitle = (
        f"Rows are queries and columns are keys: the {len(factors)} magnifications of a sample,"
        f" from alpha {low:g} in the upper left corner to {high:g} in the lower right corner. Each"
        " matrix is divided by its largest weight; larger weights are darker, and white is 0"
        + (", where query and key share no bucket." if config.attention == "sparse" else ".")
    )
    caption = (
        f"{config.attention.capitalize()} attention of UAMRN between magnifications (alpha {low:g}"
        f" to {high:g}): the mean over {len(others['onset'])} samples, and {len(titles)} single"
        " samples."
    )
    drawn = sheet("Attention between magnifications", subtitle, heads, rows)
    return png_picture("attention.png", caption, drawn)


def _matrices(weights: Tensor) -> list[NDArray[np.uint8] | None]:
    """Return an image of each matrix ``(blocks, heads, L, L)``, enlarged without interpolation."""
    return [_enlarged(attention_colours(each.numpy())) for each in weights.flatten(0, 1)]


def _enlarged(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(colours).resize((PANEL, PANEL), Image.Resampling.NEAREST)
    framed = np.array(image)
    framed[[0, -1]] = framed[:, [0, -1]] = 190
    return framed


def _zero_share(weights: Tensor) -> str:
    return f"{float((weights == 0).float().mean()):.0%} of all pairs have no attention"
