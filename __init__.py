"""Synthesize micro-expression datasets in the style of MiE-X and train recognizers on them.

The names below are loaded when they are first used, so that ``import miex`` is fast. Everything
else is imported from its file, for instance ``from miex.generators.warp import WarpGenerator``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miex.au_sources.pool import AUPair, AUPool
    from miex.datasets.clips.base import open_clips
    from miex.datasets.shards import MiexDataset, MiexStream, load_dataset
    from miex.flows.api import (
        evaluate,
        extract_aus,
        finetune,
        prepare_faces,
        pretrain,
        report,
        synthesize,
        train_generator,
    )
    from miex.generators.base import GeneratorConfig, create_generator
    from miex.pipeline.recognition.checkpoint import load_checkpoint
    from miex.pipeline.recognition.recognizers.base import create_recognizer
    from miex.pipeline.recognition.representations.magnification import magnify
    from miex.pipeline.recognition.representations.optical_flow import optical_flow
    from miex.pipeline.synthesis.config import SynthesisConfig

_PLACES = {
    "AUPair": "au_sources.pool",
    "AUPool": "au_sources.pool",
    "GeneratorConfig": "generators.base",
    "MiexDataset": "datasets.shards",
    "MiexStream": "datasets.shards",
    "SynthesisConfig": "pipeline.synthesis.config",
    "create_generator": "generators.base",
    "create_recognizer": "pipeline.recognition.recognizers.base",
    "evaluate": "flows.api",
    "extract_aus": "flows.api",
    "finetune": "flows.api",
    "load_checkpoint": "pipeline.recognition.checkpoint",
    "load_dataset": "datasets.shards",
    "magnify": "pipeline.recognition.representations.magnification",
    "open_clips": "datasets.clips.base",
    "optical_flow": "pipeline.recognition.representations.optical_flow",
    "prepare_faces": "flows.api",
    "pretrain": "flows.api",
    "report": "flows.api",
    "synthesize": "flows.api",
    "train_generator": "flows.api",
}
"""Module of each public name, below `miex`."""

__all__ = [
    "AUPair",
    "AUPool",
    "GeneratorConfig",
    "MiexDataset",
    "MiexStream",
    "SynthesisConfig",
    "create_generator",
    "create_recognizer",
    "evaluate",
    "extract_aus",
    "finetune",
    "load_checkpoint",
    "load_dataset",
    "magnify",
    "open_clips",
    "optical_flow",
    "prepare_faces",
    "pretrain",
    "report",
    "synthesize",
    "train_generator",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Imported here: it takes longer than the rest of this module.
        from importlib.metadata import version

        return version("miex")
    if name not in _PLACES:
        raise AttributeError(f"module 'miex' has no attribute {name!r}")
    value = getattr(import_module(f"miex.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES, "__version__"})
