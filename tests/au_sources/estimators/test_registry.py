"""What every estimator must do; a new one is tested by being registered."""

import numpy as np
import pytest
from PIL import Image

from miex.au_sources.action_units import AU_NUMBERS
from miex.au_sources.estimators.base import (
    create_estimator,
    estimator_facts,
    estimator_names,
)
from miex.datasets.faces.base import open_face_source


@pytest.fixture(scope="module", params=estimator_names())
def estimator(request, tmp_path_factory):
    """Each estimator whose package and model are there, or whose `Facts.toy` writes a model."""
    toy = estimator_facts(request.param).toy
    spec = request.param
    if toy:
        spec = f"{spec}:{toy(tmp_path_factory.mktemp(spec))}"
    try:
        return create_estimator(spec, device="cpu")
    except (FileNotFoundError, ModuleNotFoundError, ValueError) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def images():
    photographs = open_face_source("samples").photographs()[1:4]
    return [np.asarray(Image.open(one.path).convert("RGB")) for one in photographs]


@pytest.mark.parametrize("name", estimator_names())
def test_it_says_what_it_looks_at(name):
    facts = estimator_facts(name)
    assert facts.about
    assert (facts.written or name).partition(":")[0] == name


def test_it_names_itself_and_its_aus(estimator):
    assert estimator.name in estimator_names()
    assert estimator.version
    assert set(estimator.aus) <= set(AU_NUMBERS)
    assert estimator.scale in ("intensity", "probability", "uncalibrated")


def test_a_row_depends_on_its_image_alone(estimator, images):
    if estimator.needs_landmarks:
        with pytest.raises(ValueError, match="needs the 68 landmarks"):
            estimator.estimate(images)
        return
    together = estimator.estimate(images)
    assert together.aus.shape == (len(images), len(AU_NUMBERS))
    unmeasured = [place for place, au in enumerate(AU_NUMBERS) if au not in estimator.aus]
    assert np.isnan(together.aus[:, unmeasured]).all()
    assert together.valid.all()
    for row, image in enumerate(images):
        alone = estimator.estimate([image])
        np.testing.assert_allclose(alone.aus[0], together.aus[row], atol=1e-4)
