"""How an actor plays a micro-expression: which muscles, how strongly, when, and how the head moves.

Kinship, said plainly: `au_sources/tables/au_landmark_motion.csv`, which drives `warp`, is measured
on the expression shapes of the same face model. Which way an AU moves a landmark is therefore
related between the generator and this test bed. What differs: `warp` knows 68 landmarks and a few
points of the skin, moves pixels in the plane, and takes every AU as symmetric and all together;
here the whole mesh moves in depth, covers itself and changes its shading, each person plays each AU
with a strength and a skewness of their own, muscles start one after the other and draw others
along, and AUs that are not among the 17 are played as well (16, 18, 22, 24, 28). Not modelled:
wrinkles and folds finer than the mesh, blood, sweat, eyelashes that move by themselves.
"""

from dataclasses import dataclass

import numpy as np
from face_fit import Pose
from face_model import FaceModel
from numpy.typing import NDArray

from miex.au_sources.action_units import FacsCode, parse_facs

SHAPES_OF_AU: dict[int, dict[str, float]] = {
    1: {"browInnerUp": 1.0},
    2: {"browOuterUp": 1.0},
    4: {"browDown": 1.0},
    5: {"eyeWide": 1.0},
    6: {"cheekSquint": 1.0},
    7: {"eyeSquint": 1.0},
    9: {"noseSneer": 1.0},
    10: {"mouthUpperUp": 0.7, "mouthShrugUpper": 0.3},
    12: {"mouthSmile": 1.0},
    14: {"mouthDimple": 1.0},
    15: {"mouthFrown": 1.0},
    16: {"mouthLowerDown": 1.0},
    17: {"mouthShrugLower": 1.0},
    18: {"mouthPucker": 1.0},
    20: {"mouthStretch": 1.0},
    22: {"mouthFunnel": 1.0},
    23: {"mouthPress": 0.6, "mouthPucker": 0.2},
    24: {"mouthPress": 1.0, "mouthRollLower": 0.2, "mouthRollUpper": 0.2},
    25: {"mouthLowerDown": 0.5, "mouthUpperUp": 0.4},
    26: {"jawOpen": 0.4},
    28: {"mouthRollLower": 1.0, "mouthRollUpper": 1.0},
    45: {"eyeBlink": 1.0},
}
"""Expression shapes of an AU at its maximum: the FACS table in the README of ICT-VGL/ICT-FaceKit.
Ours: the lip raiser opens the upper lip as well as it shrugs (10), lips that tighten are a weak
press and pucker (23), lips part on both sides (25), and the jaw drops by relaxing, not as far as it
goes (26). AU21, 38 and 39 (neck, nostrils) have no shape."""

DRAWN_ALONG: dict[int, tuple[str, ...]] = {
    1: ("eyeWide", "browOuterUp"),
    2: ("eyeWide", "browInnerUp"),
    4: ("eyeSquint", "noseSneer"),
    5: ("browOuterUp",),
    7: ("cheekSquint", "browDown"),
    9: ("mouthUpperUp", "browDown"),
    10: ("noseSneer",),
    12: ("cheekSquint", "mouthDimple"),
    14: ("mouthPress", "mouthStretch"),
    15: ("mouthShrugLower",),
    17: ("mouthFrown", "mouthRollLower"),
    24: ("mouthDimple", "mouthShrugLower"),
}
"""What neighbouring muscles do, up to `MOST_DRAWN_ALONG` of the AU."""

MOST_DRAWN_ALONG = 0.25

STRENGTH_MEDIAN, STRENGTH_SPREAD, STRENGTH_LIMITS = 0.2, 0.35, (0.08, 0.5)
"""Share of an AU's full motion at the apex: log-normal, median 1.0 on the scale of 5, five in a
hundred beyond 1.8; the range of the letters A and B, traces and slight. The sheet of CAS(ME)3 has
no intensities."""

GAIN_SPREAD, SKEW_SPREAD = 0.25, 0.12
"""Of each AU in each person: log-normal factor, and difference of the sides."""

WEAK_SIDE = 0.25
"""Most that the other side does in a one-sided AU (L14, R12)."""

RISE_PERCENTILES = ((0, 5), (10, 20), (25, 23), (50, 33), (75, 43), (90, 58), (100, 88))
"""(percentile, frames at 200 a second) from onset to apex of the 145 clips of CASME II in MEGC2019
(reference/dataset_formats.md; SAMM's median is 32, its range 10 to 79)."""

SHEET_RATE, FPS = 200.0, 30.0
"""Frames a second of the percentiles, and of the stored frames, as CAS(ME)3 records."""

LONGEST = 0.5
"""Seconds from onset to offset beyond which an expression is no longer called micro (Yan et al.
2013); a rise that is longer by itself keeps a short fall."""

SHORTEST_FALL = 0.1
"""Seconds."""

LEAST_MOTION = (0.013, 0.02)
"""Largest motion of a landmark at the apex that a clip has at least, drawn between these, in
distances of the eyes: 0.5 to 0.8 pixels of a crop of 128. What a coder has seen could be seen."""

BLINK_SHARE, GAZE_SHARE = 0.06, 0.1
"""Clips with half a blink, or with a small movement of the eyes: nuisances that mean nothing."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Temperament:
    """How a person moves.

    Attributes:
        gain: Factor on the strength of each AU.
        skew: Difference of left and right, as a share of the strength, by AU.
    """

    gain: dict[int, float]
    skew: dict[int, float]


@dataclass(frozen=True, slots=True)
class Take:
    """One played clip of T frames.

    Attributes:
        activation: ``(T, 57)`` strength of each expression shape, 0 to 1; nought at the onset.
        turn: ``(T, 3)`` drift of the head since the onset, radians.
        shift: ``(T, 2)`` drift of the head, in distances of the eyes.
        apex: Index of the apex frame.
        played: Strength of each AU at the apex as played, for the record.
    """

    activation: Floats
    turn: Floats
    shift: Floats
    apex: int
    played: dict[int, float]


def playable(aus: str | None) -> list[FacsCode]:
    """The AUs of a sheet's cell that have a shape; empty where nothing would move."""
    if aus is None:
        return []
    return [code for code in parse_facs(aus).codes if code.number in SHAPES_OF_AU]


def draw_temperament(rng: np.random.Generator) -> Temperament:
    """A person's own way to move."""
    numbers = sorted(SHAPES_OF_AU)
    gains = np.exp(GAIN_SPREAD * rng.standard_normal(len(numbers)))
    skews = SKEW_SPREAD * rng.standard_normal(len(numbers))
    return Temperament(
        dict(zip(numbers, gains.tolist(), strict=True)),
        dict(zip(numbers, skews.tolist(), strict=True)),
    )


def play(
    model: FaceModel, codes: list[FacsCode], person: Temperament, rng: np.random.Generator
) -> Take:
    """Draws a performance of some AUs; one that nobody could see is played more strongly.

    Args:
        model: Whose shapes are activated.
        codes: What is shown, of `playable`.
        person: Who shows it.
        rng: Of strength, timing, drift and nuisances.

    Raises:
        ValueError: No AU is given.
    """
    if not codes:
        raise ValueError("nothing to play: no AU with a shape; see `playable`")
    rise, fall = _draw_times(rng)
    apex = max(1, round(rise * FPS))
    times = np.arange(apex + max(1, round(fall * FPS)) + 1)
    activation = np.zeros((len(times), len(model.names)))
    played: dict[int, float] = {}
    for code in codes:
        strength = STRENGTH_MEDIAN * np.exp(STRENGTH_SPREAD * rng.standard_normal())
        strength = float(np.clip(strength, *STRENGTH_LIMITS)) * person.gain[code.number]
        left, right = _sides(code, person.skew[code.number], rng)
        course = _course(times, apex, rng)
        for name, share in SHAPES_OF_AU[code.number].items():
            _add(model, activation, name, strength * share * course, left, right)
        for name in DRAWN_ALONG.get(code.number, ()):
            along = strength * rng.uniform(0, MOST_DRAWN_ALONG)
            _add(model, activation, name, along * _course(times, apex, rng), left, right)
        played[code.number] = max(played.get(code.number, 0.0), strength)
    seen = largest_motion(model, activation[apex])
    louder = max(1.0, rng.uniform(*LEAST_MOTION) / seen)
    activation *= louder
    _add_nuisances(model, activation, rng)
    turn, shift = _drift(len(times), rng)
    return Take(
        np.clip(activation, 0, 1), turn, shift, apex, {au: louder * v for au, v in played.items()}
    )


def largest_motion(model: FaceModel, activation: Floats) -> float:
    """Largest motion of a landmark of the mean face, seen from the front, distances of the eyes."""
    motion = np.tensordot(activation, model.shapes[:, model.landmarks, :2], axes=1)
    points = model.neutral[model.landmarks]
    eyes = points[36:42].mean(axis=0) - points[42:48].mean(axis=0)
    return float(np.linalg.norm(motion, axis=1).max() / np.linalg.norm(eyes))


def start_pose(
    photograph: Pose, scale: float, size: int, eyes: Floats, rng: np.random.Generator
) -> Pose:
    """The head at the onset of a clip: half as turned as in the photograph, and by chance.

    Args:
        photograph: Pose in the photograph.
        scale: Pixels of the frame for a centimetre.
        size: Side of the frame.
        eyes: ``(3,)`` middle of the eyes, model's axes.
        rng: Of nod, turn and tilt (3, 4 and 2 degrees) and of the place in the frame.
    """
    turn = 0.5 * photograph.turn + np.radians(rng.normal(0, [3.0, 4.0, 2.0]))
    pose = Pose(scale, turn, np.zeros(2))
    place = np.array([0.5, 0.42]) + rng.normal(0, 0.012, 2)
    return Pose(scale, turn, place * size - pose.project(eyes[None])[0][0])


def drifted(start: Pose, take: Take, frame: int, unit: float) -> Pose:
    """The head in a frame; `unit` is the distance of the eyes, pixels."""
    return Pose(start.scale, start.turn + take.turn[frame], start.shift + unit * take.shift[frame])


def _draw_times(rng: np.random.Generator) -> tuple[float, float]:
    """Seconds from onset to apex and from apex to offset."""
    percent, frames = np.array(RISE_PERCENTILES, float).T
    rise = float(np.interp(rng.uniform(0, 100), percent, frames)) / SHEET_RATE
    fall = rise * rng.uniform(0.6, 1.4)
    return rise, max(SHORTEST_FALL, min(fall, LONGEST - rise))


def _sides(code: FacsCode, skew: float, rng: np.random.Generator) -> tuple[float, float]:
    weak = rng.uniform(0, WEAK_SIDE)
    if code.side == "L":
        return 1.0, weak
    if code.side == "R":
        return weak, 1.0
    skew = float(np.clip(skew + 0.5 * SKEW_SPREAD * rng.standard_normal(), -0.4, 0.4))
    return 1 + skew, 1 - skew


def _course(times: NDArray[np.int64], apex: int, rng: np.random.Generator) -> Floats:
    """``(T,)`` 0 at the onset, 1 at the apex, falling by two thirds or more to the offset."""
    lag, last = rng.uniform(0, 0.25) * apex, len(times) - 1
    up = np.clip((times - lag) / (apex - lag), 0, 1)
    down = np.clip((times - apex) / (last - apex), 0, 1)
    power = rng.uniform(0.8, 1.6)
    rise = (up * up * (3 - 2 * up)) ** power
    return np.asarray(rise * (1 - rng.uniform(0.66, 1.0) * down * down * (3 - 2 * down)))


def _add(
    model: FaceModel, activation: Floats, name: str, course: Floats, left: float, right: float
) -> None:
    for side, share in (("_L", left), ("_R", right)):
        if name + side in model.names:
            activation[:, model.shape(name + side)] += course * share
    if name in model.names:
        activation[:, model.shape(name)] += course * max(left, right)


def _add_nuisances(model: FaceModel, activation: Floats, rng: np.random.Generator) -> None:
    """Half a blink, and eyes that wander, in some clips; nothing of it at the onset."""
    frames = len(activation)
    times = np.arange(frames)
    blinks, gazes, kind = rng.random(), rng.random(), rng.integers(4)
    height, centre, way = rng.uniform(0.2, 0.6), rng.uniform(2, frames), rng.uniform(0.05, 0.2)
    if blinks < BLINK_SHARE:
        # 300 ms, half a cosine wave up and down.
        wave = np.cos(np.clip((times - centre) / (0.15 * FPS), -1, 1) * np.pi / 2) ** 2
        wave[0] = 0
        _add(model, activation, "eyeBlink", height * wave, 1.0, 1.0)
    if gazes < GAZE_SHARE:
        ramp = way * np.clip((times - centre / 2) / 2, 0, 1) * (times > 0)
        one, other = (("Up", "Up"), ("Down", "Down"), ("Out", "In"), ("In", "Out"))[kind]
        activation[:, model.shape(f"eyeLook{one}_L")] += ramp
        activation[:, model.shape(f"eyeLook{other}_R")] += ramp


def _drift(frames: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Half a degree and a hundredth of the eyes' distance in half a second: a line and a wave."""
    seconds = np.arange(frames)[:, None] / FPS
    sizes = np.r_[np.radians([0.4, 0.4, 0.25]), [0.01, 0.01]]
    slope, wave, phase = rng.normal(0, 1, (3, 5))
    path = sizes * (slope * seconds / LONGEST + 0.4 * wave * np.sin(6 * seconds + phase))
    path -= path[:1]
    return path[:, :3], path[:, 3:]
