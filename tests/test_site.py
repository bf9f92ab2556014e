"""The documentation site: `make docs` builds it strictly, without a network, with every name."""

import ast
import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir"]
    # A proxy that refuses everything: whoever asks for a file elsewhere fails.
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy"), "http://127.0.0.1:9")
    environment = {**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [*command, str(out)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in pages(site):
        text = page.read_text("utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]+)"', text)
        loaded += re.findall(r'<link[^>]* href="([^"]+)"[^>]*>', text)
        assert [each for each in loaded if "//" in each] == [], page
        assert "fonts.g" not in text


@pytest.mark.slow
def test_every_link_leads_somewhere(site: Path) -> None:
    anchors = {
        page: set(re.findall(r'\bid="([^"]+)"', page.read_text("utf-8"))) for page in pages(site)
    }
    broken = []
    for page in pages(site):
        if page.name == "404.html":
            continue
        for target in re.findall(r'<a[^>]* href="([^"]+)"', page.read_text("utf-8")):
            path, _, anchor = html.unescape(target).partition("#")
            if "://" in path:
                continue
            place = (page.parent / path).resolve() if path else page
            if place.is_dir():
                place /= "index.html"
            fits = place.is_file() and (not anchor or anchor in anchors.get(place, {anchor}))
            if not fits and anchor not in ("__toc", "__drawer"):
                broken.append(f"{page.relative_to(site)}: {target}")
    assert broken == []


@pytest.mark.slow
def test_the_reference_has_every_public_name(site: Path) -> None:
    text = "".join(page.read_text("utf-8") for page in (site / "reference").glob("*.html"))
    known = set(re.findall(r'\bid="(miex\.[\w.]+)"', text))
    missing = []
    for room in ("flows", "pipeline", "generators", "au_sources", "datasets"):
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if any(part.startswith("_") for part in parts):
                continue
            module = "miex." + ".".join(parts)
            for node in ast.parse(path.read_text("utf-8")).body:
                name = getattr(node, "name", "_")
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and name[0] != "_":
                    missing += [f"{module}.{name}"] if f"{module}.{name}" not in known else []
    assert missing == []


@pytest.mark.slow
def test_the_front_door_is_listed(site: Path) -> None:
    import miex

    text = (site / "reference" / "index.html").read_text("utf-8")
    assert [name for name in miex.__all__ if f"miex.{name}<" not in text] == []
