"""The dataset card: front matter that the Hub understands, and what a person has to know."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from miex.datasets.dataset_format import MANIFEST, SCHEMA
from miex.pipeline.reports.card import dataset_card
from miex.pipeline.synthesis.config import SynthesisConfig

TASKS = {"image-classification", "video-classification"}
SIZES = {"n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B"}
CREATORS = {"crowdsourced", "found", "expert-generated", "machine-generated"}
"""Words of the Hub that a card may use (huggingface/hub-docs, datasetcard.md)."""


@pytest.fixture
def manifest(tiny_dataset):
    return json.loads((tiny_dataset / MANIFEST).read_text(encoding="utf-8"))


def front_matter(card: str) -> dict:
    start, matter, body = card.split("---\n", 2)
    assert start == ""
    assert body.startswith("\n# ")
    return yaml.safe_load(matter)


def test_the_front_matter_describes_a_synthetic_dataset(manifest):
    matter = front_matter(dataset_card(manifest))
    assert {"synthetic", "micro-expression"} <= set(matter["tags"])
    assert matter["license"] == "other"
    assert matter["license_name"]
    assert matter["task_categories"] == ["image-classification"]
    assert matter["size_categories"] == ["n<1K"]
    (config,) = matter["configs"]
    assert config["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]


@pytest.mark.parametrize("frames", [2, 10])
def test_the_hub_can_read_it(manifest, tmp_path, frames):
    hub = pytest.importorskip("huggingface_hub")
    metadata = pytest.importorskip("datasets.utils.metadata")
    manifest["config"]["sequence"]["frames"] = frames
    path = tmp_path / "README.md"
    path.write_text(dataset_card(manifest), encoding="utf-8")
    data = hub.DatasetCard.load(path).data
    assert set(data.task_categories) <= TASKS
    assert set(data.size_categories) <= SIZES
    assert set(data.annotations_creators) <= CREATORS
    assert all(isinstance(tag, str) for tag in data.tags)
    fields = data.to_dict()
    assert re.fullmatch(r"[a-z0-9.-]+", fields["license_name"])
    # A link may only be a URL or one of two file names.
    link = fields.get("license_link", "LICENSE")
    assert link in ("LICENSE", "LICENSE.md") or link.startswith("https://")
    (config,) = metadata.MetadataConfigs.from_dataset_card_data(data).values()
    assert config == {"data_files": [{"split": "train", "path": "data/train-*.parquet"}]}
    # A key twice, or a tab, would be an error there.
    assert yaml.safe_load(data.to_yaml()) == front_matter(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("samples", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (45_000, "10K<n<100K"), (10**8, "100M<n<1B")],
)
def test_the_size_category_follows_the_number_of_samples(manifest, samples, category):
    manifest["counts"]["written"] = samples
    assert front_matter(dataset_card(manifest))["size_categories"] == [category]


def test_a_video_dataset_is_for_video_classification(manifest):
    manifest["config"]["sequence"]["frames"] = 10
    card = dataset_card(manifest)
    assert front_matter(card)["task_categories"] == ["video-classification"]
    assert "with the frames between them" in card


def test_every_column_is_explained(manifest):
    rows = re.findall(r"^\| `(\w+)` \| (\S[^|]*) \| (\S[^|]*) \|$", dataset_card(manifest), re.M)
    explained = {name: (kind, note) for name, kind, note in rows}
    assert set(SCHEMA.names) <= set(explained)
    assert explained["source_subject"][0] == "string?"
    assert explained["aus"][0] == "list of float32[17]"
    assert "pixels" in explained["motion"][1]
    assert "inter-ocular" in explained["motion_iod"][1]


def test_it_says_what_it_is_made_of_and_what_binds_it(manifest):
    card = dataset_card(manifest)
    assert "Everything shown here is synthetic" in card
    for source in manifest["inputs"]["sources"]:
        assert source["citation"] in card
        assert source["licence"] in card
    assert "**folder**: drawn by a test, free of rights" in card
    assert "no face 3, too blurred 1" in card
    assert "no motion 1" in card
    assert manifest["config_sha256"] in card
    assert "| 0 negative | 8 |" in card


def test_the_config_in_the_card_makes_the_dataset_again(manifest, tmp_path):
    text = re.search(r"```yaml\n(.*?)```", dataset_card(manifest), re.S).group(1)
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    assert SynthesisConfig.from_yaml(path).sha256() == manifest["config_sha256"]


def test_equal_manifests_have_equal_cards_without_a_date(manifest):
    card = dataset_card(manifest)
    assert card == dataset_card(json.loads(json.dumps(manifest)))
    assert not re.search(r"\b\d{4}-\d{2}-\d{2}\b", card)
    assert card.endswith("\n")


def test_unknown_emotions_and_no_rejections_are_worded(manifest):
    manifest["counts"]["by_emotion"] = {"null": 24}
    manifest["rejections"] = []
    manifest["inputs"]["faces"]["rejections"] = {}
    card = dataset_card(manifest)
    assert "| unknown | 24 |" in card
    assert "Photographs that were left out" not in card


def test_load_dataset_takes_the_shards_and_nothing_else(make_dataset, tmp_path):
    datasets = pytest.importorskip("datasets")
    folder = make_dataset(tmp_path / "dataset", identities=1, image_format="webp")
    (folder / "README.md").write_text(
        dataset_card(json.loads((folder / MANIFEST).read_text())), encoding="utf-8"
    )
    # A table of other columns beside the shards must not be mixed in.
    pq.write_table(pa.table({"identity": ["somebody"], "crop": [b""]}), folder / "faces.parquet")
    loaded = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(loaded) == 6
    assert loaded.column_names == SCHEMA.names
    assert loaded[0]["frames"][loaded[0]["apex_index"]].size == (64, 64)
