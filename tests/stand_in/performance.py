"""Motion of a rendered micro-expression: expression shapes, strengths, timing and head motion.

The stand-in is not fully independent of the generators: `au_sources/tables/au_landmark_motion.csv`,
which `warp` uses, was measured on the expression shapes of the same face model. The directions in
which an AU moves the landmarks are therefore related. The differences are these. `warp` knows 68
landmarks and a few points of the skin, moves pixels in the image plane, and applies all AUs
symmetrically and at the same time. Here the whole mesh moves in 3-D, occludes itself and changes
its shading. Each person has an individual strength and asymmetry for each AU. AUs start at
different times and activate neighbouring muscles. AUs other than the 17 are shown as well (16, 18,
22, 24, 28). Not modelled are wrinkles and folds finer than the mesh, blood flow, sweat, and
independent motion of eyelashes.
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
"""Expression shapes of each AU at its maximum, from the FACS table of ICT-VGL/ICT-FaceKit.

Four AUs differ from that table by our choice: AU10 both raises and shrugs the upper lip, AU23 is a
weak press and pucker, AU25 parts both lips, and AU26 opens the jaw only as far as it drops when
relaxed. AU21, 38 and 39 (neck, nostrils) have no shape.
"""

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
"""Shapes of neighbouring muscles that each AU activates, at up to `MOST_DRAWN_ALONG`."""

MOST_DRAWN_ALONG = 0.25
"""Largest activation of a neighbouring muscle as a share of the strength of the AU."""

STRENGTH_MEDIAN, STRENGTH_SPREAD, STRENGTH_LIMITS = 0.2, 0.35, (0.08, 0.5)
"""Distribution of the strength of an AU at the apex, as a share of its full motion.

It is log-normal with a median of 1.0 on the 0-5 scale, and 5 % are above 1.8. This is the range of
the FACS intensities A (trace) and B (slight). The sheet of CAS(ME)3 states no intensities.
"""

GAIN_SPREAD, SKEW_SPREAD = 0.25, 0.12
"""Spread of the log-normal strength factor and of the asymmetry, for each AU of each person."""

WEAK_SIDE = 0.25
"""Largest activation of the other side in a one-sided AU (L14, R12)."""

RISE_PERCENTILES = ((0, 5), (10, 20), (25, 23), (50, 33), (75, 43), (90, 58), (100, 88))
"""Percentiles of the frames from onset to apex, at 200 frames per second.

They were measured on the 145 clips of CASME II in MEGC2019. The median of SAMM is 32 and its range
is 10 to 79.
"""

SHEET_RATE, FPS = 200.0, 30.0
"""Frame rate of the percentiles, and of the rendered clips (that of CAS(ME)3), per second."""

LONGEST = 0.5
"""Longest duration of a micro-expression from onset to offset, in seconds (Yan et al. 2013).

A clip whose rise alone takes longer gets the shortest fall.
"""

SHORTEST_FALL = 0.1
"""Shortest time from apex to offset, in seconds."""

LEAST_MOTION = (0.013, 0.02)
"""Range from which the smallest accepted motion of a clip is drawn, in eye distances.

The motion is that of the landmark that moves most at the apex; the range is 0.5 to 0.8 pixels in a
crop of 128. A smaller motion would not have been visible to an annotator.
"""

BLINK_SHARE, GAZE_SHARE = 0.06, 0.1
"""Shares of the clips with half a blink and with a small eye movement, unrelated to the label."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Temperament:
    """Individual differences in the motion of a person.

    Attributes:
        gain: Factor on the strength, by AU.
        skew: Difference between left and right as a share of the strength, by AU.
    """

    gain: dict[int, float]
    skew: dict[int, float]


@dataclass(frozen=True, slots=True)
class Take:
    """Motion of one clip of T frames.

    Attributes:
        activation: Strength of each expression shape, ``(T, 57)``, 0 to 1; 0 at the onset.
        turn: Rotation of the head since the onset, ``(T, 3)`` radians.
        shift: Shift of the head since the onset, ``(T, 2)`` eye distances.
        apex: Index of the apex frame.
        played: Strength of each AU at the apex, as recorded in the lineage.
    """

    activation: Floats
    turn: Floats
    shift: Floats
    apex: int
    played: dict[int, float]


def playable(aus: str | None) -> list[FacsCode]:
    """Return the AUs of an annotation that have an expression shape."""
    if aus is None:
        return []
    return [code for code in parse_facs(aus).codes if code.number in SHAPES_OF_AU]


def draw_temperament(rng: np.random.Generator) -> Temperament:
    """Draw the individual differences of a person."""
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
    """Draw the motion of a clip that shows some AUs; an invisible motion is amplified.

    Args:
        model: The face model.
        codes: AUs to show, from `playable`.
        person: Individual differences of the person.
        rng: Random generator for strength, timing, head motion and unrelated motion.

    Raises:
        ValueError: No AU is given.
    """
    if not codes:
        raise ValueError("codes is empty: give at least one AU that `playable` returns")
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
    """Return the largest motion of a landmark of the frontal mean face, in eye distances."""
    motion = np.tensordot(activation, model.shapes[:, model.landmarks, :2], axes=1)
    points = model.neutral[model.landmarks]
    eyes = points[36:42].mean(axis=0) - points[42:48].mean(axis=0)
    return float(np.linalg.norm(motion, axis=1).max() / np.linalg.norm(eyes))


def start_pose(
    photograph: Pose, scale: float, size: int, eyes: Floats, rng: np.random.Generator
) -> Pose:
    """Draw the head pose at the onset: half the rotation in the photograph, and a random part.

    Args:
        photograph: Pose in the photograph.
        scale: Pixels of the frame per centimetre.
        size: Side of the frame, pixels.
        eyes: Midpoint of the eyes, ``(3,)``, in the axes of the model.
        rng: Random generator for pitch, yaw and roll (standard deviations 3, 4 and 2 degrees) and
            for the position in the frame.
    """
    turn = 0.5 * photograph.turn + np.radians(rng.normal(0, [3.0, 4.0, 2.0]))
    pose = Pose(scale, turn, np.zeros(2))
    place = np.array([0.5, 0.42]) + rng.normal(0, 0.012, 2)
    return Pose(scale, turn, place * size - pose.project(eyes[None])[0][0])


def drifted(start: Pose, take: Take, frame: int, unit: float) -> Pose:
    """Return the head pose in a frame; `unit` is the eye distance in pixels."""
    return Pose(start.scale, start.turn + take.turn[frame], start.shift + unit * take.shift[frame])


def _draw_times(rng: np.random.Generator) -> tuple[float, float]:
    """Draw the seconds from onset to apex and from apex to offset."""
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
    """Return the strength ``(T,)``: 0 at the onset, 1 at the apex, up to a third at the offset."""
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
    """Add half a blink or an eye movement to some clips, with no effect at the onset."""
    frames = len(activation)
    times = np.arange(frames)
    blinks, gazes, kind = rng.random(), rng.random(), rng.integers(4)
    height, centre, way = rng.uniform(0.2, 0.6), rng.uniform(2, frames), rng.uniform(0.05, 0.2)
    if blinks < BLINK_SHARE:
        # A squared cosine of 300 ms.
        wave = np.cos(np.clip((times - centre) / (0.15 * FPS), -1, 1) * np.pi / 2) ** 2
        wave[0] = 0
        _add(model, activation, "eyeBlink", height * wave, 1.0, 1.0)
    if gazes < GAZE_SHARE:
        ramp = way * np.clip((times - centre / 2) / 2, 0, 1) * (times > 0)
        one, other = (("Up", "Up"), ("Down", "Down"), ("Out", "In"), ("In", "Out"))[kind]
        activation[:, model.shape(f"eyeLook{one}_L")] += ramp
        activation[:, model.shape(f"eyeLook{other}_R")] += ramp


def _drift(frames: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw the head motion, about 0.4 degrees and 0.01 eye distances within half a second."""
    seconds = np.arange(frames)[:, None] / FPS
    sizes = np.r_[np.radians([0.4, 0.4, 0.25]), [0.01, 0.01]]
    slope, wave, phase = rng.normal(0, 1, (3, 5))
    path = sizes * (slope * seconds / LONGEST + 0.4 * wave * np.sin(6 * seconds + phase))
    path -= path[:1]
    return path[:, :3], path[:, 3:]
