"""Experiments on the stand-in, recognizer by recognizer, at sizes that suit two cores.

    python tests/stand_in/compare.py --clips out/stand_in --faces faces.parquet \
        --pool real_mie=real.parquet --pool early_mae=early.parquet -o out/compare
    python tests/stand_in/compare.py ... --experiment stand_in_identities -r dere_grl -r ststnet

The table of each recognizer is written to OUT/RECOGNIZER. OUT/table.md shows all recognizers side
by side, including those of earlier calls. After the datasets have been made, calls for different
recognizers can run at the same time. `SMALL` and every table state the differences to the papers.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miex.datasets.config import parse_assignments
from miex.pipeline.experiments.config import Experiment, load_experiment
from miex.pipeline.experiments.plan import Inputs, Scale
from miex.pipeline.experiments.run import run_experiment
from miex.pipeline.recognition.recognizers.base import recognizer_class, recognizer_names

IDENTITIES, SAMPLES = 300, 900
"""Size of the largest dataset of an experiment."""

Fields = dict[str, Any]

_SMALL_IMAGES: Fields = {"evaluation.config.resized": 54, "evaluation.config.crop": 48}


def _flow(pretraining: int, finetuning: int, rate: float) -> Fields:
    return {"evaluation.config.method": "dis", **_trained(pretraining, finetuning, rate)}


def _trained(
    pretraining: int,
    finetuning: int,
    rate: float,
    batch: int = 64,
    finetuning_rate: float | None = None,
) -> Fields:
    """Return training settings; the fine-tuning rate is half the pretraining rate by default."""
    return {
        "evaluation.pretraining": {
            "epochs": pretraining,
            "learning_rate": rate,
            "batch_size": batch,
        },
        "evaluation.finetuning": {
            "epochs": finetuning,
            "learning_rate": rate / 2 if finetuning_rate is None else finetuning_rate,
            "batch_size": batch,
        },
    }


SMALL: Mapping[str, Fields] = {
    "ststnet": _flow(60, 120, 2e-3),
    "off_apexnet": _flow(40, 60, 1e-3),
    "dual_inception": _flow(15, 30, 1e-3),
    "dual_atme": _flow(20, 30, 1e-3),
    "dere_grl": _trained(40, 80, 2e-3, 32),
    "dtscnn": {
        "evaluation.config.flow": {"frames": 5, "side": 32, "method": "dis"},
        "evaluation.config.time_scales": [32, 64],
        **_trained(5, 10, 1e-3, 32),
    },
    # At four times the rate of their released code, all ReLU units of the head become inactive.
    "apex_me": {**_SMALL_IMAGES, **_trained(8, 12, 1e-4, 32, 1e-4)},
    "branches": {**_SMALL_IMAGES, **_trained(8, 12, 1e-4, 32, 1e-4)},
    "cropnet": {
        "evaluation.config.side": 64,
        "evaluation.config.views": "whole",
        **_trained(4, 6, 2e-3, 32),
    },
    "uamrn": {
        "evaluation.config.side": 64,
        "evaluation.config.stored_side": 64,
        "evaluation.config.length": 4,
        "evaluation.config.passes": 2,
        "evaluation.config.stages": 2,
        "evaluation.config.model_size": 128,
        "evaluation.config.hidden_size": 128,
        "evaluation.config.blocks": 1,
        "evaluation.config.magnification": "linear",
        **_trained(4, 6, 4e-4, 32),
    },
    "lbp_top": {},
    "bi_woof": {"evaluation.config.descriptor": {"method": "dis"}},
}
"""Settings of each recognizer.

Networks on images get a quarter of the pixels and random initial weights. All others get the inputs
of their papers, with DIS flow. All trainings are shorter than in the papers, and most learning
rates are higher.
"""


def size_of(name: str) -> Fields:
    """Return the settings of a recognizer from `SMALL`, or its toy settings if it has none."""
    if name in SMALL:
        return SMALL[name]
    toy = recognizer_class(name).toy
    config = {f"evaluation.config.{field}": value for field, value in toy.config.items()}
    training = dict(toy.training)
    return {**config, "evaluation.pretraining": training, "evaluation.finetuning": training}


def resized(experiment: Experiment) -> Experiment:
    """Return the experiment with recognizers of the sizes of `size_of`."""
    columns = [
        column.model_copy(
            update={"settings": column.settings | size_of(column.settings["evaluation.recognizer"])}
        )
        for column in experiment.columns
    ]
    settings = {
        name: value
        for name, value in experiment.settings.items()
        if not name.startswith("evaluation.pretraining.")
    }
    return experiment.model_copy(update={"columns": tuple(columns), "settings": settings})


def side_by_side(out: Path) -> str:
    """Return a Markdown table of the UF1 of all recognizers in OUT."""
    tables = [json.loads(path.read_text("utf-8")) for path in sorted(out.glob("*/table.json"))]
    scores: dict[str, dict[str, str]] = {}
    for table in tables:
        for cell in table["cells"]:
            found = (cell["scores"] or {}).get("uf1")
            if found:
                text = f"{found['mean']:.3f}"
                if found["deviation"] is not None:
                    text += f" ± {found['deviation']:.3f}"
                scores.setdefault(cell["row"], {})[cell["column"]] = text
    names = [column["name"] for table in tables for column in table["columns"]]
    lines = [f"| UF1 | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for row, cells in scores.items():
        lines.append(f"| {row} | {' | '.join(cells.get(name, '-') for name in names)} |")
    return "\n".join(lines) + "\n"


def compare(
    name: str,
    experiment: Experiment,
    inputs: Inputs,
    out: Path,
    rows: Sequence[str],
    settings: Fields,
) -> None:
    """Evaluate one recognizer; datasets and cached inputs are shared by all recognizers."""
    folder = out / name
    folder.mkdir(exist_ok=True)
    if not (folder / "datasets").exists():
        (folder / "datasets").symlink_to(Path("..") / "datasets", target_is_directory=True)
    run_experiment(
        experiment,
        inputs,
        folder,
        out / "cache",
        Scale(
            identities=IDENTITIES,
            samples=SAMPLES,
            recognizers=(name,),
            rows=tuple(rows),
            settings=settings,
            stand_in="rendered clips",
        ),
        on_stage=lambda what, done, total: print(f"{name}: {what} {done}/{total}", flush=True),
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiment", default="stand_in")
    parser.add_argument("--clips", type=Path, required=True, help="folder written by make.py")
    parser.add_argument(
        "--faces", required=True, help="face table without the identities of the stand-in"
    )
    parser.add_argument("--pool", action="append", default=[], help="AU pool, NAME=FILE")
    parser.add_argument("-r", "--recognizer", action="append", choices=recognizer_names())
    parser.add_argument(
        "--row", action="append", default=[], help="pattern of the rows to run, such as 'nothing*'"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="field of each evaluation, such as evaluation.finetuning.epochs=18",
    )
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    experiment = resized(load_experiment(options.experiment))
    inputs = Inputs(
        clips=(f"clip_table:{options.clips}?name=stand_in",),
        files={"faces": options.faces} | dict(pool.split("=", 1) for pool in options.pool),
    )
    (options.out / "datasets").mkdir(parents=True, exist_ok=True)
    for name in options.recognizer or recognizer_names():
        compare(name, experiment, inputs, options.out, options.row, parse_assignments(options.set))
        (options.out / "table.md").write_text(side_by_side(options.out), encoding="utf-8")


if __name__ == "__main__":
    main()
