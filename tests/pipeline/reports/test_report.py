"""The first report: what it says is what the dataset holds, and it needs no network."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from changed_shards import replace_shard

from miex.au_sources.action_units import AU_NUMBERS
from miex.au_sources.expert import ExpertSource
from miex.au_sources.expert_table import load_table
from miex.au_sources.pool import AUPool
from miex.datasets.dataset_format import MANIFEST
from miex.pipeline.reports import report_content
from miex.pipeline.reports.references import PUBLISHED, real_databases
from miex.pipeline.reports.report import write_report


class _Outline(HTMLParser):
    """Which tags were left open, which resources are asked for, and the text without styles."""

    VOID = frozenset(("meta", "img", "br", "input"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.resources: list[str] = []
        self.words: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.ids |= {v for k, v in attrs if k == "id"}
        self.resources += [v for k, v in attrs if k in ("src", "href", "srcset") and v]

    def handle_startendtag(self, tag, attrs):
        self.ids |= {v for k, v in attrs if k == "id"}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)


def read(path) -> tuple[_Outline, str]:
    outline = _Outline()
    outline.feed(path.read_text(encoding="utf-8"))
    assert outline.open == []
    return outline, re.sub(r"\s+", " ", " ".join(outline.words))


@pytest.fixture(scope="module")
def report(make_dataset, tmp_path_factory):
    folder = make_dataset(tmp_path_factory.mktemp("report") / "dataset")
    return read(write_report(folder))


def test_it_is_one_file_that_asks_for_nothing(report):
    outline, _ = report
    assert outline.resources
    assert all(resource.startswith(("data:image/", "#")) for resource in outline.resources)


def test_it_sums_up_in_words_and_numbers(report):
    _, text = report
    assert "24 micro-expressions of 4 people" in text
    assert "Of 25 planned samples 1 never counted" in text
    # 8 samples each with 1.5 (anger and contempt in turns), 2 and 3 active AUs.
    assert "2.17 AUs rise on the average" in text
    for reason in ("no face 3", "too blurred 1", "no motion 1"):
        assert reason in text


def test_it_names_every_source_licence_and_hash(report, tiny_dataset):
    _, text = report
    manifest = json.loads((tiny_dataset / MANIFEST).read_text())
    for source in manifest["inputs"]["sources"]:
        assert source["citation"] in text
    assert manifest["config_sha256"] in text
    assert "drawn by a test, free of rights" in text
    for database in real_databases():
        assert database.citation in text


def test_real_databases_hold_the_published_counts():
    by_name = {database.name: database for database in real_databases()}
    assert by_name["CASME II"].shares[AU_NUMBERS.index(4)] == pytest.approx(130 / 256)
    assert by_name["SAMM"].shares[AU_NUMBERS.index(25)] is None
    assert sum(by_name["CAS(ME)³"].cardinality.values()) == pytest.approx(1)


def test_markup_in_names_stays_text(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=1)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["rejections"][0]["identity"] = "<script>alert(1)</script>"
    (folder / MANIFEST).write_text(json.dumps(manifest))
    path = write_report(folder)
    text = path.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_the_run_is_told_where_it_was_recorded(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=1)
    (folder / "run.json").write_text(json.dumps({"seconds": {"render": 12.5}, "frames": 90000}))
    _, text = read(write_report(folder))
    assert "seconds: render 12.5, frames 90,000" in text


def test_a_dataset_without_samples_still_has_a_report(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=0)
    outline, text = read(write_report(folder))
    assert all(resource.startswith("#") for resource in outline.resources)
    assert "There are no samples" in text
    assert "0 micro-expressions of 0 people" in text
    assert "no motion 1" in text


def test_no_dataset_no_report(tmp_path):
    with pytest.raises(FileNotFoundError, match="no finished miex dataset"):
        write_report(tmp_path)
    assert not (tmp_path / "report").exists()


def test_a_damaged_shard_leaves_no_report(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=1)
    shard = sorted((folder / "data").iterdir())[0]
    shard.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=rf"{shard.name} is damaged.*miex synthesize"):
        write_report(folder)
    assert not (folder / "report" / "index.html").exists()


def test_links_lead_to_parts_of_the_page(report):
    outline, _ = report
    targets = {resource[1:] for resource in outline.resources if resource.startswith("#")}
    assert {"findings", "gallery", "aus", "run"} <= targets
    assert targets <= outline.ids


def test_one_sample_is_enough(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=1, per_identity=1)
    _, text = read(write_report(folder))
    assert "1 micro-expressions of 1 people" in text


def test_numbers_lie_beside_the_report_and_agree_with_it(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=2)
    report = write_report(folder).parent
    numbers = json.loads((report / "numbers.json").read_text(encoding="utf-8"))
    with (report / "aus.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(numbers["aus"])
    first = next(row for row in rows if (row["source"], row["au"]) == ("all", "AU26"))
    assert (int(first["active"]), int(first["measured"])) == (4, 12)
    assert float(first["share"]) == pytest.approx(1 / 3)
    measured = {(row["measure"], row["emotion"]): row for row in numbers["measures"]}
    assert measured["identity_similarity", "all"]["missing"] == 9
    assert measured["psnr", "all"]["count"] == 12
    assert {path.name for path in report.iterdir()} >= {
        "index.html", "findings.csv", "cardinality.csv", "co_occurrence.csv", "measures.csv"
    }  # fmt: skip


def pool(seed: int, path):
    rng = np.random.default_rng(seed)
    source = ExpertSource(load_table("miex"))
    AUPool.from_pairs(
        (source.draw(name, rng) for name in ("negative", "positive") * 40),
        citation="A citation of a test",
    ).write(path)
    return path


def test_pools_have_a_report_without_pictures(tmp_path):
    one, two = pool(0, tmp_path / "one.parquet"), pool(1, tmp_path / "two.parquet")
    path = write_report(one)
    assert path == tmp_path / "one-report" / "index.html"
    outline, text = read(path)
    assert all(resource.startswith("#") for resource in outline.resources)
    targets = {resource[1:] for resource in outline.resources}
    assert targets <= outline.ids
    assert "A citation of a test" in text
    both = write_report([one, two], tmp_path / "both")
    _, text = read(both)
    assert "one + two" in text
    assert "two: expert table miex" in text


def test_pools_are_shown_beside_a_dataset(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=1)
    _, text = read(write_report([folder, pool(0, tmp_path / "own.parquet")], tmp_path / "out"))
    assert "6 micro-expressions of 1 people" in text
    assert "own (80 clips)" in text
    assert "A citation of a test" in text


def test_a_pool_and_a_dataset_are_compared(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=4)
    other = pool(0, tmp_path / "other.parquet")
    path = write_report(folder, tmp_path / "out", against=other)
    _, text = read(path)
    assert "Compared with other" in text
    rows = json.loads((tmp_path / "out" / "numbers.json").read_text(encoding="utf-8"))["against"]
    found = {(row["quantity"], row["emotion"]): row for row in rows}
    row = found["AU26 active", "all"]
    assert row["mean"] == pytest.approx(1 / 3)
    assert row["cliffs_delta"] == pytest.approx(row["mean"] - row["other_mean"])
    same = write_report(folder, tmp_path / "same", against=folder).parent / "numbers.json"
    deltas = {row["cliffs_delta"] for row in json.loads(same.read_text("utf-8"))["against"]}
    assert deltas == {0}


def test_unknown_columns_and_types_are_named(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=1)
    shard = sorted((folder / "data").iterdir())[0]
    table = pq.read_table(shard)
    replace_shard(shard, table.drop_columns(["aus"]))
    with pytest.raises(ValueError, match=r"train-00000.*no column 'aus'"):
        write_report(folder)
    texts = pa.array(["0"] * len(table))
    place = table.schema.names.index("label")
    replace_shard(shard, table.set_column(place, "label", texts))
    with pytest.raises(ValueError, match="column 'label' is string, expected int8"):
        write_report(folder)
    assert not (folder / "report" / "index.html").exists()


def test_what_is_neither_dataset_nor_pool_is_refused(make_dataset, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a dataset folder"):
        write_report(tmp_path / "absent")
    with pytest.raises(ValueError, match="nothing to report on"):
        write_report([], tmp_path / "out")
    folder = make_dataset(tmp_path / "d", identities=1)
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["inputs"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"manifest\.json is damaged \(inputs: expected dict"):
        write_report(folder)


def test_a_half_written_dataset_is_refused(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=2)
    shard = sorted((folder / "data").iterdir())[1]
    replace_shard(shard, pq.read_table(shard).slice(0, 3))
    with pytest.raises(ValueError, match="hold 9 rows, the manifest says 12"):
        write_report(folder)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{shard.name} is missing.*miex verify"):
        write_report(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(FileNotFoundError, match="interrupted"):
        write_report(folder)


def test_published_figures_are_in_order():
    for entries in PUBLISHED.values():
        assert all(e.low < e.median < e.high for e in entries)


def test_published_figures_equal_the_public_files(shared):
    folder = shared / "data" / "miex_pair_metrics"
    for measure, entries in PUBLISHED.items():
        for entry, column in zip(
            entries, (f"{measure}_mean", *[f"avg_{measure}"] * 2), strict=True
        ):
            path = folder / f"summary_metrics_{entry.name.lower().replace('-', '')}.csv"
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            ssim = "ssim_mean" if "ssim_mean" in rows[0] else "avg_ssim"
            values = [float(r[column]) for r in rows if float(r[ssim]) < 0.999999]
            assert len(values) == entry.pairs
            places = 1 if measure == "psnr" else 3
            expected = np.quantile(values, (0.05, 0.5, 0.95)).round(places)
            np.testing.assert_allclose([entry.low, entry.median, entry.high], expected)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"seconds": {"render": "x"}}', b"{}"])
def test_a_damaged_log_of_the_run_costs_only_its_figures(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    manifest = {"counts": {"written": None, "frames": 10}}
    figures = report_content._run_figures(path, manifest)
    damaged = [("note", "the log of the run is damaged")]
    assert figures == damaged or all(name != "frames per second" for name, _ in figures)
