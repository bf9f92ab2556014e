from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from toy_recognition import ToyInputs, ToySamples

from miex.au_sources.action_units import AU_NUMBERS
from miex.datasets.clips.base import ApexRule, Clip
from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.labels import LABEL_SPACES, Emotion
from miex.pipeline.inside.actions import actions_picture, weights_by_class
from miex.pipeline.inside.attention import attention_colours, attention_picture
from miex.pipeline.inside.counts import AUCounts, count_clips, count_dataset, counts_picture
from miex.pipeline.inside.embedding import (
    classifier_of,
    embedding_picture,
    features,
    raw_inputs,
    separation,
    tsne,
    untrained,
)
from miex.pipeline.recognition.checkpoint import Card, Stage
from miex.pipeline.recognition.recognizers.base import (
    create_recognizer,
    recognizer_class,
    recognizer_names,
)
from miex.pipeline.recognition.recognizers.dere_grl import DereGrl
from miex.pipeline.recognition.recognizers.uamrn import UAMRN
from miex.pipeline.recognition.run_config import RunConfig
from miex.pipeline.recognition.training import Data, train

CPU = torch.device("cpu")
CLASSES = ("negative", "positive", "surprise")
SPACE = LABEL_SPACES["three_class"]

UAMRN_SMALL = {
    "weights": "random",
    "side": 32,
    "stored_side": 32,
    "magnification": "linear",
    "length": 6,
    "stages": 1,
    "model_size": 16,
    "hidden_size": 16,
    "blocks": 2,
}


def test_attention_rows_add_up_to_one_or_see_nothing(
    toy_samples: ToySamples, toy_inputs: ToyInputs
) -> None:
    torch.manual_seed(0)
    network = create_recognizer("uamrn", 3, UAMRN_SMALL)
    assert isinstance(network, UAMRN)
    inputs = toy_inputs(network, toy_samples(6)).take(range(6))
    sums = network.attention(inputs).sum(-1)
    assert ((sums - 1).abs().lt(1e-5) | sums.eq(0)).all()
    some = {name: each[:2] for name, each in inputs.items()}
    picture = attention_picture(network, some, ["a: one", "b: two"], inputs)
    assert picture.content.startswith(b"\x89PNG")
    assert picture.address.startswith("data:image/png;base64,")
    assert "alpha 2 to 13" in picture.caption


def test_what_is_hidden_is_white_and_what_is_more_is_darker() -> None:
    weights = np.array([[0, 0.2], [0.4, 0.8]], np.float32)
    colours = attention_colours(weights).astype(int).sum(-1)
    assert colours[0, 0] == 3 * 255
    assert colours[0, 0] > colours[0, 1] > colours[1, 0] > colours[1, 1]
    assert (attention_colours(np.zeros((2, 2), np.float32)) == 255).all()


def test_action_weights_by_class_and_their_drawing(
    toy_samples: ToySamples, toy_inputs: ToyInputs
) -> None:
    torch.manual_seed(0)
    network = create_recognizer("dere_grl", 3)
    assert isinstance(network, DereGrl)
    cached = toy_inputs(network, toy_samples(9))
    network.eval()
    with torch.no_grad():
        found = network.decomposition(cached.take(range(9)))
    labels = cached.labels
    table = weights_by_class(found.weights, labels, 4)
    assert table.shape == (4, len(network.action_names))
    np.testing.assert_allclose(table[1], found.weights[labels == 1].mean(0).numpy(), rtol=1e-5)
    assert np.isnan(table[3]).all()
    picture = actions_picture(network, found, labels, CLASSES)
    words = "".join(ElementTree.fromstring(picture.content).itertext())
    assert all(name in words for name in network.action_names)
    plain = create_recognizer("dere_grl", 3, {"decomposition": False, "reconstruction": False})
    with torch.no_grad():
        nothing = plain.decomposition(cached.take(range(9)))
    with pytest.raises(ValueError, match="no actions to draw"):
        actions_picture(plain, nothing, labels, CLASSES)


def test_training_separates_the_classes(toy_samples: ToySamples, toy_inputs: ToyInputs) -> None:
    # In images, unlike in flow, the textures of the faces differ more than the classes do.
    training = {"schedule": "constant", "epochs": 20, "learning_rate": 2e-3, "batch_size": 10}
    config = {
        "weights": "random",
        "backbone": "test_efficientnet",
        "side": 64,
        "resized": 50,
        "crop": 48,
        "rotation": 0,
        "jitter": 0,
        "dropout": 0,
        "training": training,
    }
    run = RunConfig(device="cpu", seed=3)
    torch.manual_seed(run.seed)
    network = create_recognizer("apex_me", 3, config)
    start = {name: each.clone() for name, each in network.state_dict().items()}
    inputs = toy_inputs(network, toy_samples(60))
    card = Card("apex_me", network.config.model_dump(mode="json"), "three_class", "random")
    card = train(network, Data(inputs, range(60), "toy"), card, "finetune", run)
    fresh = untrained(card)
    for name, each in fresh.state_dict().items():
        assert torch.equal(each, start[name])
    before, after = (tsne(features(each, inputs, CPU)) for each in (fresh, network))
    assert separation(after, inputs.infos) > separation(before, inputs.infos) + 0.2
    np.testing.assert_array_equal(after, tsne(features(network, inputs, CPU)))
    panels = [("before", before), ("after", after)]
    picture = embedding_picture(panels, inputs.infos, CLASSES)
    root = ElementTree.fromstring(picture.content)
    titles = [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles.count(f"{inputs.infos[0].key}: {inputs.infos[0].emotion}") == 2
    assert picture.address.startswith("data:image/svg+xml;base64,")


def test_features_are_what_the_classifier_takes(
    toy_samples: ToySamples, toy_inputs: ToyInputs
) -> None:
    torch.manual_seed(0)
    network = create_recognizer("ststnet", 3, {"flow_side": 64, "method": "dis"})
    inputs = toy_inputs(network, toy_samples(7))
    found = features(network, inputs, CPU, batch_size=3)
    assert found.shape == (7, 400)
    with torch.no_grad():
        logits = network.head(torch.from_numpy(found))
        torch.testing.assert_close(logits, network(inputs.take(range(7))))
    assert raw_inputs(inputs).shape == (7, 3 * 28 * 28)


def test_every_recognizer_names_its_classifier() -> None:
    small = {"weights": "random"}
    for name in recognizer_names():
        if not issubclass(recognizer_class(name), torch.nn.Module):
            continue
        config = small if "weights" in recognizer_class(name).Config.model_fields else {}
        layer = classifier_of(create_recognizer(name, 4, config))[1]
        assert isinstance(layer, torch.nn.Linear), name
        assert layer.out_features == 4, name


def test_few_or_equal_or_broken_features() -> None:
    with pytest.raises(ValueError, match="t-SNE needs at least 5 samples, 4 given"):
        tsne(np.zeros((4, 3), np.float32))
    assert not tsne(np.ones((6, 3), np.float32)).any()
    assert tsne(np.random.default_rng(0).normal(size=(5, 1)).astype(np.float32)).shape == (5, 2)
    with pytest.raises(ValueError, match="not finite"):
        tsne(np.full((6, 3), np.nan, np.float32))


def test_weights_that_are_gone_are_random_and_said_to_be(tmp_path: Path) -> None:
    config = {"weights": str(tmp_path / "gone.safetensors"), "backbone": "test_efficientnet"}
    stage = Stage("pretrain", "toy", 1, {"real": 1}, (), {}, 0)
    fresh = untrained(Card("apex_me", config, "three_class", "imagenet", (stage,)))
    assert fresh.weights == "random"


def clip(database: str, emotion: Emotion, aus: str | None, **changes: object) -> Clip:
    known = {"onset": 1, "apex": 5, "offset": 9, "apex_rule": ApexRule.ANNOTATED, "aus": aus}
    return Clip(database, "s1", "c", emotion, str(emotion), **(known | changes))


def test_counts_equal_those_by_hand() -> None:
    clips = [
        clip("casme2", Emotion.HAPPINESS, "6+L12B"),
        clip("casme2", Emotion.HAPPINESS, "12"),
        clip("casme2", Emotion.DISGUST, "4+9+38"),
        clip("casme2", Emotion.DISGUST, "R12 or R15"),
        clip("casme2", Emotion.DISGUST, None),
        clip("casme2", Emotion.OTHERS, "4"),
        clip("casme2", Emotion.SURPRISE, "smile"),
        clip("samm", Emotion.OTHERS, "1+2", listed_label=2),
    ]
    casme2, samm = count_clips(clips, SPACE)
    au = {number: column for column, number in enumerate(AU_NUMBERS)}
    assert casme2.name == "casme2"
    assert casme2.samples.tolist() == [2, 2, 0]
    expected = np.zeros((3, 17), int)
    expected[0, [au[4], au[9], au[12], au[15]]] = 1
    expected[1, au[6]], expected[1, au[12]] = 1, 2
    np.testing.assert_array_equal(casme2.present, expected)
    assert casme2.outside == {38: 1}
    assert casme2.left_out == {"not coded": 1, "no class": 1, "unreadable coding": 1}
    assert samm.samples.tolist() == [0, 0, 1]
    assert samm.present[2].nonzero()[0].tolist() == [au[1], au[2]]
    picture = counts_picture([casme2, samm], CLASSES)
    assert "AU38 1" in picture.caption
    assert "1 not coded" in picture.caption
    words = "".join(ElementTree.fromstring(picture.content).itertext())
    assert "AU12, positive: 2" in words
    assert "3 (75 %)" in words


def test_counts_of_a_dataset(tiny_dataset: Path) -> None:
    """Count a dataset of AU04+07 or AU14, AU06+12 and AU01+02+26, all above the threshold."""
    dataset = DatasetFolder.open(tiny_dataset)
    counts = count_dataset(dataset)
    assert sum(int(each.samples.sum()) for each in counts) == len(dataset)
    rows = list(dataset.rows(["label", "fine_emotion", "au_estimator"]))
    au12 = AU_NUMBERS.index(12)
    for each in counts:
        table = each.name.split()[-1]
        some = [row for row in rows if f" {table} " in row["au_estimator"]]
        happy = sum(row["fine_emotion"] == "happiness" for row in some)
        assert each.samples.tolist() == [sum(row["label"] == n for row in some) for n in range(3)]
        assert each.present[:, au12].tolist() == [0, happy, 0]


def test_a_database_without_codes_is_drawn_empty() -> None:
    nothing = AUCounts("smic", np.zeros(3, int), np.zeros((3, 17), int), {}, {"not coded": 9})
    picture = counts_picture([nothing], CLASSES)
    assert "smic, not counted: 9 not coded" in picture.caption
    ElementTree.fromstring(picture.content)
