"""Messages about extras."""

import tomllib
from pathlib import Path

from rich.text import Text

from miex.datasets.extras import how_to_install


def test_the_extra_is_named_where_its_bracket_is_taken_for_markup(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    for extra in project["optional-dependencies"]:
        message = how_to_install(extra)
        assert f"pip install 'miex[{extra}]'" in message
        assert extra in Text.from_markup(message).plain
