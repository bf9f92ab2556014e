"""Load the templates of all pages and of the dataset card."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

_SHARED = Path(__file__).parent


def load_template(path: Path, **filters: Callable[..., str]) -> jinja2.Template:
    """Load a template; an unknown name is an error, and values cannot add HTML.

    Args:
        path: The template, HTML or Markdown (.md). It may include files of its own folder and of
            `pipeline/reports`. In HTML values are escaped; in Markdown only what begins a tag.
        filters: Functions that the template applies to values, by name.
    """
    markdown = path.suffix == ".md"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([path.parent, _SHARED]),
        autoescape=not markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=not markdown,
        lstrip_blocks=not markdown,
        keep_trailing_newline=markdown,
        finalize=_without_html if markdown else None,
    )
    environment.filters |= filters
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False}
    return environment.get_template(path.name)


def _without_html(value: Any) -> Any:
    """Escape what begins raw HTML in Markdown; texts come from sources, tables and file names."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return value.replace("<", "&lt;")
    return value
