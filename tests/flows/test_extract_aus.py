"""The commands on AUs and the flow `extract-aus`, on sheets and on fictitious databases."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike
from typer.testing import CliRunner, Result

from miex.au_sources import calibrated_estimator
from miex.au_sources.action_units import AU_NUMBERS
from miex.au_sources.base import open_source
from miex.au_sources.estimators.base import Estimates, Frame
from miex.au_sources.pool import AUPool
from miex.datasets.clips.base import open_clips
from miex.flows import extract_aus as module
from miex.flows.cli import app
from miex.pipeline.aus import extraction as au_extraction
from miex.pipeline.aus.extraction import AUExtractionConfig
from miex.pipeline.faces.identities import ListedIdentities
from miex.pipeline.fictitious_databases.write import write_fictitious
from miex.pipeline.reports.pool_comparison import compare, draw_pool, overshoots, too_many
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.plan import Plan


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


class BrightnessEstimator:
    """Reads every AU off the pixels: deterministic, quick, and different for every frame."""

    name, version, scale, needs_landmarks = "fake", "fake 1", "intensity", False
    aus = AU_NUMBERS

    def estimate(self, images: Sequence[Frame], landmarks: ArrayLike | None = None) -> Estimates:
        rows = [np.resize(image[::5, ::5].mean(axis=(1, 2)) / 51.0, 17) for image in images]
        return Estimates(np.array(rows, dtype=np.float32), np.ones(len(rows), dtype=bool))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        calibrated_estimator, "create_estimator", lambda *_, **__: BrightnessEstimator()
    )
    monkeypatch.setattr(au_extraction, "dlib_landmarker", lambda: lambda image: None)


@pytest.fixture(scope="module")
def databases(sample_table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("databases")
    return {
        name: write_fictitious(name, folder / name, 2, 3, faces=sample_table).spec
        for name in ("smic", "ckplus", "casme2")
    }


@pytest.fixture(scope="module")
def pools(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pool of CAS(ME)3's codes; the sheet is real."""
    if not (shared / "data" / "casme3").is_dir():
        pytest.skip("the sheets of CAS(ME)3 are not among the shared data")
    folder = tmp_path_factory.mktemp("pools")
    result = call(
        "extract-aus",
        f"casme3:{shared / 'data/casme3'}",
        "-e",
        "facs",
        "-o",
        folder / "real.parquet",
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("860 AU pairs of 860 clips")
    return folder


@pytest.mark.usefixtures("fake")
def test_every_clip_of_a_database_is_accounted_for(
    databases: dict[str, str], tmp_path: Path
) -> None:
    for name, spec in databases.items():
        source = "early_mae" if name == "ckplus" else "real_mie"
        out = tmp_path / f"{name}.parquet"
        result = call(
            "extract-aus", spec, "--source", source, "-e", "fake", "-o", out, "--relative"
        )
        assert result.exit_code == 0, result.output
        clips = {clip.origin for clip in open_clips(spec).clips()}
        listed = open_clips(spec).report()
        account = json.loads(out.with_suffix(".json").read_text())
        pool = AUPool.read(out)
        paired = {f"{pair.dataset}:{pair.subject}/{pair.clip}" for pair in pool}
        rejected = {entry["origin"] for entry in account["rejections"]}
        assert paired | (rejected & clips) == clips
        assert not paired & rejected
        assert len(paired) + len(account["rejections"]) == listed.listed
        assert set(pool.sources) == {source}
        assert pool.licence
        for pair in pool:
            assert None not in (pair.dataset, pair.subject, pair.clip, pair.estimator)
            assert pair.onset_frame is not None
            assert pair.apex_frame is not None
            assert pair.onset_frame < pair.apex_frame
    rules = {pair.estimator for pair in AUPool.read(tmp_path / "smic.parquet")}
    assert rules == {
        "fake (fake 1); apex middle frame: onset + (offset - onset) // 2; change from the onset"
    }


@pytest.mark.usefixtures("fake")
def test_the_same_call_makes_the_same_pool(databases: dict[str, str], tmp_path: Path) -> None:
    hashes = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        out = tmp_path / f"{name}.parquet"
        words = ("--source", "early_mae", "-e", "fake", "--alpha", 0.1, 0.9, "--draws", 1)
        words = (*words, "--seed", seed)
        assert call("extract-aus", databases["ckplus"], *words, "-o", out).exit_code == 0
        hashes.append(AUPool.read(out).sha256)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing:/data",), "names no database of clips"),
        (("samples", "-e", "magic"), "no AU estimator is called 'magic'"),
        (("samples", "-o", "pool.csv"), "name of an AU pool must end in .parquet"),
        (("samples", "--source", "late"), "source: Input should be 'real_mie' or 'early_mae'"),
        (
            ("samples", "-e", "facs", "--source", "early_mae"),
            "cannot be combined with source: early_mae",
        ),
        (("samples", "--draws", 2), "draws: there is no such field; there are: clips, source"),
        (("samples", "--window", 2), "take an odd number"),
        (("samples", "-e", "facs"), "no clip gave AUs (1 not_coded"),
    ],
)
def test_errors_are_one_line(words: tuple[Any, ...], message: str, tmp_path: Path) -> None:
    result = call("extract-aus", *words, *(() if "-o" in words else ("-o", tmp_path / "p.parquet")))
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_database_describes_itself(databases: dict[str, str], tmp_path: Path) -> None:
    result = call("clips", databases["casme2"], "-o", tmp_path / "report.md")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("casme2: ")
    assert "left out" in result.stdout
    assert re.search(r"no_frames, for instance casme2:\S+: .*xlsx, .*row \d+: ", result.stdout)
    assert (tmp_path / "report.md").read_text().startswith("# casme2")


def test_pools_are_described_merged_and_filtered(pools: Path, tmp_path: Path) -> None:
    real = pools / "real.parquet"
    described = call("pool", "describe", real, "expert:miex").stdout
    assert "860 pairs of 94 subjects, 99 without change" in described
    assert "too often expert:miex: AU25 in 38% of the pairs" in described
    assert "too often expert:miex: AU26" in described
    assert "too often real" not in described
    one, rest = tmp_path / "one.parquet", tmp_path / "rest.parquet"
    subject = "casme3:spNO.1"
    assert call("pool", "filter", real, "-o", one, "--subject", subject).exit_code == 0
    assert call("pool", "filter", real, "-o", rest, "--exclude", subject).exit_code == 0
    assert len(AUPool.read(one)) + len(AUPool.read(rest)) == 860
    assert call("pool", "merge", one, rest, "-o", tmp_path / "all.parquet").exit_code == 0
    assert len(AUPool.read(tmp_path / "all.parquet")) == 860
    twice = call("pool", "merge", one, one, "-o", tmp_path / "twice.parquet")
    assert "contain the same pairs" in twice.stderr
    nobody = call("pool", "filter", one, "-o", tmp_path / "no.parquet", "--exclude", subject)
    assert "pairs is left" in nobody.stderr
    happy = call("pool", "filter", real, "-o", one, "--emotion", "happy")
    assert "55 AU pairs" in happy.stdout
    wrong = call("pool", "filter", real, "-o", one, "--subject", "casme3:nobody")
    assert "'casme3:nobody' is not a subject of the pool" in wrong.stderr


def test_overshoot_is_named_where_experts_exceed_real_expressions() -> None:
    columns = compare({"miex": draw_pool(open_source("expert:miex"))})
    assert [column.name for column in columns if column.real] == ["CASME II", "SAMM", "CAS(ME)³"]
    found = {one.au: one for one in overshoots(columns)}
    assert {"AU25", "AU26"} <= found.keys()
    assert found["AU25"].share > 20 * found["AU25"].most
    assert columns[0].aus_per_clip > 2 > max(column.aus_per_clip for column in columns[1:])


@pytest.mark.usefixtures("fake")
@pytest.mark.slow
def test_a_plan_of_45000_samples_draws_all_three_sources_alike(
    pools: Path, tmp_path: Path, sample_table: Path
) -> None:
    macro = write_fictitious("oulu_casia", tmp_path / "oulu", 2, 6, faces=sample_table)
    early = tmp_path / "early.parquet"
    words = ("--source", "early_mae", "-e", "fake", "--draws", 2, "-o", early)
    assert call("extract-aus", macro.spec, *words).exit_code == 0
    specs = (f"pool:{pools / 'real.parquet'}", f"pool:{early}", "expert:miex")
    config = SynthesisConfig(sources=specs, identities=5000)
    plan = Plan(
        config,
        ListedIdentities([f"p{n}" for n in range(5000)]),
        [open_source(spec) for spec in specs],
    )
    assert plan.samples == 45_000
    assert plan.missing == ()
    cells: Counter[tuple[str, str]] = Counter()
    faces: Counter[int] = Counter()
    for index in range(plan.samples):
        draw = plan.draw(index, 0)
        assert (draw.aus[0] != draw.aus[-1]).any()
        cells[draw.pair.source, draw.emotion] += 1
        faces[draw.face] += 1
    assert len(cells) == 9
    assert set(cells.values()) == {5000}
    assert set(faces.values()) == {9}


def test_the_flow_hands_its_parameters_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def extract(config: AUExtractionConfig, out: Path) -> str:
        seen.update(config=config, out=out)
        return "extraction"

    monkeypatch.setattr(module, "extract", extract)
    monkeypatch.setattr(module, "count_rows", lambda extraction: [])
    monkeypatch.setattr(module, "create_table_artifact", lambda **given: seen.update(given))
    made = module.extract_aus.fn(
        out=tmp_path / "p.parquet",
        source="early_mae",
        estimator="landmarks",
        draws=3,
        settings={"alpha": [0.1, 0.3]},
    )
    assert made == str(tmp_path / "p.parquet")
    assert seen["config"].early_mae.draws == 3
    assert seen["config"].early_mae.alpha == (0.1, 0.3)
    assert seen["config"].clips == "samples"
    assert seen["key"] == "aus"


def test_the_flow_counts_pairs_and_reasons(pools: Path) -> None:
    account = json.loads((pools / "real.json").read_text())
    config = AUExtractionConfig(clips=f"casme3:{pools}", estimator="facs")
    assert config.facs.seed == 0
    assert account["counts"]["pairs"] == 860
    assert account["settings"]["estimator"] == "FACS codes of the annotation"


def test_a_pool_of_few_pairs_is_not_judged() -> None:
    columns = compare({"few": draw_pool(open_source("expert:miex"), draws=5)})
    assert columns[0].clips == 15
    assert overshoots(columns) == []
    assert too_many(columns) == []
