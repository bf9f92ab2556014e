"""The commands on recognizers: `miex recognizers`, `pretrain`, `finetune`, `evaluate`, `results`.

Whatever is slow to import is imported inside the command that needs it.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from miex.flows.inspect_command import inspect
from miex.flows.terminal import Terminal

_Recognizer = Annotated[
    str | None,
    typer.Option("--recognizer", "-r", help="One of `miex recognizers`."),
]
_Clips = Annotated[
    list[str] | None,
    typer.Option("--clips", metavar="NAME:PATH", help="Real clips, as `miex clips`; repeatable."),
]
_Datasets = Annotated[
    list[str] | None,
    typer.Option("--pretrain", metavar="DATASET", help="Synthesized dataset(s); repeatable."),
]
_Checkpoint = Annotated[
    Path | None, typer.Option("--checkpoint", help="A pretrained recognizer (.safetensors).")
]
_Space = Annotated[str | None, typer.Option(help="three_class, casme2_5class, ...")]
_Epochs = Annotated[int | None, typer.Option(min=1, help="The paper's by default.")]
_BatchSize = Annotated[int | None, typer.Option(min=1, help="The paper's by default.")]
_Seed = Annotated[int | None, typer.Option(min=0)]
_Balance = Annotated[
    str | None, typer.Option(help="classes shows every class alike often; none as they are.")
]
_Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, ...")]
_Cache = Annotated[
    Path | None, typer.Option(help="Folder of representations; may be deleted. out/cache.")
]
_Config = Annotated[Path | None, typer.Option("--config", help="A YAML file; flags win over it.")]
_Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Any other field, as config.side=64; repeatable."
    ),
]


def recognizers() -> None:
    """Lists the recognizers with their papers."""
    from miex.pipeline.recognition.recognizers.base import recognizer_class, recognizer_names

    rows = [(name, recognizer_class(name).paper) for name in recognizer_names()]
    Terminal().table("Recognizers", ("name", "paper"), rows)


def fictitious(
    database: Annotated[str, typer.Argument(metavar="DATABASE", help="casme2, samm, smic, ...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder.")],
    subjects: Annotated[int, typer.Option(min=2)] = 4,
    clips: Annotated[int, typer.Option(min=3, help="Of each subject.")] = 6,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Draws a small database in the real layout, to try commands on without a licence."""
    from miex.pipeline.fictitious_databases.write import write_fictitious

    terminal = Terminal()
    drawn = write_fictitious(database, out, subjects, clips, seed)
    terminal.tell(f"{drawn.listed} clips that mean nothing, drawn by us; open them as {drawn.spec}")
    for quirk in drawn.quirks:
        terminal.tell(f"  planted: {quirk}")


def pretrain(
    datasets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DATASET]...", help="Folders or addresses of datasets."),
    ] = None,
    recognizer: _Recognizer = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Its folder.")] = Path("out/pretrained"),
    label_space: _Space = None,
    epochs: _Epochs = None,
    batch_size: _BatchSize = None,
    seed: _Seed = None,
    balance: _Balance = None,
    device: _Device = None,
    cache: _Cache = None,
    config: _Config = None,
    setting: _Settings = None,
) -> None:
    """Trains a recognizer on synthesized datasets; run again, it goes on where it stopped."""
    from miex.datasets.config import build
    from miex.flows.api import CACHE as DEFAULT_CACHE
    from miex.flows.recognition import run_training
    from miex.pipeline.recognition.job_config import PretrainJob

    values = _values(
        {
            "recognizer": recognizer,
            "synthetic.datasets": datasets or None,
            "label_space": label_space,
            "training.epochs": epochs,
            "training.batch_size": batch_size,
            "run.seed": seed,
            "run.balance": balance,
            "run.device": device,
        },
        setting,
    )
    job = build(PretrainJob, {k: v for k, v in values.items() if v is not None}, config)
    run_training(Terminal(), job, out, cache or DEFAULT_CACHE)


def finetune(
    clips: _Clips = None,
    recognizer: _Recognizer = None,
    checkpoint: _Checkpoint = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Its folder.")] = Path("out/finetuned"),
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="DATABASE:SUBJECT", help="Leave out, for a test; repeatable."),
    ] = None,
    label_space: _Space = None,
    epochs: _Epochs = None,
    batch_size: _BatchSize = None,
    seed: _Seed = None,
    balance: _Balance = None,
    device: _Device = None,
    cache: _Cache = None,
    config: _Config = None,
    setting: _Settings = None,
) -> None:
    """Trains a recognizer on real clips, from --checkpoint or from nothing."""
    from miex.datasets.config import build
    from miex.flows.api import CACHE as DEFAULT_CACHE
    from miex.flows.recognition import run_training
    from miex.pipeline.recognition.job_config import FinetuneJob

    values = _values(
        {
            "recognizer": recognizer,
            "checkpoint": checkpoint,
            "clips.databases": clips or None,
            "exclude": exclude or None,
            "label_space": label_space,
            "training.epochs": epochs,
            "training.batch_size": batch_size,
            "run.seed": seed,
            "run.balance": balance,
            "run.device": device,
        },
        setting,
    )
    job = build(FinetuneJob, {k: v for k, v in values.items() if v is not None}, config)
    run_training(Terminal(), job, out, cache or DEFAULT_CACHE)


def evaluate(
    clips: _Clips = None,
    recognizer: _Recognizer = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", "-p", help="megc2019, casme2, samm, loso, ...")
    ] = None,
    datasets: _Datasets = None,
    checkpoint: _Checkpoint = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Its folder.")] = Path("out/evaluated"),
    seeds: Annotated[int | None, typer.Option(min=1, help="How many runs; 3.")] = None,
    finetune: Annotated[
        bool | None, typer.Option(help="Fine-tune on the clips of each fold, too.")
    ] = None,
    epochs: _Epochs = None,
    pretraining_epochs: Annotated[
        int | None, typer.Option(min=1, help="Of the pretraining; the paper's by default.")
    ] = None,
    selection: Annotated[
        str | None, typer.Option(help="Which epoch is tested: last, or validation.")
    ] = None,
    balance: _Balance = None,
    device: _Device = None,
    cache: _Cache = None,
    config: _Config = None,
    setting: _Settings = None,
) -> None:
    """Evaluates by a protocol; each fold pretrains and fine-tunes without whom it tests on."""
    from miex.datasets.config import build
    from miex.flows.api import CACHE as DEFAULT_CACHE
    from miex.flows.recognition import run_evaluating
    from miex.pipeline.recognition.job_config import EvaluateJob

    values = _values(
        {
            "clips.databases": clips or None,
            "synthetic.datasets": datasets or None,
            "checkpoint": checkpoint,
            "evaluation.recognizer": recognizer,
            "evaluation.protocol": protocol,
            "evaluation.seeds": None if seeds is None else list(range(seeds)),
            "evaluation.finetune": finetune,
            "evaluation.selection": selection,
            "evaluation.finetuning.epochs": epochs,
            "evaluation.pretraining.epochs": pretraining_epochs,
            "evaluation.run.balance": balance,
            "evaluation.run.device": device,
        },
        setting,
    )
    job = build(EvaluateJob, {k: v for k, v in values.items() if v is not None}, config)
    run_evaluating(Terminal(), job, out, cache or DEFAULT_CACHE)


def results(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of `miex evaluate`.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the page.")] = Path(
        "out/results"
    ),
    inside: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="CHECKPOINT", help="Also show where it looks, as `miex inspect`; repeatable."
        ),
    ] = None,
    clips: _Clips = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option("--dataset", metavar="DIR", help="For --inside, as --clips; repeatable."),
    ] = None,
    cache: _Cache = None,
) -> None:
    """Puts evaluations side by side in one page; refuses those on other clips or classes."""
    from miex.datasets.config import build
    from miex.flows.api import CACHE as DEFAULT_CACHE
    from miex.flows.recognition import run_results
    from miex.pipeline.inside.samples import InsideConfig

    looking = {"clips": clips or (), "datasets": datasets or ()}
    config = (
        build(InsideConfig, {k: v for k, v in looking.items() if v is not None}, None)
        if inside
        else None
    )
    run_results(Terminal(), folders, out, inside or [], config, cache or DEFAULT_CACHE)


def _values(flags: dict[str, Any], setting: list[str] | None) -> dict[str, Any]:
    from miex.datasets.config import parse_assignments

    return flags | parse_assignments(setting or [])


def register(app: typer.Typer) -> None:
    """Adds the commands to an app."""
    app.command()(fictitious)
    app.command()(recognizers)
    app.command()(pretrain)
    app.command()(finetune)
    app.command()(evaluate)
    app.command()(results)
    app.command()(inspect)
