"""Write the dataset card, which people and the Hugging Face Hub read first."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from markupsafe import Markup

from miex.datasets.dataset_format import (
    COLUMN_NOTES,
    SCHEMA,
    card_features,
    count_rejections,
)
from miex.pipeline.reports.templates import load_template
from miex.pipeline.synthesis.manifest import BY_HAND

_TEMPLATE = Path(__file__).with_name("card.md")

_SIZES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
    100_000_000: "10M<n<100M",
}
"""The Hub's size categories by their upper bound (huggingface/hub-docs, datasetcard.md)."""

_IMAGES = {
    "png": "PNG, lossless",
    "webp": "WebP, lossless",
    "jpeg": "JPEG of quality {quality}, 4:4:4, lossy",
}

COLUMN_MEANINGS = {
    "sample_id": "name of the dataset and number of the sample in its plan",
    "identity": "the person on the template photograph",
    "emotion": "name of the class",
    "fine_emotion": "the emotion inside the class; empty where the AUs' origin tells no finer",
    "au_source": "where the AUs come from: real_mie (real micro-expressions), early_mae (the "
    "beginning of macro-expressions), expert (a table of AUs by emotion)",
    "apex_index": "index of the apex in `frames`",
    "source_dataset": "database the AUs were read from",
    "source_subject": "subject there; keep it out of the training set when it is tested on",
    "source_clip": "clip there",
    "source_onset_frame": "number of the onset frame there",
    "source_apex_frame": "number of the apex frame there",
    "au_estimator": "what measured the AUs, or the expert table",
    "template": "the face's origin, SOURCE:PATH",
    "template_sha256": "hash of the photograph's file",
    "generator": "what rendered the frames",
    "generator_sha256": "hash of its weights; empty for a generator without any",
    "seed": "seed of the dataset",
} | COLUMN_NOTES
"""What each column of a dataset means, for readers."""


def dataset_card(manifest: Mapping[str, Any]) -> str:
    """Write the `README.md` of a dataset, with Hugging Face's front matter.

    It holds no date and no path of the output, so that equal datasets have equal cards.

    Args:
        manifest: Content of `manifest.json`.

    Returns:
        Markdown.
    """
    config = manifest["config"]
    sources = manifest["inputs"]["sources"]
    template = load_template(_TEMPLATE, number="{:,}".format, sentence=_sentence, counted=_counted)
    body = template.render(
        manifest=manifest,
        by_hand=any(source["spec"].startswith(f"{BY_HAND}:") for source in sources),
        counts=manifest["counts"],
        faces=manifest["inputs"]["faces"],
        generator=manifest["inputs"]["generator"],
        size=manifest["inputs"]["faces"].get("size", config["face_preparation"]["size"]),
        frames_per_sample=config["sequence"]["frames"],
        image=_IMAGES[config["image"]["format"]].format(**config["image"]),
        columns=[(field.name, _type_name(field), COLUMN_MEANINGS[field.name]) for field in SCHEMA],
        rejected=count_rejections(manifest),
        citations=list(dict.fromkeys(source["citation"] for source in sources)),
        versions=", ".join(f"{name} {text}" for name, text in manifest["versions"].items()),
        config_yaml=Markup(_yaml(config)),
    )
    matter = yaml.safe_dump(_front_matter(manifest), sort_keys=False, allow_unicode=True)
    return f"---\n{matter}---\n\n{body}"


def _yaml(config: Mapping[str, Any]) -> str:
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=100)
    # The config stands between fences of code, which no value may close.
    return text.replace("```", "` ` `")


def _front_matter(manifest: Mapping[str, Any]) -> dict[str, Any]:
    samples = manifest["counts"]["written"]
    video = manifest["config"]["sequence"]["frames"] > 2
    return {
        "pretty_name": f"{manifest['name']}: synthetic micro-expressions",
        "license": "other",
        # No license_link: the Hub takes only a URL or a file LICENSE (hub-docs, datasetcard.md);
        # the terms of the sources are many, and the card lists them.
        "license_name": "licences-of-the-sources",
        "task_categories": ["video-classification" if video else "image-classification"],
        "size_categories": [
            next((name for bound, name in _SIZES.items() if samples < bound), "100M<n<1B")
        ],
        "annotations_creators": ["machine-generated"],
        "dataset_info": {"features": card_features(manifest["label_space"]["classes"])},
        "tags": [
            "synthetic",
            "micro-expression",
            "facial-expression",
            "action-units",
            "emotion-recognition",
            "miex",
        ],
        # The folder may hold other tables (faces.parquet); only the shards are the dataset.
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": _data_files(manifest)}],
            }
        ],
    }


def _data_files(manifest: Mapping[str, Any]) -> str:
    return "data/*/train-*.parquet" if "parts" in manifest else "data/train-*.parquet"


def _type_name(field: pa.Field) -> str:
    """Return the type of a column in words: `float32`, `string?` if nullable."""
    nested = {
        "aus": "list of float32[17]",
        "frames": "list of images",
        "landmarks": "list of float32[2]",
    }
    name = "float32" if pa.types.is_float32(field.type) else str(field.type)
    return nested.get(field.name, f"{name}{'?' if field.nullable else ''}")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _counted(counts: Mapping[str, int]) -> str:
    """Return counts as text, most frequent first: `no_face 12, too_blurred 3`."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in ordered)
