"""Load the templates of all pages."""

from collections.abc import Callable
from pathlib import Path

import jinja2

_SHARED = Path(__file__).parent


def load_template(path: Path, **filters: Callable[..., str]) -> jinja2.Template:
    """Load an HTML template; values are escaped, and an unknown name is an error.

    Args:
        path: The template. It may include files of its own folder and of `pipeline/reports`.
        filters: Functions that the template applies to values, by name.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([path.parent, _SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False}
    return environment.get_template(path.name)
