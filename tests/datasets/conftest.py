"""Fictitious databases, each drawn once."""

from collections.abc import Callable
from pathlib import Path

import pytest

Draw = Callable[[str], "FictitiousDatabase"]  # noqa: F821


@pytest.fixture(scope="session")
def small_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face table of the sample photographs at 64 pixels."""
    from miex.datasets.faces.base import open_face_source
    from miex.pipeline.faces.config import FaceConfig
    from miex.pipeline.faces.prepare import prepare_faces

    table = tmp_path_factory.mktemp("small-faces") / "faces.parquet"
    prepare_faces(open_face_source("samples"), table, FaceConfig(size=64), workers=1)
    return table


@pytest.fixture(scope="session")
def fictitious(tmp_path_factory: pytest.TempPathFactory, small_faces: Path) -> Draw:
    """Draws a database with 2 subjects of 4 clips, or hands out the one that is drawn already."""
    from miex.pipeline.fictitious_databases.write import write_fictitious

    drawn = {}

    def draw(database: str):
        if database not in drawn:
            folder = tmp_path_factory.mktemp("fictitious") / database
            drawn[database] = write_fictitious(database, folder, 2, 4, faces=small_faces)
        return drawn[database]

    return draw
