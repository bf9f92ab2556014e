"""What every test may use. Telemetry is off before any library is imported."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"

import pytest
from outside_package import install  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]


def pytest_unconfigure() -> None:
    """Keep quiet when Prefect's temporary server logs its end: pytest has closed the streams."""
    logging.raiseExceptions = False


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Research data that lies beside a developer's checkout; tests that need it skip without."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no folder `shared` beside the repository: nothing to run on")
    return folder


@pytest.fixture
def kernels_off() -> Callable[[], AbstractContextManager[None]]:
    """A context in which the compiled kernels are not used; skips where there are none."""
    from miex.datasets import kernels

    if kernels.kernels() is None:
        pytest.skip(f"compiled kernels are {kernels.kernels_state()}")

    @contextmanager
    def off() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(kernels.SWITCH, "off")
            kernels.reload()
            assert kernels.kernels() is None
            yield
        kernels.reload()

    return off


@pytest.fixture(scope="session")
def sample_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face table of the photographs that ship inside dependencies, prepared once."""
    from miex.datasets.faces.base import open_face_source
    from miex.pipeline.faces.prepare import prepare_faces

    table = tmp_path_factory.mktemp("faces") / "faces.parquet"
    prepare_faces(open_face_source("samples"), table, workers=1)
    return table
