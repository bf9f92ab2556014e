"""Tables of README.md and docs/*.md that are made from the classes they describe.

    python tests/support/tables.py          # after adding a recognizer, a reader, ...: rewrite them

A table stands between `<!-- table NAME -->` and `<!-- end of table -->`; NAME is a key of `TABLES`.
`tests/test_docs.py` compares each with what is made here.
"""

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from miex.au_sources.estimators.base import estimator_facts, estimator_places
from miex.au_sources.expert_table import load_table, table_places
from miex.datasets.clips.base import clip_database_facts, clip_database_places
from miex.datasets.faces.base import face_source_facts, face_source_places
from miex.datasets.registry import Facts
from miex.generators.base import generator_facts, generator_places
from miex.pipeline.recognition.recognizer_config import TrainingStage
from miex.pipeline.recognition.recognizers.base import (
    Hyperparameters,
    Recognizer,
    create_recognizer,
    recognizer_class,
    recognizer_places,
)
from miex.pipeline.recognition.sample import ClipFrames

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(<!-- table ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
CLASSES = 3

Rows = Iterator[Sequence[str]]
"""The head first."""


def own(places: dict[str, str]) -> list[str]:
    """Return names of plug-ins that are files of miex: the docs do not list other packages'."""
    return [name for name, place in places.items() if place.startswith("miex.")]


def frames_of(clip_frames: ClipFrames) -> str:
    """Return which frames of a clip a recognizer needs, in words."""
    if clip_frames.which == "pair":
        return "onset, apex"
    return f"onset to {clip_frames.which.removeprefix('to_')}, at most {clip_frames.most:,}"


@functools.cache
def parameters_of(name: str) -> str:
    """Return the number of trained parameters of a recognizer for three classes, in words."""
    found = recognizer_class(name)
    if not issubclass(found, Recognizer):
        return "fitted, no network"
    config = {"weights": "random"} if "weights" in found.Config.model_fields else {}
    network = create_recognizer(name, CLASSES, config)
    assert isinstance(network, Recognizer)
    count = sum(each.numel() for each in network.parameters())
    return f"{count:,}" if count < 1e5 else f"{count / 1e6:.2f} M"


def recognizers() -> Rows:
    """Yield name, paper, input and size of every recognizer."""
    yield "recognizer", "paper", "input", "frames of a clip", f"parameters, {CLASSES} classes"
    for name in own(recognizer_places()):
        found = recognizer_class(name)
        frames = frames_of(found.clip_frames)
        yield f"`{name}`", found.citation, found.looks_at, frames, parameters_of(name)


_STAGES: dict[TrainingStage, str] = {
    "training": "clips alone",
    "alone": "synthesized alone",
    "pretraining": "pretraining",
    "fine_tuning": "fine-tuning",
}


def trainings() -> Rows:
    """Yield the default hyperparameters of every recognizer."""
    yield "recognizer", "optimizer, rate", "schedule", "epochs", "batch", "other"
    for name in own(recognizer_places()):
        found = recognizer_class(name)
        if not issubclass(found, Recognizer):
            continue
        config = found.Config()
        yield f"`{name}`", *_training(config.training)
        if config.fine_tuning:
            yield f"`{name}`, fine-tuning", *_training(config.fine_tuning)
        for preset in found.presets:
            if preset != "paper":
                other = found.Config(**found.presets[preset])
                for stage, words in _STAGES.items():
                    hyper = other.hyperparameters({}, stage)
                    yield f"`{name}`, preset `{preset}`, {words}", *_training(hyper)


def _falling(values: Hyperparameters) -> str:
    epochs = round(values.epochs * (1 - values.constant_share))
    return "the second half" if values.constant_share == 0.5 else f"the last {epochs} epochs"


def _training(values: Hyperparameters) -> tuple[str, ...]:
    default = Hyperparameters()
    optimizer = {"adam": "Adam", "adamw": "AdamW", "adamp": "AdamP", "sgd": "SGD"}
    schedule = {
        "constant": "constant",
        "cosine": "cosine",
        "step": f"x {values.step_factor:g} every {values.step_epochs} epochs",
        "linear_second_half": f"constant, then linear to 0 over {_falling(values)}",
    }
    other = []
    if values.optimizer != "sgd" and values.betas != default.betas:
        other.append("betas {:g}, {:g}".format(*values.betas))
    if values.optimizer == "sgd":
        other.append(f"momentum {values.momentum:g}")
    if values.weight_decay:
        other.append(f"weight decay {values.weight_decay:g}")
    if values.gradient_clip:
        of = " of each network" if values.gradient_clip_of == "each_network" else ""
        other.append(f"gradient norm{of} at most {values.gradient_clip:g}")
    return (
        f"{optimizer[values.optimizer]} {values.learning_rate:g}",
        schedule[values.schedule],
        str(values.epochs),
        str(values.batch_size),
        ", ".join(other),
    )


def _facts(head: tuple[str, str], places: dict[str, str], facts_of: Callable[[str], Facts]) -> Rows:
    yield head
    for name in own(places):
        facts = facts_of(name)
        yield f"`{facts.written or name}`", facts.about


def readers() -> Rows:
    """Yield how each reader of clips is written and what it reads."""
    return _facts(("reader", "what it reads"), clip_database_places(), clip_database_facts)


def face_readers() -> Rows:
    """Yield how each reader of photographs is written and what it reads."""
    return _facts(("source", "what it reads"), face_source_places(), face_source_facts)


def estimators() -> Rows:
    """Yield how each estimator is written and what it looks at."""
    head = ("estimator", "input; requirements; scale; measured AUs")
    return _facts(head, estimator_places(), estimator_facts)


def generators() -> Rows:
    """Yield every generator and what it does."""
    return _facts(("generator", "what it is"), generator_places(), generator_facts)


def expert_tables() -> Rows:
    """Yield every expert table with the first sentence of its description."""
    yield "source", "AUs"
    for name, place in table_places().items():
        if Path(place).is_relative_to(ROOT):
            description = " ".join(load_table(name).description.split())
            yield f"`expert:{name}`", description.partition(". ")[0].removesuffix(".")


TABLES: dict[str, Callable[[], Rows]] = {
    "recognizers": recognizers,
    "trainings": trainings,
    "readers": readers,
    "face-readers": face_readers,
    "estimators": estimators,
    "generators": generators,
    "expert-tables": expert_tables,
}


def table(name: str) -> str:
    """Return a table as Markdown.

    Raises:
        ValueError: No such table.
    """
    if name not in TABLES:
        raise ValueError(f"no table is called {name!r}; there are: {', '.join(TABLES)}")
    head, *rows = TABLES[name]()
    first, *lines = ["| " + " | ".join(line) + " |" for line in (head, *rows)]
    return "\n".join([first, "|---" * len(head) + "|", *lines]).replace("|  |", "| |")


def rewritten(text: str) -> str:
    """Return a page with each of its tables made anew."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{table(found[2])}\n\n{found[3]}", text)


def pages() -> list[Path]:
    """Return README.md and every page of docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


if __name__ == "__main__":
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = rewritten(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(f"rewrote {page.relative_to(ROOT)}")
