"""The whole chain of MiE-X: what it settles, what it skips, and where it resumes."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from miex.datasets.config import build
from miex.pipeline.experiments.chain import Chain, Stage
from miex.pipeline.experiments.chain_config import ChainConfig
from miex.pipeline.experiments.chain_inputs import settle
from miex.pipeline.fictitious_databases.write import write_fictitious

ROW = {
    "recognizer": "ststnet",
    "trained on": "clips alone",
    "clips": 24,
    "uf1": [0.5, 0.0],
    "uar": [0.5, 0.0],
    "chance": 0.3,
    "majority": 0.2,
    "page": "x/index.html",
}


class Killed(BaseException):
    """Ends a stage as a signal would."""


def rehearsed(
    out: Path, config: ChainConfig | None = None, die_in: str = "", **facts: Any
) -> tuple[Chain, list[str]]:
    """A chain whose stages only write a file, and the names of those that ran."""
    chain = Chain(config or ChainConfig(), out)
    ran: list[str] = []

    def fake(stage: Stage) -> Callable[..., Mapping[str, Any]]:
        def run(_on_stage: object) -> Mapping[str, Any]:
            ran.append(stage.name)
            if stage.name == die_in:
                raise Killed
            output = out / "made" / stage.name
            output.parent.mkdir(exist_ok=True)
            output.write_text("made", encoding="utf-8")
            scores = {"scores": [ROW]} if stage.name == "evaluate" else {}
            return {"output": str(output), **scores, **facts.get(stage.name.replace("-", "_"), {})}

        return run

    chain.stages = tuple(
        replace(stage, run=fake(stage), amount=lambda: 1.0) for stage in chain.stages
    )
    return chain, ran


STAGES = ["stand-in", "faces", "real-mie", "early-mae", "synthesize", "pretrain"]
STAGES += ["finetune", "evaluate"]


def test_without_anything_fictitious_clips_stand_in_and_every_note_says_so(tmp_path: Path) -> None:
    chain, ran = rehearsed(tmp_path)
    page = chain.run()
    assert ran == STAGES
    assert chain.settled.stands_in
    assert chain.settled.protocol == "compmie_3fold"
    text = page.read_text(encoding="utf-8")
    assert "Fictitious clips stand in for real ones" in text
    assert "left out: the paper&#39;s size only (--size paper)" in text
    assert "0.500" in text
    assert "0.436" not in text


def test_finished_stages_are_skipped(tmp_path: Path) -> None:
    rehearsed(tmp_path)[0].run()
    again, ran = rehearsed(tmp_path)
    again.run()
    assert ran == []
    assert {each.state.partition(":")[0] for each in again.outlook()} == {"done", "left out"}
    assert all(each.measured for each in again.outlook() if each.state == "done")


@pytest.mark.parametrize("moment", ["faces", "synthesize", "evaluate"])
def test_a_killed_run_resumes_with_the_interrupted_stage(tmp_path: Path, moment: str) -> None:
    chain, _ = rehearsed(tmp_path, die_in=moment)
    with pytest.raises(Killed):
        chain.run()
    again, ran = rehearsed(tmp_path)
    again.run()
    assert ran == STAGES[STAGES.index(moment) :]


def test_what_follows_a_changed_stage_is_made_again(tmp_path: Path) -> None:
    rehearsed(tmp_path)[0].run()
    (tmp_path / "made" / "early-mae").unlink()
    again, ran = rehearsed(tmp_path, early_mae={"sha256": "another pool"})
    again.run()
    assert ran == STAGES[STAGES.index("early-mae") :]


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    rehearsed(tmp_path)[0].run()
    record = tmp_path / "stages" / "evaluate.json"
    record.write_text(record.read_text(encoding="utf-8").replace("0.5", "0.9"), encoding="utf-8")
    again, ran = rehearsed(tmp_path)
    again.run()
    assert ran == ["evaluate"]


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    rehearsed(tmp_path)[0].run()
    with pytest.raises(ValueError, match=r"seeds is None there, and 2 here; give another --out"):
        Chain(ChainConfig(seeds=2), tmp_path)
    assert Chain(ChainConfig(device="cpu"), tmp_path).settled.seeds == 1


def test_the_outlook_names_needs_amounts_and_times(tmp_path: Path) -> None:
    outlook = {each.stage.name: each for each in Chain(ChainConfig(), tmp_path).outlook()}
    assert outlook["synthesize"].amount == 180
    assert outlook["synthesize"].seconds > 0
    assert outlook["download"].state.startswith("left out: no --face-list")
    assert outlook["early-mae"].stage.needs == "samples"
    assert not (tmp_path / "stages").exists()


def test_the_size_of_the_paper_needs_its_recognizers(sample_table: Path, tmp_path: Path) -> None:
    clips = [write_fictitious(name, tmp_path / name, 2, 3, faces=sample_table).spec
             for name in ("casme2", "smic", "samm")]  # fmt: skip
    values = {"clips": clips, "faces": str(sample_table)}
    settled = settle(build(ChainConfig, values), tmp_path / "out")
    assert settled.size == "paper"
    assert settled.recognizers == ("apex_me", "branches")
    assert (settled.identities, settled.samples, settled.seeds) == (5000, 45_000, 3)
    chain = Chain(build(ChainConfig, values), tmp_path / "out")
    states = {each.stage.name: each.state for each in chain.outlook()}
    assert states["table"] == "to do"
    assert states["stand-in"] == "left out: real clips are given"
    assert chain.stage("real-mie").amount() == 2 * sum(len(reader) for reader in map(_clips, clips))


def _clips(spec: str) -> list[Any]:
    from miex.datasets.clips.base import open_clips

    return list(open_clips(spec).clips())


def test_databases_are_found_by_the_names_of_their_files(
    sample_table: Path, tmp_path: Path
) -> None:
    spec = write_fictitious("casme2", tmp_path / "data" / "mine", 2, 3, faces=sample_table).spec
    settled = settle(ChainConfig(search=(str(tmp_path / "data"),)), tmp_path / "out")
    assert settled.clips == (spec,)
    assert settled.notes[0] == f"found by --search: {spec}"
    with pytest.raises(FileNotFoundError, match="no such folder"):
        settle(ChainConfig(search=(str(tmp_path / "absent"),)), tmp_path / "out")


def test_published_flow_has_no_pool_real_mie(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "megc2019_flow"
    if not folder.is_dir():
        pytest.skip("the published flow is not among the shared data")
    chain = Chain(ChainConfig(clips=(f"megc2019_flow:{folder}",)), tmp_path)
    states = {each.stage.name: each.state for each in chain.outlook()}
    assert states["real-mie"] == "left out: the clips have no frames"
    assert chain.settled.recognizers == ("ststnet",)
    assert chain.settled.protocol == "compmie_3fold"


@pytest.mark.slow
def test_the_demo_ends_when_it_is_killed_at_three_moments(tmp_path: Path) -> None:
    config = ChainConfig(samples=27, epochs=0.005)
    for moment in ("real-mie", "synthesize", "evaluate"):

        def kill(stage: Stage, _what: str, done: int, _total: int, at: str = moment) -> None:
            if stage.name == at and done:
                raise Killed

        with pytest.raises(Killed):
            Chain(config, tmp_path, workers=1).run(kill)
    chain = Chain(config, tmp_path, workers=1)
    assert chain.run().is_file()
    scores = chain.finished(chain.stage("evaluate"))["scores"]
    assert [row["trained on"] for row in scores] == [
        "clips alone", "MiE-X alone", "MiE-X, then clips",
    ]  # fmt: skip
    assert all(0 <= row["uf1"][0] <= 1 for row in scores)
