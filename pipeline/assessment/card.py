"""The section of a generator's card that says how it was assessed and with what result."""

from collections.abc import Mapping, Sequence
from typing import Any


def card_section(document: Mapping[str, Any]) -> str:
    """Markdown: targets, every AU, realism, and what to know before believing them.

    Args:
        document: The content of `assessment.json`.
    """
    generators = document["generators"]
    labels = [one["label"] for one in generators]
    faces, first = document["faces"], document["estimators"][0]
    intensities = ", ".join(f"{value:g}" for value in document["config"]["intensities"])
    lines = [
        "## Assessment",
        "",
        f"{faces['identities']:,} people of {faces['file']} (sha256 `{faces['sha256'][:12]}`), "
        f"every AU alone at {intensities} and micro-expressions from "
        f"{', '.join(document['config']['sources'])}. AUs estimated again by {first['estimator']} "
        f"({first['version']}). Made by `miex assess-generator`.",
        "",
        *_table(["target", *labels], _targets(generators)),
        "",
        f"Fidelity and direction are means over {', '.join(document['aus']) or 'no AU'}.",
        "",
        "### AU by AU",
        "",
        "Correlation of asked and estimated change of the AU alone; in brackets the share of faces "
        f"in which the estimate rises at {intensities}. AUs in brackets are left out of averages.",
        "",
        *_table(["AU", *labels, "agreement of estimators"], _aus(document)),
        "",
        "### Realism",
        "",
        *_table(["embedding", "frames", *labels], _realism(generators)),
        "",
        "KID in thousandths with its standard error, 0 for frames like photographs; these "
        "embeddings are not Inception's: no published value compares.",
        "",
        "### Before believing this",
        "",
        *(f"- {finding['text']}" for finding in document["findings"]),
        "",
    ]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    # A bar would end the cell.
    cells = [[cell.replace("|", "\\|") for cell in row] for row in [head, *rows]]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]


def _targets(generators: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    words = {None: "", True: "**met**: ", False: "**not met**: "}
    return [
        [row["target"], *(words[cell["met"]] + cell["text"] for cell in cells)]
        for row, *cells in zip(
            generators[0]["targets"], *(one["targets"] for one in generators), strict=True
        )
    ]


def _aus(document: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for place, judged in enumerate(document["agreement"]):
        if not judged["measured"]:
            continue
        name = judged["au"] if judged["au"] in document["aus"] else f"({judged['au']})"
        cells = []
        for one in document["generators"]:
            au = one["fidelity"][0]["aus"][place]
            shares = " ".join(_number(share) for share in au["direction"].values())
            cells.append(f"{_number(au['correlation'])} ({shares})")
        agreement = _number(judged["correlation"])
        rows.append([name, *cells, f"{agreement} with {judged['against'] or 'nobody'}"])
    return rows


def _realism(generators: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [
            row["embedding"],
            row["cases"],
            *(f"{cell['kid']:.2f} ± {cell['kid_error']:.2f}" for cell in cells),
        ]
        for row, *cells in zip(
            generators[0]["realism"], *(one["realism"] for one in generators), strict=True
        )
    ]


def _number(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.2f}"
