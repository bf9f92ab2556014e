"""t-SNE of the inputs of a recognizer and of its features before and after training.

Van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 9, 2008. Figure 6 of Zhao, Chen and
Luo (CropNet) shows the t-SNE of the inputs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from markupsafe import Markup, escape
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from torch import Tensor, nn
from torch.nn import functional

from miex.datasets.labels import LABEL_SPACES
from miex.datasets.quantity import quantity
from miex.pipeline.inside.canvas import LINE, PAPER, Picture, svg_picture
from miex.pipeline.inside.samples import source_of
from miex.pipeline.recognition.cache import Batches, CachedInputs
from miex.pipeline.recognition.checkpoint import Card
from miex.pipeline.recognition.recognizers.base import AnyRecognizer, Recognizer, create_recognizer
from miex.pipeline.recognition.sample import SampleInfo
from miex.pipeline.reports.charts import MARKS, mark
from miex.pipeline.reports.sheet import CLASS_COLOURS

MIN_SAMPLES = 5
"""Smallest number of samples for t-SNE."""

_PERPLEXITY = 30.0
"""Perplexity of van der Maaten and Hinton's examples; 5 to 50 is usual (their section 2)."""

_DIMENSIONS = 30
"""Number of principal components to which features are reduced first (their section 4.1)."""

_SMALL, _AT_A_TIME = 32, 64

_SIDE, _GAP, _TOP = 340, 24, 62


def classifier_of(recognizer: Recognizer) -> tuple[str, nn.Module]:
    """Return the name and the module of the classifier, the first of `Recognizer.class_layers`.

    Raises:
        ValueError: `class_layers` names no layer with parameters.
    """
    for name, module in recognizer.named_modules():
        keys = [f"{name}.{key}" for key, _ in module.named_parameters(recurse=False)]
        if any(key.startswith(recognizer.class_layers) for key in keys):
            return name, module
    raise ValueError(
        f"{recognizer.name}: class_layers {recognizer.class_layers} name no layer with parameters"
    )


def features(
    recognizer: Recognizer,
    inputs: CachedInputs,
    device: torch.device,
    batch_size: int | None = None,
) -> NDArray[np.float32]:
    """Return the features of samples, that is, the inputs of the classifier in eval mode.

    Args:
        recognizer: The recognizer; it is moved to the device.
        inputs: Inputs of N samples.
        device: Device of the computation.
        batch_size: Number of samples per batch, which affects only the memory. By default that of
            the training, at most 32.

    Returns:
        ``float32 (N, D)``.
    """
    _, layer = classifier_of(recognizer)
    found: list[Tensor] = []

    def keep(_layer: nn.Module, given: tuple[Any, ...]) -> None:
        found.append(given[0].detach().flatten(1).float().cpu())

    size = batch_size or min(32, recognizer.config.training.batch_size)
    order = [
        np.arange(start, min(start + size, len(inputs))) for start in range(0, len(inputs), size)
    ]
    recognizer.to(device).eval()
    hook = layer.register_forward_pre_hook(keep)
    try:
        with torch.inference_mode():
            for batch, _ in Batches(inputs, order, device):
                recognizer(batch)
    finally:
        hook.remove()
    return torch.cat(found).numpy()


def raw_inputs(inputs: CachedInputs) -> NDArray[np.float32]:
    """Return the inputs of a recognizer as vectors, with images downscaled to 32 pixels a side.

    Args:
        inputs: Inputs of N samples.

    Returns:
        ``float32 (N, D)``.
    """
    rows = []
    for start in range(0, len(inputs), _AT_A_TIME):
        taken = inputs.take(range(start, min(start + _AT_A_TIME, len(inputs))))
        rows.append(torch.cat([_small(taken[name]).flatten(1) for name in sorted(taken)], 1))
    return torch.cat(rows).numpy()


def _small(values: Tensor) -> Tensor:
    values = values.float()
    if values.ndim < 4 or values.shape[-1] != values.shape[-2] or values.shape[-1] <= _SMALL:
        return values
    return functional.adaptive_avg_pool2d(values.flatten(1, -3), _SMALL)


def untrained(card: Card) -> AnyRecognizer:
    """Return the recognizer as it was before its first training, initialized with the same seed.

    If its pretrained weights are not on this machine, random weights are used. The attribute
    `weights` of the recognizer states which ones.

    Args:
        card: The card of the trained checkpoint.
    """
    classes = len(LABEL_SPACES[card.label_space].classes)
    seed = card.stages[0].seed if card.stages else 0
    torch.manual_seed(seed)
    try:
        return create_recognizer(card.recognizer, classes, card.config)
    except FileNotFoundError:
        torch.manual_seed(seed)
        return create_recognizer(card.recognizer, classes, {**card.config, "weights": "random"})


def tsne(values: NDArray[np.float32], seed: int = 0) -> NDArray[np.float64]:
    """Embed samples in the plane with t-SNE.

    The perplexity is 30, or (N - 1) / 3 if that is smaller.

    Args:
        values: Features, ``(N, D)``.
        seed: Seed of t-SNE; equal values and seeds give equal results.

    Returns:
        ``float64 (N, 2)``; all 0 if all values are equal.

    Raises:
        ValueError: There are fewer than five samples, or a value is not finite.
    """
    count = len(values)
    if count < MIN_SAMPLES:
        raise ValueError(f"t-SNE needs at least {MIN_SAMPLES} samples, {count} given")
    if not np.isfinite(values).all():
        raise ValueError(
            "t-SNE: the features are not finite, because the training diverged; train again with a "
            "smaller learning rate"
        )
    centred = values - values.mean(0)
    deviation = float(centred.std())
    if deviation == 0:
        return np.zeros((count, 2))
    kept = min(_DIMENSIONS, count - 1, values.shape[1])
    # Scaling to unit deviation, since the tolerance of t-SNE is absolute.
    reduced = PCA(kept, random_state=seed).fit_transform(centred / deviation)
    perplexity = min(_PERPLEXITY, (count - 1) / 3)
    method = TSNE(2, perplexity=perplexity, init="pca" if kept > 1 else "random", random_state=seed)
    return np.asarray(method.fit_transform(reduced), np.float64)


def separation(places: NDArray[np.float64], infos: Sequence[SampleInfo]) -> float:
    """Return the mean silhouette of the classes (Rousseeuw, J. Comput. Appl. Math. 20, 1987).

    Args:
        places: Positions of N samples in the plane, ``(N, 2)``.
        infos: Descriptions of the samples.

    Returns:
        A value from -1 to 1, computed by scikit-learn; NaN if there is only one class, if every
        sample has its own class, or if all positions are equal.
    """
    labels = [info.label for info in infos]
    if not 1 < len(set(labels)) < len(labels) or not np.ptp(places):
        return float("nan")
    return float(silhouette_score(places, labels))


def embedding_picture(
    panels: Sequence[tuple[str, NDArray[np.float64]]],
    infos: Sequence[SampleInfo],
    classes: Sequence[str],
) -> Picture:
    """Draw several embeddings of the same samples side by side.

    Args:
        panels: Title and positions ``(N, 2)`` of each embedding.
        infos: Descriptions of the N samples; the colour shows the class, the shape the source.
        classes: Names of the classes.
    """
    sources = sorted({source_of(info) for info in infos})
    parts: list[str] = []
    for number, (title, places) in enumerate(panels):
        left = _GAP + number * (_SIDE + _GAP)
        parts += _panel(left, title, places, infos, sources)
    width = _GAP + len(panels) * (_SIDE + _GAP)
    legend, height = _legend(classes, sources, width)
    parts += legend
    values = [f"{title}: {separation(places, infos):.2f}" for title, places in panels]
    caption = (
        f"t-SNE of {quantity(len(infos), 'sample')}. The colour shows the class, the shape the"
        f" source. Mean silhouette of the classes (1 separated, 0 mixed): {', '.join(values)}."
    )
    return svg_picture("tsne.svg", caption, (width, height), parts)


def _panel(
    left: float,
    title: str,
    places: NDArray[np.float64],
    infos: Sequence[SampleInfo],
    sources: Sequence[str],
) -> list[str]:
    low, span = places.min(0), max(float(np.ptp(places, 0).max()), 1e-9)
    middle = (places.max(0) + low) / 2
    parts = [
        f'<text class="title" x="{left}" y="30">{escape(title)}</text>',
        f'<rect x="{left}" y="{_TOP - 20}" width="{_SIDE}" height="{_SIDE}" fill="#ffffff" '
        f'stroke="{LINE}"/>',
    ]
    shown = (places - middle) / span * (_SIDE - 28)
    for (x, y), info in zip(shown, infos, strict=True):
        at = (left + _SIDE / 2 + x, _TOP - 20 + _SIDE / 2 - y)
        sign = _sign(sources.index(source_of(info)), info.label, *at)
        parts.append(f"<g><title>{escape(info.key)}: {escape(info.emotion)}</title>{sign}</g>")
    return parts


def _sign(source: int, label: int, x: float, y: float) -> Markup:
    """Return the mark of one sample; the shapes repeat, without fill, from the sixth source on."""
    colour = CLASS_COLOURS[label % len(CLASS_COLOURS)]
    fill = colour if source < MARKS else PAPER
    return Markup(
        f'<g fill="{fill}" stroke="{colour}" stroke-width="1" fill-opacity=".7" '
        f'transform="translate({x:.1f} {y:.1f}) scale(.75)">{mark(source, 0, 0)}</g>'
    )


def _legend(
    classes: Sequence[str], sources: Sequence[str], width: float
) -> tuple[list[str], float]:
    """Return the legend of classes and sources, and the height of the picture."""
    parts: list[str] = []
    y = _TOP + _SIDE + 8.0
    for words, entries in (("class", classes), ("source", sources)):
        parts.append(f'<text class="strong" x="{_GAP}" y="{y}">{words}</text>')
        x = _GAP + 60.0
        for number, entry in enumerate(entries):
            room = 36 + 7.8 * len(entry)
            if x + room > width:
                x, y = _GAP + 60.0, y + 22
            if words == "class":
                colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
                parts.append(f'<circle cx="{x + 5}" cy="{y - 5}" r="6" fill="{colour}"/>')
            else:
                fill = "#444" if number < MARKS else PAPER
                parts.append(f'<g fill="{fill}" stroke="#444">{mark(number, x + 5, y - 5)}</g>')
            parts.append(f'<text x="{x + 17}" y="{y}">{escape(entry)}</text>')
            x += room
        y += 24
    return parts, y
