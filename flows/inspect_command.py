"""The command `miex inspect`: pictures of what a trained recognizer looks at."""

from pathlib import Path
from typing import Annotated

import typer

from miex.flows.terminal import Terminal


def inspect(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A trained recognizer, or its folder.")
    ],
    clips: Annotated[
        list[str] | None,
        typer.Option("--clips", metavar="NAME:PATH", help="Real clips to look at; repeatable."),
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option("--dataset", metavar="DIR", help="A synthesized dataset; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the page.")] = Path(
        "out/inside"
    ),
    samples: Annotated[
        int | None, typer.Option(min=5, help="Samples of each source, at most; 400.")
    ] = None,
    shown: Annotated[
        int | None,
        typer.Option(min=1, max=10, help="Of each class one by one, right and wrong; 2."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Of Grad-CAM, in place of the last convolutions; repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the choice of samples; 0.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, ...")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of representations; may be deleted. out/cache.")
    ] = None,
) -> None:
    """Shows where a recognizer looks: Grad-CAM, attention, actions, t-SNE, Action Units."""
    from miex.datasets.config import build
    from miex.flows.api import CACHE as DEFAULT_CACHE
    from miex.flows.recognition import on_stage
    from miex.pipeline.inside.look import look_inside
    from miex.pipeline.inside.page import write_inside_page
    from miex.pipeline.inside.samples import InsideConfig
    from miex.pipeline.recognition.checkpoint import load_checkpoint

    values = {
        "clips": clips or None,
        "datasets": datasets or None,
        "samples": samples,
        "shown": shown,
        "layers": layer or None,
        "seed": seed,
        "device": device,
    }
    config = build(InsideConfig, {k: v for k, v in values.items() if v is not None}, None)
    found = load_checkpoint(checkpoint)
    terminal = Terminal()
    with terminal.stages() as stages:
        inside = look_inside(found, config, cache or DEFAULT_CACHE, on_stage(stages))
    page = write_inside_page(inside, str(found.path), out)
    rows = [(str(count), source) for source, count in inside.samples.items()]
    terminal.table(f"{found.card.recognizer}, looked at with", ("samples", "source"), rows)
    terminal.tell(f"answered rightly: {inside.answered} of {sum(inside.samples.values())}")
    for text in inside.missing:
        terminal.tell(text)
    terminal.tell(f"page: {page}")
