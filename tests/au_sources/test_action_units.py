import re
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from miex.au_sources.action_units import (
    AU_COUNT,
    AU_NAMES,
    AU_NUMBERS,
    BLENDSHAPES,
    PYFEAT_AU_NUMBERS,
    FacsCode,
    format_aus,
    from_blendshapes,
    from_condition,
    from_pyfeat,
    parse_facs,
    require_aus,
    to_condition,
)

SheetColumn = Callable[[Path, str], list[str | float]]

BLENDSHAPE_NAMES = [name for names in BLENDSHAPES.values() for name in names]


def au(number: int) -> int:
    return AU_NUMBERS.index(number)


def test_the_order_is_openfaces() -> None:
    assert AU_COUNT == 17
    assert AU_NAMES[0] == "AU01"
    assert AU_NAMES[-1] == "AU45"


def test_a_condition_is_a_fifth_and_back() -> None:
    aus = np.linspace(0, 5, 34, dtype=np.float32).reshape(2, 17)
    condition = to_condition(aus)
    assert condition.dtype == np.float32
    assert condition.max() == 1
    np.testing.assert_allclose(from_condition(condition), aus, atol=1e-6)


def test_a_condition_needs_every_au() -> None:
    with pytest.raises(ValueError, match=r"AU02 is nan.*every AU is needed"):
        to_condition(np.array([0, np.nan] + [0] * 15))


def test_intensities_are_not_taken_for_a_condition() -> None:
    with pytest.raises(ValueError, match=r"2\.0 is outside 0 to 1"):
        from_condition(np.full(17, 2.0))


@pytest.mark.parametrize(
    ("aus", "message"),
    [
        (np.zeros(16), r"x: shape \(16,\), expected \(\.\.\., 17\)"),
        (np.float32(1), r"x: shape \(\)"),
        (np.full((2, 17), 6), r"x: AU01 of row 0 is 6\.0, expected a FACS intensity from 0 to 5"),
        (-np.eye(17)[4], r"x: AU06 is -1\.0"),
        (np.full(17, np.inf), r"x: AU01 is inf"),
        (np.full(17, np.nan), r"x: AU01 is nan"),
        (["a"] * 17, r"x: expected numbers, not \["),
    ],
)
def test_what_is_no_au_array_is_refused(aus: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        require_aus(aus, "x")


def test_missing_aus_pass_where_allowed() -> None:
    aus = require_aus([np.nan] * 17, "x", allow_missing=True)
    assert np.isnan(aus).all()
    with pytest.raises(ValueError, match="inf"):
        require_aus(np.full(17, np.inf), "x", allow_missing=True)


def test_pyfeat_gives_sixteen_aus() -> None:
    probabilities = np.arange(20, dtype=np.float32) / 20
    aus = from_pyfeat(probabilities)
    assert aus[au(1)] == 0
    assert aus[au(12)] == pytest.approx(5 * PYFEAT_AU_NUMBERS.index(12) / 20)
    assert aus[au(26)] == pytest.approx(5 * 17 / 20)
    # AU43 (eyes closed, the last column) must not become AU45 (blink).
    assert np.isnan(aus[au(45)])
    assert np.isnan(aus).sum() == 1
    assert from_pyfeat(np.ones((3, 20)), scale=2.0)[2, 0] == 2


def test_pyfeat_columns_are_those_of_the_installed_version() -> None:
    found = find_spec("feat")
    if found is None or found.origin is None:
        pytest.skip("py-feat is not installed")
    text = (Path(found.origin).parent / "pretrained.py").read_text(encoding="utf-8")
    columns = re.search(r'"Feat": \[(.*?)\]', text, re.DOTALL)
    assert columns is not None
    assert re.findall(r"AU\d\d", columns[1]) == [f"AU{n:02d}" for n in PYFEAT_AU_NUMBERS]


def test_pyfeat_keeps_missing_faces_missing() -> None:
    assert np.isnan(from_pyfeat(np.full((2, 20), np.nan))).all()


def test_pyfeat_input_is_checked() -> None:
    with pytest.raises(ValueError, match=r"shape \(17,\), expected \(\.\.\., 20\)"):
        from_pyfeat(np.zeros(17))
    with pytest.raises(ValueError, match="outside 0 to 1"):
        from_pyfeat(np.full(20, 3.2))


def test_blendshapes_give_fifteen_aus() -> None:
    scores = dict.fromkeys(BLENDSHAPE_NAMES, 0.0) | {"tongueOut": 1.0, "_neutral": 0.5}
    scores |= {"mouthSmileLeft": 0.4, "mouthSmileRight": 0.1, "jawOpen": 1.0}
    aus = from_blendshapes(scores)
    assert aus[au(12)] == pytest.approx(2.0)
    assert aus[au(26)] == 5
    assert {n for n in AU_NUMBERS if np.isnan(aus[au(n)])} == {23, 25}
    assert np.nansum(aus) == pytest.approx(7.0)


def test_blendshapes_of_a_video() -> None:
    scores = {name: np.linspace(0, 1.0004, 5) for name in BLENDSHAPE_NAMES}
    aus = from_blendshapes(scores, scale=3)
    assert aus.shape == (5, 17)
    assert aus[-1, 0] == 3


def test_absent_blendshapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"jawOpen absent.*ARKit"):
        from_blendshapes({name: 0.0 for name in BLENDSHAPE_NAMES if name != "jawOpen"})


@pytest.mark.parametrize(
    ("cell", "codes"),
    [
        ("4", [(4, None, None)]),
        (4, [(4, None, None)]),
        (4.0, [(4, None, None)]),
        (np.int64(12), [(12, None, None)]),
        ("4+7", [(4, None, None), (7, None, None)]),
        ("L12", [(12, None, "L")]),
        ("R14A", [(14, 1, "R")]),
        ("A1B + A2C", [(1, 2, "A"), (2, 3, "A")]),
        ("24+T18+16", [(24, None, None), (18, None, "T"), (16, None, None)]),
        ("B28", [(28, None, "B")]),
        ("12b", [(12, 2, None)]),
        ("4,10", [(4, None, None), (10, None, None)]),
        ("4\N{FULLWIDTH COMMA}11", [(4, None, None), (11, None, None)]),
        ("14,L24,", [(14, None, None), (24, None, "L")]),
        ("4/5", [(4, None, None), (5, None, None)]),
        ("AU4+AU12", [(4, None, None), (12, None, None)]),
        ("AU04 + AU12E", [(4, None, None), (12, 5, None)]),
    ],
)
def test_forms_of_au_cells(cell: object, codes: list[tuple[int, int | None, str | None]]) -> None:
    assert [(c.number, c.intensity, c.side) for c in parse_facs(cell).codes] == codes


@pytest.mark.parametrize("cell", ["AU12(k)", "12 (k)", "12?"])
def test_doubtful_aus_are_marked(cell: str) -> None:
    assert parse_facs(f"4+{cell}").codes == (FacsCode(4), FacsCode(12, uncertain=True))


def test_or_needs_a_policy() -> None:
    with pytest.raises(ValueError, match=r"'4\+R12 or R15': 'R12 OR R15' leaves the AU open"):
        parse_facs("4+R12 or R15")
    assert parse_facs("R14A or 17A", "first").codes == (FacsCode(14, 1, "R"),)
    assert [(c.number, c.uncertain) for c in parse_facs("4+R12 or R15", "all").codes] == [
        (4, False),
        (12, True),
        (15, True),
    ]


@pytest.mark.parametrize("cell", ["", None, float("nan"), "  "])
def test_an_empty_cell_is_not_a_still_face(cell: object) -> None:
    with pytest.raises(ValueError, match="is empty: the clip was not coded"):
        parse_facs(cell)


@pytest.mark.parametrize("cell", ["smile", "4++7", "4.5", "0", "123", "L", "+4", "/", "4F", "12L"])
def test_what_is_no_au_is_named(cell: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"AU text {cell!r}: ")):
        parse_facs(cell)


def test_a_coding_becomes_intensities() -> None:
    coding = parse_facs("A1B+L12A+R12C+4+T24+45")
    aus = coding.intensities
    assert aus[au(1)] == 2
    assert aus[au(12)] == 3
    assert np.isnan(aus[au(4)])
    assert np.isnan(aus[au(45)])
    assert aus[au(2)] == 0
    assert [AU_NUMBERS[i] for i in np.flatnonzero(coding.presence)] == [1, 4, 12, 45]
    assert [code.number for code in coding.outside] == [24]


def test_every_cell_of_a_real_sheet_is_read(sheet_column: SheetColumn, shared: Path) -> None:
    folder = shared / "data" / "casme3"
    part_a = sheet_column(folder / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", "F")
    part_c = sheet_column(folder / "CAS(ME)3_part_C_ME.xlsx", "E")
    assert (len(part_a), len(part_c)) == (860, 165)
    clips = [{code.number for code in parse_facs(cell).codes} for cell in part_a]
    assert Counter(map(len, clips)) == {1: 671, 2: 164, 3: 22, 4: 3}
    for cell in part_c:
        numbers = [int(number) for number in re.findall(r"\d+", str(cell).removesuffix(".0"))]
        assert [code.number for code in parse_facs(cell).codes] == numbers


def test_aus_for_people() -> None:
    aus = np.zeros(17)
    assert format_aus(aus) == "neutral"
    aus[[au(6), au(12)]] = 0.8, 1.24
    assert format_aus(aus) == "AU06 0.8, AU12 1.2"
    aus[[au(5), au(45)]] = np.nan
    assert format_aus(aus) == "AU06 0.8, AU12 1.2 (not measured: AU05 AU45)"
    with pytest.raises(ValueError, match="expected one vector"):
        format_aus(np.zeros((2, 17)))
