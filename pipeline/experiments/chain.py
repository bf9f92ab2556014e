"""Run the whole chain of MiE-X: faces, AU pools, dataset, training, evaluation, page.

OUT/chain.json            config, which a second run in the folder must share
OUT/stages/NAME.json      what a stage made and how long it took; the stage is then finished
OUT/index.html            page, rewritten after every stage

A stage is skipped when its record fits the config and the stages before it, and its output is
there. An interrupted stage resumes where the job that it calls resumes: parts of the face table,
shards, training states, folds.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miex.datasets.documents import read_document, write_document
from miex.datasets.locks import locked
from miex.pipeline.experiments import chain_amounts as amounts
from miex.pipeline.experiments import chain_training as training
from miex.pipeline.experiments.chain_config import ChainConfig
from miex.pipeline.experiments.chain_inputs import settle
from miex.pipeline.experiments.chain_page import write_chain_page
from miex.pipeline.experiments.chain_stages import Work
from miex.pipeline.workers import OnStage, cores

_RECORD = "chain.json"

_FORMAT = "miex-chain/1"

_SECONDS = {
    "links": 0.05,
    "photographs": 0.3,
    "frames": 0.08,
    "samples": 0.07,
    "sample passes": 0.0009,
    "clips": 0.25,
}
"""Seconds per unit on one core of a virtual server (2 cores, Xeon at 2.1 GHz), see
docs/reproduce.md. Sample passes are those of STSTNet."""

_PASS_FACTORS = {"apex_me": 600.0, "branches": 1200.0}
"""Time of a sample pass on a CPU core in relation to STSTNet's; 1 for recognizers without one."""

_PARALLEL = frozenset({"photographs", "samples"})
"""Units that all cores work on."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the chain.

    Attributes:
        name: Short name, also of its task and its progress.
        title: What it does.
        needs: What it reads, in words.
        unit: What its progress and its rate count.
        amount: Returns how many of them there are.
        left_out: Why the stage does not take place, or None.
        run: Does the work, and returns what was made; `output` is its path.
    """

    name: str
    title: str
    needs: str
    unit: str
    amount: Callable[[], float]
    left_out: str | None
    run: Callable[[OnStage], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Outlook:
    """A stage as a dry run shows it.

    Attributes:
        stage: The stage.
        state: `done`, `to do`, or why it is left out.
        amount: Units of work.
        seconds: Time that it will take, or took; None where the stage is left out.
        measured: Whether the time is that of this folder's own run.
    """

    stage: Stage
    state: str
    amount: float
    seconds: float | None
    measured: bool


class Chain:
    """The stages of one run, in their order.

    Args:
        config: Inputs and size.
        out: Folder of the run.
        cache: Folder of cached representations; may be deleted.
        workers: Number of processes; all cores by default.

    Raises:
        ValueError: A database cannot be read, or the folder holds a run with another config.
        FileNotFoundError: A database is missing.
    """

    def __init__(
        self,
        config: ChainConfig,
        out: Path,
        cache: Path | None = None,
        workers: int | None = None,
    ) -> None:
        self.config, self.out = config, out.resolve()
        self._check_folder()
        self.settled = settle(config, self.out)
        self.work = Work(config, self.settled, self.out, cache or self.out / "cache")
        self.work.workers = workers
        self.stages = self._stages()

    def _check_folder(self) -> None:
        path = self.out / _RECORD
        if not path.is_file():
            return
        remedy = "give another --out, or delete the folder to begin anew"
        before = read_document(path, "record of the chain", remedy)["config"]
        now = self.config.record()
        changed = [name for name in now if before.get(name) != now[name]]
        if changed:
            name = changed[0]
            raise ValueError(
                f"{self.out} holds a run with another config: {name} is {before.get(name)!r} "
                f"there, and {now[name]!r} here; {remedy}"
            )

    def _stages(self) -> tuple[Stage, ...]:
        work, settled = self.work, self.settled
        given = None if settled.stands_in else "real clips are given"
        no_lists = None if self.config.face_lists else "no --face-list; photographs are read"
        flow_only = None if work.clips_with_frames else "the clips have no frames"
        clips, macro = ", ".join(settled.clips), ", ".join(settled.macro)
        names = ", ".join(settled.recognizers)
        passes = sum(
            training.epochs_of(work, name) * _PASS_FACTORS.get(name, 1.0)
            for name in settled.recognizers
        )
        samples = amounts.sample_count(work)
        tests = len(training.VARIANTS) * settled.seeds * 3
        return (
            Stage(
                "stand-in", "write fictitious clips", "nothing", "clips",
                lambda: amounts.stand_in_count(), given, work.stand_in,
            ),
            Stage(
                "download", "download photographs", ", ".join(self.config.face_lists), "links",
                lambda: amounts.link_count(work), no_lists, work.download,
            ),
            Stage(
                "faces", "prepare faces", work.photographs, "photographs",
                lambda: amounts.photograph_count(work), None, work.faces,
            ),
            Stage(
                "real-mie", "AUs of micro-expressions", clips, "frames",
                lambda: amounts.frame_count(work, "real_mie"), flow_only, work.real_mie,
            ),
            Stage(
                "early-mae", "AUs of early frames", macro, "frames",
                lambda: amounts.frame_count(work, "early_mae"), None, work.early_mae,
            ),
            Stage(
                "synthesize", "synthesize the dataset", "faces, AU pools", "samples",
                lambda: samples, None, work.synthesize,
            ),
            Stage(
                "pretrain", f"pretrain {names}", "dataset", "sample passes",
                lambda: samples * passes, None, lambda report: training.pretrain_all(work, report),
            ),
            Stage(
                "finetune", f"fine-tune {names}", f"pretrained recognizers, {clips}",
                "sample passes", lambda: amounts.clip_count(work) * passes, None,
                lambda report: training.finetune_all(work, report),
            ),
            Stage(
                "evaluate", f"evaluate by {settled.protocol}", f"dataset, {clips}",
                "sample passes", lambda: (samples + amounts.clip_count(work)) * passes * tests / 2,
                None, lambda report: training.evaluate_all(work, report),
            ),
            Stage(
                "table", "compute table 1 of MiE-X", f"faces, AU pools, {clips}", "sample passes",
                lambda: samples * passes * tests * 2, training.table_left_out(work),
                lambda report: training.table_1(work, report),
            ),
        )  # fmt: skip

    def stage(self, name: str) -> Stage:
        """Return a stage by its name."""
        return next(stage for stage in self.stages if stage.name == name)

    def finished(self, stage: Stage) -> Mapping[str, Any] | None:
        """Return what a finished stage made, or None if it is to be run."""
        record = self._read(stage)
        if record is None or record["key"] != self._key(stage):
            return None
        facts: Mapping[str, Any] = record["facts"]
        return facts if Path(facts["output"]).exists() else None

    def run_stage(self, stage: Stage, on_stage: OnStage | None = None) -> Mapping[str, Any]:
        """Run a stage, or skip it if it is finished or left out; rewrite the page.

        Args:
            stage: One of `stages`; those before it are finished or left out.
            on_stage: Progress: (what, done, in all).

        Returns:
            What was made; `skipped` says why nothing was done.
        """
        if stage.left_out is not None:
            return {"skipped": stage.left_out}
        found = self.finished(stage)
        if found is not None:
            return {**found, "skipped": "finished before"}
        self.out.mkdir(parents=True, exist_ok=True)
        write_document(self.out / _RECORD, {"format": _FORMAT, "config": self.config.record()})
        began = time.perf_counter()
        facts = json.loads(json.dumps(stage.run(on_stage or (lambda *_: None)), default=str))
        record = {
            "key": self._key(stage),
            "seconds": round(time.perf_counter() - began, 1),
            "amount": stage.amount(),
            "facts": facts,
        }
        write_document(self._record(stage), record)
        self.write_page()
        return dict(facts)

    def run(self, on_stage: Callable[[Stage, str, int, int], None] | None = None) -> Path:
        """Run every stage that is not finished, and return the page.

        Args:
            on_stage: Progress: (stage, what, done, in all).
        """
        with locked(self.out):
            for stage in self.stages:

                def report(what: str, done: int, total: int, stage: Stage = stage) -> None:
                    if on_stage is not None:
                        on_stage(stage, what, done, total)

                self.run_stage(stage, report)
            return self.write_page()

    def write_page(self) -> Path:
        """Write the page on what is finished so far, and return it."""
        return write_chain_page(
            self.out,
            [
                {
                    "name": stage.name,
                    "title": stage.title,
                    "left_out": stage.left_out,
                    "record": self._read(stage) if self.finished(stage) else None,
                }
                for stage in self.stages
            ],
            self.settled,
        )

    def outlook(self) -> list[Outlook]:
        """Return every stage with its state and the time that it will take."""
        found = []
        for stage in self.stages:
            if stage.left_out is not None:
                found.append(Outlook(stage, f"left out: {stage.left_out}", 0, None, False))
                continue
            record = self._read(stage)
            amount = stage.amount()
            if record is not None and self.finished(stage) is not None:
                found.append(Outlook(stage, "done", amount, record["seconds"], True))
                continue
            speed = cores() if stage.unit in _PARALLEL else 1
            found.append(
                Outlook(stage, "to do", amount, amount * _SECONDS[stage.unit] / speed, False)
            )
        return found

    def _record(self, stage: Stage) -> Path:
        return self.out / "stages" / f"{stage.name}.json"

    def _read(self, stage: Stage) -> dict[str, Any] | None:
        try:
            return read_document(self._record(stage), "record of a stage", "it is run again")
        except (FileNotFoundError, ValueError):
            return None

    def _key(self, stage: Stage) -> str:
        """Return the hash of all that a stage depends on: config, and what was made before."""
        before: list[Any] = []
        for each in self.stages[: self.stages.index(stage)]:
            record = None if each.left_out is not None else self._read(each)
            before.append([each.name, each.left_out, record and record["facts"]])
        parts = [_FORMAT, stage.name, self.config.record(), before]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
