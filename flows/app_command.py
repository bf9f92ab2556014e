"""Define the command `miex app`; gradio is imported inside it."""

import os
import threading
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated

import typer

from miex.datasets.extras import how_to_install
from miex.flows.command_line import app, examples, out_option
from miex.flows.terminal import Terminal


@app.command(
    "app",
    rich_help_panel="Datasets",
    epilog=examples("miex app", "miex app --faces faces.parquet --port 7861"),
)
def open_app(
    faces: Annotated[
        str, typer.Option(help="Faces to choose from: samples, a folder, or a face table.")
    ] = "samples",
    estimator: Annotated[
        str,
        typer.Option("--estimator", "-e", help="Estimator that reads the AUs back: NAME[:MODEL]."),
    ] = "landmarks",
    out: Annotated[Path, out_option("Dataset folder that saved samples are added to.")] = Path(
        "out/app"
    ),
    host: Annotated[
        str, typer.Option(help="Address to listen on; this machine alone by default.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 7860,
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:1, ...")] = "auto",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
) -> None:
    """Open a local page: choose a face, move 17 Action Units, see what the generators render."""
    try:
        distribution("gradio")
    except PackageNotFoundError:
        raise ImportError(f"miex app needs gradio; {how_to_install('app')}") from None
    # Read when gradio is imported.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from miex.flows.app_page import AppPage, launch
    from miex.pipeline.playground.studio import Studio

    terminal = Terminal()
    with terminal.stages() as stages:
        meter = stages.of("faces", "faces")
        meter.to(0, None)
        studio = Studio(faces, estimator, device)
        meter.to(len(studio.faces()), len(studio.faces()))
    address = launch(AppPage(studio, out).build(), host, port, browser)
    terminal.tell(f"miex app: {address} (Ctrl-C ends it; saved samples go to the dataset {out})")
    threading.Event().wait()
