"""The stages of the chain of MiE-X up to the dataset; each returns what it made.

OUT/stand_in/casme2       fictitious clips, where no real ones are given
OUT/emotionnet            downloaded photographs
OUT/faces.parquet         face table
OUT/pools/*.parquet       AU pools of real_mie and early_mae
OUT/datasets/miex-...     dataset, found by the hash of its config
OUT/pretrained/NAME       recognizer, trained on the dataset
OUT/finetuned/NAME        the same, fine-tuned on all clips
OUT/evaluated/...         evaluations, found by the hash of their jobs
OUT/tables/NAME           table of the paper
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miex.au_sources.pool import AUPool
from miex.datasets.clips.base import gives_flow, open_clips
from miex.datasets.config import build
from miex.datasets.faces.base import open_face_source
from miex.datasets.faces.emotionnet_download import download_emotionnet
from miex.pipeline.aus.extraction import FACS, AUExtractionConfig, extract_aus
from miex.pipeline.experiments.chain_config import ChainConfig
from miex.pipeline.experiments.chain_inputs import STAND_IN, Settled
from miex.pipeline.faces.prepare import prepare_faces
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.fictitious_databases.write import write_fictitious
from miex.pipeline.make_dataset import synthesize_as_stage
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.workers import OnStage

STAND_IN_SUBJECTS, STAND_IN_CLIPS = 6, 4
"""Size of the fictitious database."""


class Work:
    """What the stages share: config, settled inputs, and the places of their outputs."""

    def __init__(self, config: ChainConfig, settled: Settled, out: Path, cache: Path) -> None:
        self.config, self.settled, self.cache = config, settled, cache
        self.out = out.resolve()
        self.workers: int | None = None

    @property
    def face_table(self) -> Path:
        """Return the path of the face table."""
        given = self.config.faces
        return Path(given).expanduser().resolve() if self.has_table else self.out / "faces.parquet"

    @property
    def has_table(self) -> bool:
        """Return whether `faces` is a face table, which needs no preparation."""
        return self.config.faces.endswith(".parquet")

    def pool(self, source: str) -> Path:
        """Return the path of the AU pool of a source."""
        return self.out / "pools" / f"{source}.parquet"

    @property
    def clips_with_frames(self) -> tuple[str, ...]:
        """Return the databases of micro-expressions whose frames can be measured."""
        if self.settled.stands_in:
            return self.settled.clips
        return tuple(each for each in self.settled.clips if not gives_flow(open_clips(each)))

    def dataset(self) -> tuple[Path, SynthesisConfig]:
        """Return folder and config of the dataset; experiments name theirs alike."""
        settled, config = self.settled, self.config
        pools = [
            f"pool:{self.pool(source)}"
            for source in ("real_mie", "early_mae")
            if self.pool(source).is_file()
        ]
        values: dict[str, Any] = {
            "name": "miex",
            "label_space": "three_class",
            "faces": str(self.face_table),
            "identities": settled.identities,
            "samples": settled.samples,
            "sources": [*pools, "expert:miex"],
            "generator.name": config.generator,
            "generator.checkpoint": config.checkpoint,
            "generator.device": config.device,
            "seed": config.seed,
        }
        found = build(SynthesisConfig, values)
        return self.out / "datasets" / f"miex-{found.sha256()[:10]}", found

    def stand_in(self, on_stage: OnStage) -> Mapping[str, Any]:
        """Write the fictitious database."""
        folder = self.out / "stand_in" / STAND_IN
        # A run that was interrupted in this stage left a part of the database.
        shutil.rmtree(folder, ignore_errors=True)
        on_stage("clips", 0, 1)
        made = write_fictitious(
            STAND_IN, folder, STAND_IN_SUBJECTS, STAND_IN_CLIPS, self.config.seed
        )
        on_stage("clips", 1, 1)
        return {"output": str(folder), "clips": made.listed}

    def download(self, on_stage: OnStage) -> Mapping[str, Any]:
        """Download the photographs of EmotionNet's lists."""
        lists = [Path(each).expanduser() for each in self.config.face_lists]
        summary = download_emotionnet(
            lists,
            self.out / "emotionnet",
            on_progress=lambda done, total, _: on_stage("links", done, total),
        )
        found = {"downloaded": summary.downloaded, "already there": summary.already_there}
        failed = sum(summary.failed.values())
        return {"output": str(self.out / "emotionnet"), **found, "failed": failed}

    def faces(self, on_stage: OnStage) -> Mapping[str, Any]:
        """Prepare the face table, or open the given one."""
        if self.has_table:
            table = FaceTable.open(self.face_table)
        else:
            table = prepare_faces(
                open_face_source(self.photographs),
                self.face_table,
                workers=self.workers,
                on_progress=lambda done, total, _: on_stage("photographs", done, total),
            )
        return {
            "output": str(self.face_table),
            "sha256": table.sha256,
            "faces": len(table),
            "identities": len(set(table.identities)),
            "left out": dict(table.rejection_counts),
        }

    @property
    def photographs(self) -> str:
        """Return the spec of the photographs."""
        if not self.config.face_lists:
            return self.config.faces
        return f"emotionnet:{self.out / 'emotionnet'}?lists={self.config.face_lists[0]}"

    def real_mie(self, on_stage: OnStage) -> Mapping[str, Any]:
        """Extract the pool of real micro-expressions."""
        return self._extract("real_mie", self.clips_with_frames, on_stage)

    def early_mae(self, on_stage: OnStage) -> Mapping[str, Any]:
        """Extract the pool of early frames of macro-expressions."""
        return self._extract("early_mae", self.settled.macro, on_stage)

    def _extract(self, source: str, specs: Sequence[str], on_stage: OnStage) -> Mapping[str, Any]:
        pools, counts, left_out = [], {}, {}
        for spec in specs:
            config = self.extraction(source, spec)
            found = extract_aus(config, on_clip=lambda done, total: on_stage("clips", done, total))
            if len(found.pool):
                pools.append(found.pool)
            counts[spec], left_out[spec] = len(found.pool), found.reasons
        if not pools:
            reasons = "; ".join(f"{spec}: {found}" for spec, found in left_out.items())
            raise ValueError(f"no clip gave AUs of {source} ({reasons})")
        pool = AUPool.merge(pools)
        pool.write(self.pool(source))
        return {
            "output": str(self.pool(source)),
            "sha256": pool.sha256,
            "pairs": counts,
            "distinct pairs": pool.distinct,
            "left out": left_out,
        }

    def extraction(self, source: str, spec: str) -> AUExtractionConfig:
        """Return the config of the extraction from one database.

        Landmarks alone measure the shape of a face as an expression, so changes from the onset are
        taken then; other estimators give absolute values, as MiE-X has them.
        """
        estimator = self.config.estimator
        if estimator == FACS and source == "early_mae":
            estimator = "landmarks"
        values: dict[str, Any] = {"clips": spec, "source": source, "estimator": estimator}
        if estimator == "landmarks":
            values |= {"calibration": "none", "window": 3, "relative": True}
        if estimator != FACS:
            values["device"] = self.config.device
        return build(AUExtractionConfig, values)

    def synthesize(self, on_stage: OnStage) -> Mapping[str, Any]:
        """Synthesize the dataset."""
        folder, config = self.dataset()
        manifest = synthesize_as_stage(
            config, folder, "samples", workers=self.workers, on_stage=on_stage
        )
        counts = manifest["counts"]
        return {
            "output": str(folder),
            "fingerprint": manifest["fingerprint"],
            "samples": counts["written"],
            "identities": counts["identities"],
            "by source": counts["by_au_source"],
            "by class": counts["by_class"],
            "left out": counts["rejected"],
        }
