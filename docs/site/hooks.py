"""Make the pages of the documentation site that exist nowhere as Markdown.

The home page is README.md. The tutorials are the notebooks. The reference has one page a module of
the five folders; griffe reads a copy of them with `__init__.py` files, because the repository's
root, which is the package, holds much else.
"""

import ast
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("flows", "pipeline", "generators", "au_sources", "datasets")
PACKAGE = ROOT / "out" / "site-package" / "miex"
NOTEBOOKS = ROOT / "docs" / "notebooks"

_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def copy_package() -> None:
    """Copy the package for griffe."""
    shutil.rmtree(PACKAGE, ignore_errors=True)
    for path in modules():
        target = PACKAGE / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for folder in [PACKAGE, *(each for each in PACKAGE.rglob("*") if each.is_dir())]:
        (folder / "__init__.py").touch()
    shutil.copyfile(ROOT / "__init__.py", PACKAGE / "__init__.py")


def on_config(config: Any) -> Any:
    """Complete the navigation."""
    places = {next(iter(entry)): entry for entry in config.nav}
    guide = places["Guide"]["Guide"]
    single = [value for entry in config.nav for value in entry.values() if isinstance(value, str)]
    known = {*guide, *single}
    # A page that nobody has put into the navigation comes last in the guide.
    pages = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
    guide += [name for name in pages if name not in known]
    places["Tutorials"]["Tutorials"] = [
        "tutorials/index.md", *(f"tutorials/{path.stem}.md" for path in notebooks())
    ]  # fmt: skip
    places["Reference"]["Reference"] = ["reference/index.md", *reference_nav()]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the home page, the tutorials and the reference."""
    pages = {"index.md": (ROOT / "README.md").read_text("utf-8")}
    titles = {path.stem: title_of(cells_of(path)) for path in notebooks()}
    listed = "".join(f"- [{title}]({stem}.md)\n" for stem, title in titles.items())
    pages["tutorials/index.md"] = (
        "# Tutorials\n\nNotebooks of `docs/notebooks`; the tests execute them. Each runs in a few "
        f"minutes on two cores, without licensed data.\n\n{listed}"
    )
    pages |= {f"tutorials/{path.stem}.md": notebook_page(path) for path in notebooks()}
    pages |= reference_pages()
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links at pages of the site, and name files of the repository instead of linking them.

    Raises:
        ValueError: A link leads to a file that does not exist.
    """
    source = page.file.src_uri
    base = ROOT if source == "index.md" else ROOT / "docs"

    def link(found: re.Match[str]) -> str:
        text, target = found[1], found[2]
        path, hash_, anchor = target.partition("#")
        if not path or "://" in path or source.startswith(("reference/", "tutorials/")):
            return found[0]
        place = (base / path).resolve()
        if not place.exists():
            raise ValueError(f"{source}: link to {target}, which does not exist")
        if place.parent == ROOT / "docs" and place.suffix == ".md":
            return f"[{text}]({place.name}{hash_}{anchor})"
        if place == ROOT / "README.md":
            return f"[{text}](index.md)"
        name = place.relative_to(ROOT).as_posix()
        return text if text.strip("`") == name else f"{text} (`{name}`)"

    return with_blank_lines(_LINK.sub(link, markdown))


def on_nav(nav: Navigation, config: Any, files: Files) -> Navigation:
    """Name the home page."""
    for page in nav.pages:
        if page.file.src_uri == "index.md":
            page.title = "miex"
    return nav


def with_blank_lines(markdown: str) -> str:
    """Return Markdown with an empty line before each list, which GitHub does not need."""
    lines, before, fenced = [], "", False
    for line in markdown.splitlines():
        fenced ^= line.startswith("```")
        starts = re.match(r"([-*]|\d+\.) ", line)
        goes_on = re.match(r"\s*([-*]|\d+\.) |\s{2,}\S", before)
        if starts and before.strip() and not goes_on and not fenced:
            lines.append("")
        lines.append(line)
        before = line
    return "\n".join(lines) + "\n"


def modules() -> list[Path]:
    """Return every module of the five folders."""
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def public_modules() -> list[Path]:
    """Return the modules whose names and folders do not begin with an underscore."""
    return [
        path
        for path in modules()
        if not any(part.startswith("_") for part in path.relative_to(ROOT).parts)
    ]


def folders() -> dict[str, list[Path]]:
    """Return the public modules by their folder, as ``pipeline/faces``."""
    found: dict[str, list[Path]] = {}
    for path in public_modules():
        found.setdefault(path.parent.relative_to(ROOT).as_posix(), []).append(path)
    return found


def reference_pages() -> dict[str, str]:
    """Return the pages of the reference: the front door, and one page a folder."""
    front = ast.parse((ROOT / "__init__.py").read_text("utf-8"))
    places = next(
        ast.literal_eval(node.value)
        for node in front.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_PLACES"
    )
    rows = "".join(
        f"| [`miex.{name}`][miex.{place}.{name}] | `miex.{place}` |\n"
        for name, place in places.items()
    )
    pages = {
        "reference/index.md": "# Reference\n\nThe names that `import miex` gives, with the modules "
        f"that define them. Every other name is imported from its module.\n\n| name | module |\n"
        f"|---|---|\n{rows}"
    }
    for folder, paths in folders().items():
        names = [dotted(path) for path in paths]
        entries = "".join(f"\n::: {name}\n" for name in names)
        pages[f"reference/{page_name(folder)}"] = f"# miex.{folder.replace('/', '.')}\n{entries}"
    return pages


def reference_nav() -> Iterator[dict[str, str]]:
    """Yield the entries of the navigation below Reference."""
    for folder in folders():
        yield {f"miex.{folder.replace('/', '.')}": f"reference/{page_name(folder)}"}


def page_name(folder: str) -> str:
    """Return the name of the page of a folder."""
    return f"{folder.replace('/', '.')}.md"


def dotted(path: Path) -> str:
    """Return the name under which a module is imported."""
    return "miex." + ".".join(path.relative_to(ROOT).with_suffix("").parts)


def notebooks() -> list[Path]:
    """Return the notebooks in their order."""
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def cells_of(path: Path) -> list[tuple[str, str]]:
    """Return kind and text of the cells of a notebook."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


def title_of(cells: list[tuple[str, str]]) -> str:
    """Return the heading of a notebook."""
    return cells[0][1].splitlines()[0].removeprefix("# ")


def notebook_page(path: Path) -> str:
    """Return a notebook as Markdown."""
    parts = [
        text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in cells_of(path)
    ]
    return "\n\n".join([*parts, f"*The notebook is `docs/notebooks/{path.name}`.*"]) + "\n"


# When the configuration is read: mkdocstrings looks for its paths before any event.
copy_package()
