"""Define the commands that pass results on: `miex push`, `export`, `video`."""

from pathlib import Path
from typing import Annotated

import typer

from miex.flows.command_line import Workers, app, examples, out_option
from miex.flows.terminal import Terminal

_PANEL = "Sharing"


@app.command(
    rich_help_panel=_PANEL,
    epilog=examples(
        "miex push data/miex user/miex --dry-run",
        "miex push out/pretrained user/ststnet-miex",
    ),
)
def push(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET|CHECKPOINT",
            help="Folder of a dataset or of a training, or a checkpoint file.",
        ),
    ],
    repository: Annotated[
        str, typer.Argument(metavar="USER/NAME", help="Repository; created if it is missing.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be published, and stop.")
    ] = False,
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody read it; private by default.")
    ] = False,
    message: Annotated[str, typer.Option(help="Message of the commit.")] = "",
    workers: Workers = None,
) -> None:
    """Publish a dataset or a checkpoint on the Hugging Face Hub, after verifying it.

    Log in with `hf auth login` or HF_TOKEN first. Recognizers and generators load from
    hf-hub:USER/NAME, datasets from hf://datasets/USER/NAME.
    """
    from miex.flows.sharing import run_push

    run_push(Terminal(), place, repository, dry_run, public, message, workers)


@app.command(
    rich_help_panel=_PANEL, epilog=examples("miex export data/miex -o data/miex-webdataset")
)
def export(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Dataset that `miex synthesize` made.")
    ],
    out: Annotated[Path, out_option("Folder of the export.")],
    samples: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Number of samples in a shard.")
    ] = 1000,
) -> None:
    """Export a dataset to WebDataset: tar shards of frames, label and all other columns."""
    from miex.flows.sharing import run_export

    run_export(Terminal(), folder, out, samples)


@app.command(
    rich_help_panel="Datasets",
    epilog=examples(
        "miex video data/miex miex-00000042",
        "miex video data/miex miex-00000042 miex-00000043 --format webp --motion",
        "miex video data/miex miex-00000042 --full-frame --photographs ~/photos --format png",
    ),
)
def video(
    folder: Annotated[
        Path, typer.Argument(metavar="DATASET", help="Dataset that `miex synthesize` made.")
    ],
    samples: Annotated[
        list[str], typer.Argument(metavar="SAMPLE...", help="Ids of samples, as miex-00000042.")
    ],
    out: Annotated[Path, out_option("Folder of the videos.")] = Path("out/videos"),
    kind: Annotated[
        str,
        typer.Option("--format", metavar="mp4|webp|gif|png", help="Format; png writes each frame."),
    ] = "mp4",
    fps: Annotated[
        float, typer.Option(min=0.1, max=240, help="Frames per second between onset and apex.")
    ] = 30.0,
    size: Annotated[
        int, typer.Option(min=16, max=2048, help="Side of the face in pixels, even.")
    ] = 384,
    loops: Annotated[int, typer.Option(min=1, max=100, help="Repetitions in an MP4.")] = 3,
    motion: Annotated[
        bool, typer.Option("--motion", help="Show the optical flow to the apex beside the face.")
    ] = False,
    full_frame: Annotated[
        bool,
        typer.Option("--full-frame", help="Show the whole photograph, at its own resolution."),
    ] = False,
    photographs: Annotated[
        str | None,
        typer.Option(
            metavar="PHOTOGRAPHS",
            help="Where the photographs are, as for `miex faces`, if not where the dataset says.",
        ),
    ] = None,
    faces: Annotated[
        Path | None, typer.Option(help="Face table, if not the one that the dataset names.")
    ] = None,
) -> None:
    """Write samples as MP4, animated WebP or GIF; onset and apex are held for 0.6 s.

    With --full-frame the photograph keeps its own texture and moves as the rendered face does;
    pixels outside the face are those of the photograph.
    """
    from miex.pipeline.reports.video import WholePhotograph, video_format, write_videos

    chosen = video_format(kind)
    whole = WholePhotograph(photographs, faces) if full_frame or photographs or faces else None
    paths = write_videos(
        folder, samples, out, kind=chosen, fps=fps, size=size, loops=loops, motion=motion,
        whole=whole,
    )  # fmt: skip
    for path in paths:
        Terminal().tell(str(path))
