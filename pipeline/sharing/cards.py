"""Cards of published checkpoints, which the Hugging Face Hub shows first."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import yaml

from miex.generators.ganimation.checkpoint import Checkpoint as GeneratorCheckpoint
from miex.pipeline.recognition.checkpoint import Card
from miex.pipeline.recognition.recognizer_config import recognizer_facts

_TAGS = ["miex", "micro-expression", "facial-expression", "action-units"]


def recognizer_card(card: Card) -> str:
    """Write the `README.md` of a recognizer: what it is, and what it was trained on.

    Subjects are counted by database and not named; the checkpoint itself lists them, so that an
    evaluation can refuse to test on them.

    Args:
        card: Card of its checkpoint.

    Returns:
        Markdown with front matter of the Hub.
    """
    facts = recognizer_facts(card.recognizer)
    lines = [
        f"# {card.recognizer}: a micro-expression recognizer",
        "",
        f"{_plain(facts.get('paper', 'recognizer'))}, trained with miex. Label space:"
        f" `{card.label_space}`. Started from: {_plain(card.weights)}.",
        "",
        "```sh",
        "miex finetune -r "
        f"{card.recognizer} --clips NAME:PATH --checkpoint hf-hub:USER/NAME -o out/finetuned",
        "miex inspect hf-hub:USER/NAME --clips NAME:PATH",
        "```",
        "",
    ]
    for stage in card.stages:
        people = Counter(database for database, _ in stage.subjects)
        lines += [
            f"## {stage.name}",
            "",
            "| | |",
            "|---|---|",
            f"| data | {_plain(stage.data)} |",
            f"| samples | {stage.samples:,} ({_counts(stage.sources)}) |",
            f"| subjects, by database | {_counts(people) or 'none'} |",
            f"| steps, seed | {stage.steps:,}, {stage.seed} |",
            f"| computed | {_plain(stage.computed)} |",
            f"| hyperparameters | {_plain(_counts(stage.hyperparameters))} |",
            "",
        ]
    lines += [
        "## Config",
        "",
        "```yaml",
        yaml.safe_dump(dict(card.config), sort_keys=False).rstrip(),
        "```",
        "",
        "## Terms",
        "",
        "The licences of the clips and photographs that it was trained on apply to these weights."
        " It must not be tested on its subjects; `miex evaluate` refuses that.",
        "",
    ]
    return _front([*_TAGS, card.recognizer]) + "\n".join(lines)


def generator_card(checkpoint: GeneratorCheckpoint, notes: str = "") -> str:
    """Write the `README.md` of a generator.

    Args:
        checkpoint: The checkpoint.
        notes: Markdown about it, as `miex train-generator` writes beside the weights.

    Returns:
        Markdown with front matter of the Hub.
    """
    about = [
        "```sh",
        "miex synthesize --generator ganimation --checkpoint hf-hub:USER/NAME -o out/miex",
        "```",
        "",
        f"Format {checkpoint.format}, trained on images of {checkpoint.image_size} pixels, sha256"
        f" `{checkpoint.sha256}`.",
        "",
    ]
    if not notes:
        rows = [f"| {_plain(name)} | {_plain(text)} |" for name, text in checkpoint.card.items()]
        about = ["# A generator of facial expressions", "", *about]
        about += ["| | |", "|---|---|", *rows, ""] if rows else []
        return _front(_TAGS) + "\n".join(about)
    return _front(_TAGS) + notes.rstrip() + "\n\n## Load it\n\n" + "\n".join(about)


def _front(tags: list[str]) -> str:
    matter = {
        "library_name": "miex",
        "license": "other",
        "license_name": "licences-of-the-sources",
        "tags": tags,
    }
    return f"---\n{yaml.safe_dump(matter, sort_keys=False)}---\n\n"


def _counts(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _plain(text: object) -> str:
    """Return text for a cell of a table: one line, without HTML."""
    return " ".join(str(text).split()).replace("<", "&lt;").replace("|", "\\|")
