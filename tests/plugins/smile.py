"""Where the expert table of this package lies."""

from pathlib import Path


def smile() -> Path:
    """Return the path of the table."""
    return Path(__file__).with_name("smile.yaml")
