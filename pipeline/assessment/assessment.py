"""Assessment of generators on held-out faces: rendering, measures, targets and a results folder."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from miex.datasets.faces.base import open_face_source
from miex.datasets.files import whole_file
from miex.generators.base import GeneratorConfig, create_generator
from miex.pipeline.assessment import agreement
from miex.pipeline.assessment.card import card_section
from miex.pipeline.assessment.cases import Case
from miex.pipeline.assessment.config import (
    FEWEST_IDENTITIES,
    TARGET_AUS,
    AssessmentConfig,
    Targets,
)
from miex.pipeline.assessment.findings import list_findings
from miex.pipeline.assessment.held_out import HeldOutFaces, open_held_out
from miex.pipeline.assessment.measure import Measurements
from miex.pipeline.assessment.page import write_page
from miex.pipeline.assessment.sheets import draw_micro_sheet, draw_single_sheet
from miex.pipeline.assessment.summary import (
    Fidelity,
    RealismNumbers,
    fidelity,
    fidelity_error,
    fidelity_gain,
    motion,
    realism,
)
from miex.pipeline.assessment.targets import (
    Verdict,
    better_than_warp,
    judge_fidelity,
    judge_identity,
    judge_motion,
    judge_outside,
    judge_realism,
)
from miex.pipeline.assessment.work import (
    AssessmentJob,
    cases_of,
    measure_all,
    open_instruments,
    open_sources,
)
from miex.pipeline.aus.estimators import (
    choose_estimator,
    labellers,
    refuse_training_estimators,
)
from miex.pipeline.aus.fidelity import correlation
from miex.pipeline.faces.prepare import prepare_faces
from miex.pipeline.synthesis.manifest import versions

_FORMAT = "miex-assessment/1"

JSON_FILE, PAGE_FILE, CARD_FILE = "assessment.json", "index.html", "card.md"

_WARP = "warp"

_Progress = Callable[[str, int, int], None]
"""Progress callback: (stage ``faces`` or ``assess``, done, total)."""


def assess_generators(
    config: AssessmentConfig,
    out: Path,
    *,
    targets: Targets | None = None,
    workers: int | None = None,
    on_progress: _Progress | None = None,
) -> dict[str, Any]:
    """Measure generators on the same faces and cases, and write the results into a folder.

    Files are written after all measurements, so that an interrupted run leaves the folder
    unchanged.

    Args:
        config: Generators, faces, estimators and cases.
        out: Folder for `assessment.json`, `index.html`, `card.md` and contact sheets.
        targets: Values that a generator should reach; the defaults of `Targets` if None.
        workers: Number of processes, all cores by default. The result does not depend on it.
        on_progress: Called with (stage, done, total).

    Returns:
        The content of `assessment.json`.

    Raises:
        ValueError: An estimator labelled the training data, there are too few identities, `out` is
            a file, or an input is invalid.
        FileNotFoundError: Faces, weights or a model are missing.
        ModuleNotFoundError: A package that an estimator needs is not installed.
    """
    out = Path(out)
    if out.is_file():
        raise ValueError(f"{out} is a file; give a folder for the results of the assessment")
    targets = targets or Targets()
    report = on_progress or (lambda *_: None)
    with tempfile.TemporaryDirectory(prefix="miex-assess-") as folder:
        table = _table(config.faces, Path(folder), workers, report)
        people = open_held_out(table, config.identities, config.seed)
        if len(people.faces) < FEWEST_IDENTITIES:
            raise ValueError(
                f"{config.faces} holds {len(people.faces)} identities, expected at least "
                f"{FEWEST_IDENTITIES}, because realism compares two halves of them; give a larger "
                "set of faces"
            )
        config, labelled_by, permitted = _complete_config(config, people)
        parts = Path(folder) / "parts"
        job = AssessmentJob(config, table, len(people.faces), parts)
        document = _describe(config, people, labelled_by, targets)
        done, total = 0, len(people.faces) * len(config.generators)

        def on_faces(count: int) -> None:
            nonlocal done
            done += count
            report("assess", done, total)

        report("assess", 0, total)
        measured = measure_all(job, workers, on_faces)
    _summarise(document, config, targets, measured)
    document["findings"] = list_findings(document, people.labelled_by, permitted)
    _write(document, config, people, measured, out)
    return document


def _table(spec: str, folder: Path, workers: int | None, report: _Progress) -> Path:
    """Return the Parquet file with the faces, after preparing it if photographs are given."""
    if spec.endswith(".parquet"):
        return Path(spec)
    table = folder / "faces.parquet"
    prepare_faces(
        open_face_source(spec),
        table,
        workers=workers,
        on_progress=lambda done, total, _: report("faces", done, total),
    )
    return table


def _complete_config(
    config: AssessmentConfig, people: HeldOutFaces
) -> tuple[AssessmentConfig, dict[str, list[str]], list[str]]:
    """Add `warp` and a default estimator to the config, and check the estimators.

    Returns:
        The completed config, the estimators that labelled the training data of each generator, and
        those estimators that labelled training data but are permitted to measure.

    Raises:
        ValueError: An estimator labelled training data and this is not permitted.
        FileNotFoundError: No estimator is named and none is available.
    """
    generators = config.generators
    if all(one.name != _WARP for one in generators):
        generators = (*generators, GeneratorConfig(name=_WARP))
    labels = labels_of(generators)
    known = {
        label: sorted({*labellers(one), *(config.trained_on if one.name != _WARP else ())})
        for label, one in zip(labels, generators, strict=True)
    }
    trained = any(one.name != _WARP for one in generators)
    named = {name.partition(":")[0] for names in known.values() for name in names}
    if people.labelled_by and trained:
        named.add(people.labelled_by)
    estimators = config.estimators or (choose_estimator(sorted(named)),)
    permitted = refuse_training_estimators(
        [spec.partition(":")[0] for spec in estimators],
        sorted(named),
        config.allow_training_estimator,
    )
    complete = config.model_copy(update={"generators": generators, "estimators": estimators})
    return complete, known, permitted


def labels_of(generators: Sequence[GeneratorConfig]) -> list[str]:
    """Return distinct labels of generators.

    A label is the name of the generator, followed by the name of its checkpoint and by a number
    where several generators would have the same label.
    """
    names = [one.name for one in generators]
    labels = [
        f"{one.name} {one.checkpoint.stem}"
        if names.count(one.name) > 1 and one.checkpoint is not None
        else one.name
        for one in generators
    ]
    return [
        f"{label} ({number})" if labels.count(label) > 1 else label
        for number, label in enumerate(labels, start=1)
    ]


def _describe(
    config: AssessmentConfig,
    people: HeldOutFaces,
    labelled_by: Mapping[str, Sequence[str]],
    targets: Targets,
) -> dict[str, Any]:
    """Return the part of `assessment.json` that describes the inputs.

    All inputs are opened, so that missing ones are reported before a face is rendered.
    """
    instruments = open_instruments(config)
    tables = [*agreement.read_tables(config.agreement), *agreement.shipped_tables()]
    first = instruments.readers[0].estimator
    judged = agreement.judge(first.name, first.aus, tables)
    wanted = {f"AU{number:02d}" for number in TARGET_AUS}
    generators = []
    for label, one in zip(labels_of(config.generators), config.generators, strict=True):
        opened = create_generator(one)
        generators.append(
            {
                "label": label,
                "name": opened.name,
                "checkpoint": one.checkpoint.name if one.checkpoint else None,
                "sha256": opened.sha256,
                "max_intensity": opened.max_intensity,
                "labelled_by": list(labelled_by[label]),
            }
        )
    return {
        "format": _FORMAT,
        "config": _portable(config),
        "targets": targets.model_dump(mode="json"),
        "versions": versions(),
        "faces": {
            "file": people.origin,
            "sha256": people.sha256,
            "identities": len(people.faces),
            "available": people.available,
            "size": int(people.faces[0].crop.shape[0]),
            "labelled_by": people.labelled_by,
        },
        "estimators": [reader.description for reader in instruments.readers],
        "agreement": [asdict(row) for row in judged],
        "aus": [row.au for row in judged if row.agrees and row.au in wanted],
        "generators": generators,
    }


def _portable(config: AssessmentConfig) -> dict[str, Any]:
    """Return the config without the folders of this machine, since cards are published."""
    content = config.model_dump(mode="json")

    def bare(text: str) -> str:
        name, colon, path = text.partition(":")
        return f"{name}{colon}{Path(path).name}" if colon else Path(text).name

    for one in content["generators"]:
        one["checkpoint"] = Path(one["checkpoint"]).name if one["checkpoint"] else None
    for name in ("estimators", "agreement", "sources", "embeddings"):
        content[name] = [bare(text) for text in content[name]]
    return {**content, "faces": bare(content["faces"])}


def _summarise(
    document: dict[str, Any],
    config: AssessmentConfig,
    targets: Targets,
    measured: Sequence[Measurements],
) -> None:
    """Add the measures and targets of every generator to the document."""
    cases = cases_of(config, open_sources(config), 0)
    chosen = document["aus"]
    distances = [realism(one, cases, config.seed, config.splits) for one in measured]
    names = [one["name"] for one in document["generators"]]
    warp = distances[names.index(_WARP)]
    judged: list[list[Verdict]] = []
    for number, (entry, one) in enumerate(zip(document["generators"], measured, strict=True)):
        seen = [fidelity(one, cases, n) for n in range(len(config.estimators))]
        error = fidelity_error(one, cases, 0, chosen, config.seed)
        moved = motion(one, cases, targets.motion, config.min_motion_iod)
        against = None if entry["name"] == _WARP else warp[0]
        verdicts = [
            *judge_fidelity(seen[0], error, chosen, targets),
            judge_identity(one.distance, targets),
            judge_outside(one.outside, targets),
            *judge_motion(moved, targets),
            judge_realism(distances[number][0], against),
        ]
        judged.append(verdicts)
        values = {verdict.name: verdict for verdict in verdicts}
        entry |= {
            "targets": [asdict(verdict) for verdict in verdicts],
            "verdict": {
                "fidelity": values["fidelity"].value,
                "kid": values["kid"].value,
                "beats_warp_in_realism": values["kid"].met,
                "targets_met": all(verdict.met is not False for verdict in verdicts),
            },
            "fidelity": [_fidelity_numbers(each) for each in seen],
            "motion": asdict(moved),
            "identity": _identity_numbers(one, targets.same_person),
            "realism": [_realism_numbers(row) for row in distances[number]],
        }
    beside = names.index(_WARP)
    for entry, one, verdicts in zip(document["generators"], measured, judged, strict=True):
        if entry["name"] != _WARP:
            gain = fidelity_gain(one, measured[beside], cases, 0, chosen, config.seed)
            entry["verdict"]["fidelity_gain"] = list(gain)
            better = better_than_warp(verdicts, judged[beside], gain)
            entry["verdict"]["better_than_warp"] = better
    document["at_rest"] = _at_rest(measured[0], document["estimators"])


def _fidelity_numbers(found: Fidelity) -> dict[str, Any]:
    leakage = [
        [round(value, 4) if np.isfinite(value) else None for value in row]
        for row in found.leakage.tolist()
    ]
    return {
        "aus": [asdict(one) for one in found.aus],
        "leakage": leakage,
        "lost": found.lost,
        "sample": found.sample,
        "sample_defined": found.sample_defined,
    }


def _realism_numbers(row: RealismNumbers) -> dict[str, Any]:
    return {name: value for name, value in asdict(replace(row)).items() if name != "terms"}


def _identity_numbers(measured: Measurements, threshold: float) -> dict[str, Any]:
    quantiles = np.quantile(measured.distance, (0.05, 0.5, 0.95, 1.0))
    return {
        "frames": int(measured.distance.size),
        "same_person": float((measured.distance < threshold).mean()),
        "distance": [float(value) for value in quantiles],
    }


def _at_rest(measured: Measurements, estimators: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return each further estimator's correlation, per AU, with the first on the photographs."""
    first = measured.at_rest[:, 0]
    rows: dict[str, Any] = {}
    for number, estimator in enumerate(estimators[1:], start=1):
        other = measured.at_rest[:, number]
        values: list[float | None] = []
        for au in range(first.shape[1]):
            known = np.isfinite(first[:, au]) & np.isfinite(other[:, au])
            values.append(correlation(first[known, au], other[known, au]))
        rows[estimator["estimator"]] = values
    return rows


def _write(
    document: dict[str, Any],
    config: AssessmentConfig,
    people: HeldOutFaces,
    measured: Sequence[Measurements],
    out: Path,
) -> None:
    """Write all files; `assessment.json` is the last one and marks the folder as complete."""
    sources = open_sources(config)
    labels = [entry["label"] for entry in document["generators"]]
    generators = [create_generator(one) for one in config.generators]
    micro: list[list[Case]] = [
        [case for case in cases_of(config, sources, face) if case.kind == "micro"]
        for face in range(len(people.faces))
    ]
    sheets = {
        f"sheet-{label.replace(' ', '-')}.png": (
            f"{label}: single AUs",
            draw_single_sheet(people.faces, generator, config.intensities, label),
        )
        for label, generator in zip(labels, generators, strict=True)
    }
    sheets["sheet-micro.png"] = (
        "Micro-expressions side by side",
        draw_micro_sheet(people.faces, micro, generators, labels),
    )
    for name, (_, sheet) in sheets.items():
        with whole_file(out / name) as temporary:
            sheet.save(temporary, "PNG", compress_level=6)
    write_page(document, list(sheets.values()), out / PAGE_FILE)
    with whole_file(out / CARD_FILE) as temporary:
        temporary.write_text(card_section(document), encoding="utf-8")
    with whole_file(out / JSON_FILE) as temporary:
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
