"""Write the page about evaluations: scores side by side, confusion matrices, and notes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miex.datasets.files import whole_file
from miex.datasets.quantity import quantity
from miex.pipeline.recognition.results import Result, require_comparable
from miex.pipeline.reports.templates import load_template

_TEMPLATE = Path(__file__).with_name("results_page.html")

BASELINES = {
    "majority": "always the most frequent class of the training clips",
    "chance": "every class alike often",
    "annotated_aus": "from the annotators' AU codes alone, without a pixel",
}
"""What each baseline of a result is."""

PAGE = "index.html"
"""Name of the page in its folder."""


def write_results_page(
    results: Sequence[Result],
    out: Path,
    *,
    title: str | None = None,
    pictures: Mapping[str, Sequence[tuple[str, str]]] | None = None,
) -> Path:
    """Write one self-contained HTML page about results that may stand side by side.

    Args:
        results: Of one protocol on one list of clips.
        out: Folder of the page.
        title: Its heading; the protocol by default.
        pictures: For each heading pictures of what a recognizer looks at, as caption and
            ``data:`` address.

    Returns:
        The page.

    Raises:
        ValueError: No result, or results that cannot be compared.
        DiskFullError: The disk is full.
    """
    require_comparable(results)
    first = results[0].content
    text = load_template(_TEMPLATE, score="{:.3f}".format, digest=lambda text: text[:12]).render(
        title=title or f"{first['protocol']}: {quantity(first['clips'], 'clip')}",
        first=first,
        rows=[_row(name, result) for name, result in _named(results).items()],
        databases=list(first["databases"]),
        baselines=first["baselines"],
        by_folds=all("mean_over_folds" in each.content for each in results),
        notes={name: notes_of(result.content) for name, result in _named(results).items()},
        baseline_words=BASELINES,
        pictures=pictures or {},
        colours=(),
    )
    path = out / PAGE
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def name_of(content: Mapping[str, Any]) -> str:
    """Return a result in few words: its recognizer and what it was trained on."""
    config = content["config"]
    parts = [content["recognizer"]]
    pretrained = content["pretrained_on"]
    if pretrained["samples"]:
        parts.append(f"pretrained on {pretrained['name']}")
    elif pretrained["checkpoint"]:
        parts.append(f"pretrained on {pretrained['checkpoint'][-1]['data']}")
    if config.get("preset", "paper") != "paper":
        parts.append(f"trained as its {config['preset']}")
    if "pretraining_clips" in content:
        parts.append(f"pretrained on {_clips_by_database(content['pretraining_clips'])}")
    clips_alone = len(parts) == 1 and config["finetune"]
    finetuned = "fine-tuned" if config["finetune"] else "not fine-tuned"
    parts.append("trained on clips alone" if clips_alone else finetuned)
    if "training_clips" in content:
        parts.append(f"trained with {_clips_by_database(content['training_clips'])}")
    return ", ".join(parts)


def notes_of(content: Mapping[str, Any]) -> list[str]:
    """Return what must be known beside the scores of a result."""
    found = []
    if content["oracle"]:
        found.append("NOT A RESULT: the epoch was chosen on the test clips")
        if "last_epoch" in content:
            last = content["last_epoch"]["mean"]
            found.append(
                f"after the last epoch the same trainings have UF1 {last['uf1']:.3f}, UAR"
                f" {last['uar']:.3f}: that is a result"
            )
    said = content.get("clips_in_paper")
    if said:
        found.append(
            f"{quantity(content['clips'], 'clip')}: the paper says {said}, its authors' list has"
            f" {content['published_clips']}"
        )
    if content["published_clips"] and content["clips"] not in (content["published_clips"], said):
        found.append(
            f"{content['clips']} of the {content['published_clips']} clips of the protocol: not"
            " comparable with published numbers"
        )
    elif content["published_list"] is False and content["clips"] != said:
        folds = content.get("folds", {})
        if folds.get("by") == "published list" and content["clips"] == folds["listed"]:
            found.append(
                "the clips are those of the published list, some with other labels than there"
            )
        else:
            found.append("the clips are not those of the published list: not comparable with it")
    found += _notes_on_folds(content.get("folds", {}))
    if content["pretrained_on"]["samples"]:
        refused = sum(each["refused_synthetic"] for each in content["training"].values())
        found.append(
            f"{refused} synthetic samples, in all folds and seeds together, descend from the people"
            " tested there and were refused"
        )
    found += [
        f"{what} {_clips_by_database(content[name])},"
        f" {quantity(content[name]['subjects'], 'person')}, none of"
        f" whom is tested in the same fold ({_refused(content, name)} refused, in all folds and"
        " seeds together)"
        for name, what in (
            ("pretraining_clips", "pretrained on"),
            ("training_clips", "trained with, and never tested on,"),
        )
        if name in content
    ]
    dead = [name for name, each in content["training"].items() if each.get("warnings")]
    if dead:
        first = content["training"][dead[0]]["warnings"][0]
        found.append(f"{len(dead)} of {len(content['training'])} trainings, {dead[0]}: {first}")
    if len(content["config"]["seeds"]) < 3:
        found.append("fewer than three seeds: the deviation says little")
    for part in content["pooled"]["seeds"].values():
        if part["absent"]:
            names = ", ".join(content["classes"][index] for index in part["absent"])
            found.append(f"no clip of {names}: counted with F1 and recall 0")
            break
    found += [
        f"apex of {quantity(count, 'clip')}: {rule}"
        for rule, count in content["apex_rules"].items()
        if rule not in ("annotated", "synthesized")
    ]
    if content["apex_rules"].get("annotated"):
        found.append(
            f"{content['apex_rules']['annotated']} apexes are annotated: without an annotation"
            " they must be spotted; clips.samples.apex=spotted measures that"
        )
    if content["rejections"]:
        reasons = Counter(each["reason"] for each in content["rejections"])
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        found.append(f"clips that were left out: {counts}; see result.json")
    return found


def _clips_by_database(part: Mapping[str, Any]) -> str:
    return " and ".join(
        f"{quantity(count, 'clip')} of {name}" for name, count in part["databases"].items()
    )


def _refused(content: Mapping[str, Any], name: str) -> int:
    return sum(each[f"refused_{name}"] for each in content["training"].values())


def _notes_on_folds(folds: Mapping[str, Any]) -> list[str]:
    """Return who shares a fold by whose choice, and every difference from a published list."""
    if folds.get("by") == "seed":
        why = f": {folds['why']}" if "why" in folds else ""
        return [f"who shares a fold was drawn with seed {folds['seed']}{why}"]
    if folds.get("by") != "published list":
        return []
    notes = [
        f"folds as published: {folds['found']} of the {folds['listed']} clips of {folds['list']},"
        f" list {folds['sha256'][:12]}"
    ]
    for name, words in (
        ("missing", "of the published folds, not among the clips that are given"),
        ("left_out", "not in the published folds, neither trained nor tested on"),
        ("respelled", "spelled otherwise in the published folds"),
    ):
        if folds[name]:
            notes.append(
                f"{quantity(len(folds[name]), 'clip')} {words}, as {next(iter(folds[name]))}"
            )
    if folds["empty"]:
        notes.append(f"folds without a clip that is given: {', '.join(map(str, folds['empty']))}")
    return notes


def _named(results: Sequence[Result]) -> dict[str, Result]:
    """Return results by name; those of one name are told apart by their folders."""
    names = [name_of(result.content) for result in results]
    folders = [result.folder.name for result in results]
    found = {}
    for name, folder, result in zip(names, folders, results, strict=True):
        place = folder if folders.count(folder) == 1 else result.folder
        found[name if names.count(name) == 1 else f"{name} ({place})"] = result
    return found


def _row(name: str, result: Result) -> dict[str, Any]:
    content = result.content
    size = len(content["classes"])
    summed = [
        [sum(matrix[i][j] for matrix in content["confusion"].values()) for j in range(size)]
        for i in range(size)
    ]
    seeds = len(content["config"]["seeds"])
    return {
        "name": name,
        "folder": result.folder.name,
        "content": content,
        "oracle": content["oracle"],
        "confusion": [
            [
                {"count": count / seeds, "share": count / sum(line) if sum(line) else 0}
                for count in line
            ]
            for line in summed
        ],
        "weights": sorted({each["weights"] for each in content["training"].values()}),
    }
