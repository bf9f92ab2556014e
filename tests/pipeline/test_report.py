"""The first report: what it says is what the dataset holds, and it needs no network."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from miex.au_sources.action_units import AU_NUMBERS
from miex.datasets.miex import MANIFEST, MiexDataset
from miex.pipeline.reports.report import real_databases, write_report
from miex.pipeline.reports.statistics import Histogram, gather


class _Outline(HTMLParser):
    """Which tags were left open, which resources are asked for, and the text without styles."""

    VOID = frozenset(("meta", "img", "br", "input"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.resources: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.resources += [v for k, v in attrs if k in ("src", "href", "srcset") and v]

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
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
    assert all(resource.startswith("data:image/") for resource in outline.resources)


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


def test_statistics_count_what_the_fixture_drew(tiny_dataset):
    found = gather(MiexDataset.open(tiny_dataset))
    shares = dict(zip(AU_NUMBERS, found.whole.active.tolist(), strict=True))
    assert {au: count for au, count in shares.items() if count} == {
        1: 8, 2: 8, 4: 4, 6: 8, 7: 4, 12: 8, 14: 4, 26: 8
    }  # fmt: skip
    assert found.whole.cardinality[:5].tolist() == [0, 4, 12, 8, 0]
    assert {key: group.samples for key, group in found.groups.items()} == {
        (f"expert, {table} 1", emotion): 4
        for table in ("miex", "casme3")
        for emotion in ("negative", "positive", "surprise")
    }
    assert found.attempts == {0: 20, 1: 4}
    assert found.whole.motion.quantile(0.5) == pytest.approx(0.8, abs=0.15)
    assert found.identity_similarity.total == 5
    assert found.identity_similarity.mean == pytest.approx(0.97, abs=1e-6)
    assert found.au_fidelity.total == 0


def test_statistics_of_sequences_compare_onset_and_apex(make_dataset, tmp_path):
    two = gather(MiexDataset.open(make_dataset(tmp_path / "two", identities=2)))
    ten = gather(MiexDataset.open(make_dataset(tmp_path / "ten", identities=2, frames=10)))
    np.testing.assert_array_equal(two.whole.active, ten.whole.active)


def test_a_histogram_agrees_with_the_values():
    values = np.random.default_rng(0).gamma(2.0, 0.5, 5000)
    histogram = Histogram(0.0, 40.0, 4000)
    histogram.add(np.append(values, np.nan))
    assert histogram.total == 5000
    assert histogram.mean == pytest.approx(values.mean())
    for share in (0.05, 0.5, 0.95):
        assert histogram.quantile(share) == pytest.approx(np.quantile(values, share), abs=0.02)
    bars = histogram.bars(20)
    assert len(bars) <= 20
    assert sum(count for _, _, count in bars) == 5000
    low, high, count = bars[2]
    assert count == ((values >= low) & (values < high)).sum()


def test_a_histogram_without_values_says_so():
    histogram = Histogram(-1.0, 1.0, 10)
    assert np.isnan(histogram.mean)
    assert np.isnan(histogram.quantile(0.5))
    assert histogram.bars() == []
    histogram.add(np.array([-7.0, 1.0, 7.0]))
    assert histogram.bars(3)[0][2] == 1
    assert sum(count for _, _, count in histogram.bars(3)) == 3


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
    assert "<script" not in path.read_text(encoding="utf-8")


def test_the_run_is_told_where_it_was_recorded(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=1)
    (folder / "run.json").write_text(json.dumps({"seconds": {"render": 12.5}, "frames": 90000}))
    _, text = read(write_report(folder))
    assert "seconds: render 12.5, frames 90,000" in text


def test_a_dataset_without_samples_still_has_a_report(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "d", identities=0)
    outline, text = read(write_report(folder))
    assert outline.resources == []
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
    with pytest.raises(ValueError, match="cannot be read"):
        write_report(folder)
    assert not (folder / "report" / "index.html").exists()
