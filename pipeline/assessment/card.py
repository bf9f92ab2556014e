"""The section of a generator's model card that reports its assessment."""

from collections.abc import Mapping, Sequence
from typing import Any


def card_section(document: Mapping[str, Any]) -> str:
    """Return the section in Markdown: targets, measures per AU, realism and warnings.

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
        f"Measured with `miex assess-generator` on {faces['identities']:,} identities of "
        f"{faces['file']} (sha256 `{faces['sha256'][:12]}`). The cases are single AUs at "
        f"intensities {intensities} and micro-expressions from "
        f"{', '.join(document['config']['sources'])}. The AUs of the rendered frames were "
        f"estimated with {first['estimator']} ({first['version']}).",
        "",
        *_table(["target", *labels], _targets(generators)),
        "",
        f"Fidelity and direction are means over {', '.join(document['aus']) or 'no AU'}.",
        "",
        "### Single AUs",
        "",
        "Correlation between the requested and the estimated change of the AU. The numbers in "
        f"brackets are the shares of faces in which the estimate rises at {intensities}. AUs in "
        "brackets are excluded from averages.",
        "",
        *_table(["AU", *labels, "agreement of estimators"], _aus(document)),
        "",
        "### Realism",
        "",
        *_table(["embedding", "frames", *labels], _realism(generators)),
        "",
        "KID in thousandths with its standard error; it is 0 for frames that are distributed like "
        "photographs. The values cannot be compared with published ones, which use embeddings of "
        "Inception.",
        "",
        "### Limitations",
        "",
        *(f"- {finding['text']}" for finding in document["findings"]),
        "",
    ]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    # An unescaped bar would end the cell.
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
    for place, row in enumerate(document["agreement"]):
        if not row["measured"]:
            continue
        name = row["au"] if row["au"] in document["aus"] else f"({row['au']})"
        cells = []
        for one in document["generators"]:
            au = one["fidelity"][0]["aus"][place]
            shares = " ".join(_number(share) for share in au["direction"].values())
            cells.append(f"{_number(au['correlation'])} ({shares})")
        agreement = _number(row["correlation"])
        if row["against"]:
            agreement += f" with {row['against']}"
        rows.append([name, *cells, agreement])
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
