"""The opened inputs of a dataset: face table, AU sources, plan and generator."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from miex.au_sources.base import AUSource, open_source
from miex.datasets.labels import LABEL_SPACES
from miex.generators.base import FaceGenerator, create_generator, revision_of
from miex.pipeline.aus.fidelity import AUReader
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.plan import Plan, frames_between
from miex.pipeline.synthesis.quality import open_reader


def open_sources(config: SynthesisConfig) -> list[AUSource]:
    """Open the AU sources that a config names, in its order.

    Raises:
        FileNotFoundError: A table or pool is missing.
        ValueError: A source cannot be read; the message names it.
    """
    return [
        open_source(
            spec,
            label_space=LABEL_SPACES[config.label_space],
            intensity=config.intensity,
            emotion_weights=config.emotion_weights,
        )
        for spec in config.sources
    ]


@dataclass(frozen=True)
class Inputs:
    """The opened inputs that a synthesis config names.

    Attributes:
        config: The config.
        faces: The face table with the templates.
        sources: The AU sources, in the order of the config.
        generator: The generator.
        folder: The folder to which relative paths in the config refer.
        plan: The plan, which assigns a face and an expression to every sample.
    """

    config: SynthesisConfig
    faces: FaceTable
    sources: list[AUSource]
    generator: FaceGenerator[Any]
    folder: Path
    plan: Plan

    @classmethod
    def open(
        cls,
        config: SynthesisConfig,
        table: Path,
        folder: Path,
        sources: list[AUSource] | None = None,
        generator: FaceGenerator[Any] | None = None,
    ) -> "Inputs":
        """Open the face table, and the sources and the generator if they are not given.

        Args:
            config: The config.
            table: Path or address of the face table.
            folder: The folder to which relative paths in the config refer.
            sources: The AU sources of the config, if they are open already.
            generator: The generator of the config, if it is open already.

        Raises:
            FileNotFoundError: The face table, an AU source or a checkpoint is missing.
            ValueError: An input is damaged, or the config does not fit the inputs.
        """
        faces = FaceTable.open(table)
        found = config.located(folder)
        sources = open_sources(found) if sources is None else sources
        plan = Plan(config, faces.people, sources)
        return cls(
            config, faces, sources, generator or create_generator(found.generator), folder, plan
        )

    @cached_property
    def reader(self) -> AUReader | None:
        """Estimator that measures AU fidelity, or None if the config requests no measurement."""
        return open_reader(self.config.located(self.folder).quality)

    def _between(self, source: AUSource) -> dict[str, str]:
        """Return the origin of the AUs between onset and apex, for samples that have such frames.

        Datasets of two frames per sample have no entry, so that their manifests do not change.
        """
        sequence = self.config.sequence
        if sequence.frames == 2:
            return {}
        return {"frames_between": frames_between(source.tracked, sequence)}

    @cached_property
    def description(self) -> dict[str, Any]:
        """Hashes, licences and citations of every input, as stored in the manifest."""
        found: dict[str, Any] = {
            "faces": {
                "table": self.config.faces,
                "sha256": self.faces.sha256,
                "size": self.faces.config.size,
                "identities": len(self.faces.people),
                "licences": dict(self.faces.licences),
                "rejections": self.faces.rejection_counts,
            },
            "sources": [
                {
                    "spec": spec,
                    "name": source.name,
                    "description": source.description,
                    "sha256": source.sha256,
                    "citation": source.citation,
                    "licence": source.licence,
                    "measured_on": list(source.measured_on),
                    "classes": [c for c in source.label_space.classes if c in source.classes],
                    **self._between(source),
                }
                for spec, source in zip(self.config.sources, self.sources, strict=True)
            ],
            "generator": {
                "name": self.generator.name,
                "sha256": self.generator.sha256,
                "max_intensity": self.generator.max_intensity,
                "condition": self.generator.condition,
            },
        }
        if revision_of(self.generator) > 1:
            found["generator"]["revision"] = revision_of(self.generator)
        if self.reader is not None:
            found["fidelity"] = self.reader.description
        return found
