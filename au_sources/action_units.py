"""Define the Action Unit space of miex (17 AUs, FACS intensities 0 to 5) and its conversions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Literal, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

AU_NUMBERS: tuple[int, ...] = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
"""FACS numbers of the 17 AUs, in the order of OpenFace's intensity columns (and of GANimation)."""

AU_NAMES: tuple[str, ...] = tuple(f"AU{number:02d}" for number in AU_NUMBERS)

AU_WORDS: tuple[str, ...] = (
    "inner brow raiser",
    "outer brow raiser",
    "brow lowerer",
    "upper lid raiser",
    "cheek raiser",
    "lid tightener",
    "nose wrinkler",
    "upper lip raiser",
    "lip corner puller",
    "dimpler",
    "lip corner depressor",
    "chin raiser",
    "lip stretcher",
    "lip tightener",
    "lips part",
    "jaw drop",
    "blink",
)
"""Names of the 17 AUs in the FACS manual (Ekman, Friesen & Hager 2002)."""

AU_COUNT = len(AU_NUMBERS)

MAX_INTENSITY = 5.0
"""FACS intensity E, the maximum; 0 is absent. Not measured is NaN, never 0."""

AUArray: TypeAlias = NDArray[np.float32]
"""AU intensities, ``(..., 17)``, 0 to 5."""

_SCORE_SCALE = MAX_INTENSITY
"""Intensity that a score of 1 stands for when nothing better is known.

An assumption: py-feat's probabilities and MediaPipe's blendshape scores run from 0 to 1, but a
probability of 1 means a certain AU and not a strong one. A calibration against coded intensities
replaces this factor.
"""

PYFEAT_AU_NUMBERS: tuple[int, ...] = (
    *(1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43),
)
"""FACS numbers of py-feat's 20 AU columns, in its order (`feat.pretrained`, py-feat 2.1).

AU43 (eyes closed) is not AU45 (blink), so AU45 stays unmeasured.
"""

BLENDSHAPES: Mapping[int, tuple[str, ...]] = {
    1: ("browInnerUp",),
    2: ("browOuterUpLeft", "browOuterUpRight"),
    4: ("browDownLeft", "browDownRight"),
    5: ("eyeWideLeft", "eyeWideRight"),
    6: ("cheekSquintLeft", "cheekSquintRight"),
    7: ("eyeSquintLeft", "eyeSquintRight"),
    9: ("noseSneerLeft", "noseSneerRight"),
    10: ("mouthUpperUpLeft", "mouthUpperUpRight"),
    12: ("mouthSmileLeft", "mouthSmileRight"),
    14: ("mouthDimpleLeft", "mouthDimpleRight"),
    15: ("mouthFrownLeft", "mouthFrownRight"),
    17: ("mouthShrugLower",),
    20: ("mouthStretchLeft", "mouthStretchRight"),
    26: ("jawOpen",),
    45: ("eyeBlinkLeft", "eyeBlinkRight"),
}
"""ARKit blendshapes (MediaPipe's 52 categories have the same names) that show an AU of the 17.

Source: the FACS table in the README of ICT-FaceKit (Li et al., Learning Formation of
Physically-Based Face Attributes, CVPR 2020; MIT), with two entries as in py-feat 2.1
(`feat.utils.region_maps`): AU10 is mouthUpperUp, not mouthShrugUpper, and jawOpen counts as AU26,
not as the widest opening AU27. AU23 and AU25 have no blendshape of their own.
"""


def require_aus(aus: ArrayLike, where: str, *, allow_missing: bool = False) -> AUArray:
    """Check that an array holds AU intensities.

    Args:
        aus: ``(..., 17)``.
        where: What the array is, the beginning of the error message.
        allow_missing: Accept NaN, which means not measured.

    Returns:
        The same values as float32.

    Raises:
        ValueError: Wrong shape, not numeric, infinite, missing or outside 0 to 5.
    """
    array = _as_float32(aus, where)
    if array.ndim == 0 or array.shape[-1] != AU_COUNT:
        raise ValueError(
            f"{where}: shape {array.shape}, expected (..., {AU_COUNT}), one number for each of "
            f"{', '.join(AU_NAMES)}"
        )
    wrong = ~((array >= 0) & (array <= MAX_INTENSITY))
    missing = np.isnan(array)
    if allow_missing:
        wrong &= ~missing
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        row = f" of row {', '.join(map(str, place[:-1]))}" if len(place) > 1 else ""
        way_out = " (NaN means not measured, and every AU is needed here)" if missing.any() else ""
        raise ValueError(
            f"{where}: {AU_NAMES[place[-1]]}{row} is {array[place]}, expected a FACS intensity "
            f"from 0 to {MAX_INTENSITY:g}{way_out}"
        )
    return array


def _as_float32(values: ArrayLike, where: str) -> NDArray[np.float32]:
    try:
        return np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: expected numbers, not {values!r}") from None


def to_condition(aus: ArrayLike) -> AUArray:
    """Return the generator's condition: AU intensity / 5 (GANimation, Pumarola et al. 2018).

    Args:
        aus: ``(..., 17)``, 0 to 5, finite.

    Returns:
        ``(..., 17)``, 0 to 1.

    Raises:
        ValueError: Not AU intensities, or some are missing.
    """
    return require_aus(aus, "AUs of a condition") / np.float32(MAX_INTENSITY)


def from_condition(condition: ArrayLike) -> AUArray:
    """Return AU intensities of a generator's condition, the inverse of `to_condition`.

    Args:
        condition: ``(..., 17)``, 0 to 1.

    Raises:
        ValueError: Wrong shape, or a value outside 0 to 1.
    """
    scaled = _require_scores(condition, "condition") * np.float32(MAX_INTENSITY)
    return require_aus(scaled, "condition")


def from_pyfeat(probabilities: ArrayLike, scale: float = _SCORE_SCALE) -> AUArray:
    """Return AU intensities from py-feat's 20 AU columns.

    Args:
        probabilities: ``(..., 20)`` in the order of `PYFEAT_AU_NUMBERS`, 0 to 1. NaN where
            py-feat found no face.
        scale: Intensity that probability 1 stands for; the default is an assumption, see
            `_SCORE_SCALE`.

    Returns:
        ``(..., 17)``, 0 to 5. NaN for AU45, which py-feat does not have.

    Raises:
        ValueError: Wrong shape, or a value outside 0 to 1.
    """
    scores = _require_scores(probabilities, "py-feat's AUs")
    if scores.ndim == 0 or scores.shape[-1] != len(PYFEAT_AU_NUMBERS):
        raise ValueError(
            f"py-feat's AUs: shape {scores.shape}, expected (..., {len(PYFEAT_AU_NUMBERS)}), the "
            "columns AU01 to AU43 in py-feat's order"
        )
    aus = np.full((*scores.shape[:-1], AU_COUNT), np.nan, dtype=np.float32)
    for column, number in enumerate(PYFEAT_AU_NUMBERS):
        if number in AU_NUMBERS:
            aus[..., AU_NUMBERS.index(number)] = scores[..., column] * scale
    return require_aus(aus, "py-feat's AUs, scaled", allow_missing=True)


def from_blendshapes(scores: Mapping[str, ArrayLike], scale: float = _SCORE_SCALE) -> AUArray:
    """Return AU intensities from ARKit's or MediaPipe's blendshape scores.

    An AU with a left and a right blendshape takes the stronger one: a one-sided AU is a whole AU
    in FACS (L14, R12), and one-sided AUs are frequent in micro-expressions.

    Args:
        scores: Score of each blendshape by its ARKit name, 0 to 1; all of one shape ``S``.
            Names that stand for no AU here are ignored.
        scale: Intensity that score 1 stands for; the default is an assumption, see `_SCORE_SCALE`.

    Returns:
        ``S + (17,)``, 0 to 5. NaN for AUs without a blendshape.

    Raises:
        ValueError: A blendshape of `BLENDSHAPES` is absent, or a score outside 0 to 1.
    """
    absent = [name for names in BLENDSHAPES.values() for name in names if name not in scores]
    if absent:
        raise ValueError(
            f"blendshapes: {', '.join(absent)} absent; expected ARKit's names, as MediaPipe's face "
            "landmarker gives them with output_face_blendshapes=True"
        )
    columns = {
        number: np.max([_require_scores(scores[name], name) for name in names], axis=0) * scale
        for number, names in BLENDSHAPES.items()
    }
    missing = np.full_like(columns[1], np.nan)
    aus = np.stack([columns.get(number, missing) for number in AU_NUMBERS], axis=-1)
    return require_aus(aus, "blendshapes, scaled", allow_missing=True)


_ROUNDING = 1e-3
"""By how much half-precision networks overshoot 0 and 1."""


def _require_scores(scores: ArrayLike, where: str) -> NDArray[np.float32]:
    array = _as_float32(scores, where)
    wrong = (array < -_ROUNDING) | (array > 1 + _ROUNDING)
    if wrong.any():
        raise ValueError(
            f"{where}: {array[wrong][0]} is outside 0 to 1; intensities from 0 to 5 need no "
            "conversion"
        )
    return np.clip(array, 0.0, 1.0)


Side: TypeAlias = Literal["L", "R", "T", "B", "A"]


@dataclass(frozen=True, slots=True)
class FacsCode:
    """One AU of a FACS coding.

    Attributes:
        number: FACS number of the AU.
        intensity: 1 to 5 for the letters A to E, None where the coder gave no letter.
        side: L or R for one side of the face, T or B for the top or bottom lip, A for both sides
            in different strength, None for both alike.
        uncertain: The coder or the annotation marks the AU as doubtful.
    """

    number: int
    intensity: int | None = None
    side: Side | None = None
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class FacsCoding:
    """What a cell such as ``R14A + 4`` says.

    Attributes:
        codes: Every AU of the cell in its order, whether or not it is one of the 17.
    """

    codes: tuple[FacsCode, ...]

    @property
    def presence(self) -> NDArray[np.bool_]:
        """Return ``(17,)``, whether each AU is coded, on any side and with any intensity."""
        return np.isin(AU_NUMBERS, [code.number for code in self.codes])

    @property
    def intensities(self) -> AUArray:
        """Return ``(17,)``: the highest coded intensity; 0 if absent, NaN without a letter."""
        aus = np.where(self.presence, np.nan, 0.0).astype(np.float32)
        for code in self.codes:
            if code.number in AU_NUMBERS and code.intensity is not None:
                au = AU_NUMBERS.index(code.number)
                aus[au] = np.fmax(aus[au], code.intensity)
        return aus

    @property
    def outside(self) -> tuple[FacsCode, ...]:
        """Return the codes of AUs that are not among the 17."""
        return tuple(code for code in self.codes if code.number not in AU_NUMBERS)


Alternatives: TypeAlias = Literal["error", "first", "all"]
"""What ``R12 or R15`` means: an error, the first one alone, or all of them marked uncertain."""

_SEPARATORS = "[+,/\N{FULLWIDTH COMMA}]"

_CODE = re.compile(r"(?:AU)?\s*([LRTBA])?\s*0*([1-9]\d?)\s*([A-E])?\s*(\?|\(K\))?")


def parse_facs(cell: object, alternatives: Alternatives = "error") -> FacsCoding:
    """Read the AU cell of an annotation sheet.

    Understands what CASME II, SAMM, MMEW, CAS(ME)3 and 4DME write: ``4``, ``4+7``, ``L12``,
    ``R14A``, ``A1B + A2C``, ``24+T18+16``, ``4,10`` (also with a fullwidth comma, and with one
    comma too many at the end), ``AU4+AU12(k)``, ``13?``, and ``R12 or R15``, where `or` binds
    closer than ``+``.

    Args:
        cell: Text, or the number that a spreadsheet made of a single AU.
        alternatives: What an `or` means.

    Raises:
        ValueError: The cell is empty, which means that the clip was not coded and not that its
            face was still; or holds something else than AUs; or an `or` without a policy.
    """
    text = f"{cell:g}" if isinstance(cell, Real) else str(cell or "").strip()
    if text in ("", "nan"):
        raise ValueError(
            f"AU cell {cell!r} is empty: the clip was not coded; leave it out and count it"
        )
    terms = re.split(_SEPARATORS, text.upper().rstrip("+,/ "))
    codes: list[FacsCode] = []
    for term in terms:
        options = term.split("OR")
        if len(options) > 1 and alternatives == "error":
            raise ValueError(
                f"AU text {text!r}: {term.strip()!r} leaves the AU open; say which policy holds: "
                "alternatives='first' (the first one alone) or 'all' (all, marked uncertain)"
            )
        if alternatives == "first":
            options = options[:1]
        codes += [_parse_code(option, text, doubtful=len(options) > 1) for option in options]
    return FacsCoding(tuple(codes))


def _parse_code(option: str, text: str, *, doubtful: bool) -> FacsCode:
    match = _CODE.fullmatch(option.strip())
    if match is None:
        raise ValueError(
            f"AU text {text!r}: {option.strip()!r} is no AU; expected FACS numbers such as "
            "'4+7', 'R14A' or 'AU4+AU12'"
        )
    side, number, letter, mark = match.groups()
    return FacsCode(
        number=int(number),
        intensity=None if letter is None else "ABCDE".index(letter) + 1,
        side=cast(Side | None, side),
        uncertain=doubtful or mark is not None,
    )


def format_aus(aus: ArrayLike) -> str:
    """Return AU intensities for people: ``AU06 0.8, AU12 1.2``.

    Args:
        aus: ``(17,)``, 0 to 5; NaN where not measured.

    Returns:
        Every AU above 0 with one decimal, `neutral` if there is none, and which AUs were not
        measured.
    """
    vector = require_aus(aus, "AUs", allow_missing=True)
    if vector.ndim != 1:
        raise ValueError(f"AUs: shape {vector.shape}, expected one vector, ({AU_COUNT},)")
    pairs = list(zip(AU_NAMES, vector.tolist(), strict=True))
    active = ", ".join(f"{name} {value:.1f}" for name, value in pairs if value > 0) or "neutral"
    missing = " ".join(name for name, value in pairs if np.isnan(value))
    return f"{active} (not measured: {missing})" if missing else active
