"""Emotions, and the label spaces of databases and challenges that merge them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Emotion(StrEnum):
    """Annotated emotion of a clip.

    The first nine are fine emotions. `POSITIVE` and `NEGATIVE` belong to databases with coarse
    annotations (SMIC, 4DME, CAS(ME)3 part C): such a clip has a class, but its fine emotion is
    unknown.
    """

    HAPPINESS = "happiness"
    SADNESS = "sadness"
    SURPRISE = "surprise"
    FEAR = "fear"
    ANGER = "anger"
    DISGUST = "disgust"
    CONTEMPT = "contempt"
    REPRESSION = "repression"
    OTHERS = "others"
    POSITIVE = "positive"
    NEGATIVE = "negative"

    @property
    def is_coarse(self) -> bool:
        """Whether the annotation is only positive or negative."""
        return self in (Emotion.POSITIVE, Emotion.NEGATIVE)


_SPELLINGS: dict[str, Emotion] = {emotion.value: emotion for emotion in Emotion} | {
    "happy": Emotion.HAPPINESS,
    "sad": Emotion.SADNESS,
    "surprised": Emotion.SURPRISE,
    "fearful": Emotion.FEAR,
    "angry": Emotion.ANGER,
    "disgusted": Emotion.DISGUST,
    "repressed": Emotion.REPRESSION,
    "other": Emotion.OTHERS,
}


def parse_emotion(text: str) -> Emotion:
    """Return the emotion of a text in any spelling that databases use.

    Known are nouns (CASME II, SAMM, MMEW), adjectives (CAS(ME)3, Du et al. 2014), `Other` and
    `Others`; case and surrounding blanks are ignored.

    Raises:
        ValueError: The text names no known emotion.
    """
    emotion = _SPELLINGS.get(text.strip().casefold())
    if emotion is None:
        raise ValueError(
            f"unknown emotion {text!r}; expected one of {', '.join(Emotion)} "
            "or the adjective of one (happy, sad, ...)"
        )
    return emotion


@dataclass(frozen=True, slots=True)
class LabelSpace:
    """Classes, and the emotions that each of them merges.

    Attributes:
        name: Short name, the key in `LABEL_SPACES`.
        classes: Names of the classes; the label of a class is its index.
        merge: Class of every emotion; None for an emotion that this space leaves out.
        citation: Source of the definition.

    Raises:
        ValueError: `merge` misses an emotion, names a class that is not listed, or leaves a class
            without any fine emotion.
    """

    name: str
    classes: tuple[str, ...]
    merge: Mapping[Emotion, str | None] = field(hash=False)
    citation: str

    def __post_init__(self) -> None:
        missing = [emotion for emotion in Emotion if emotion not in self.merge]
        unlisted = {name for name in self.merge.values() if name is not None} - set(self.classes)
        if missing or unlisted or len(set(self.classes)) != len(self.classes):
            raise ValueError(
                f"label space {self.name!r}: every emotion needs a class or None (missing: "
                f"{', '.join(missing) or 'none'}), and every class must be listed once in "
                f"`classes` (unlisted: {', '.join(sorted(unlisted)) or 'none'})"
            )
        for name in self.classes:
            if not self.members(name):
                raise ValueError(f"label space {self.name!r}: class {name!r} has no fine emotion")

    def label(self, emotion: Emotion) -> int | None:
        """Return the index of the class of an emotion; None if the space leaves it out."""
        name = self.merge[emotion]
        return None if name is None else self.classes.index(name)

    def members(self, name: str) -> tuple[Emotion, ...]:
        """Return the fine emotions of a class, in the order of `Emotion`.

        Raises:
            ValueError: The space has no such class.
        """
        if name not in self.classes:
            raise ValueError(
                f"label space {self.name!r} has no class {name!r}; there are: "
                f"{', '.join(self.classes)}"
            )
        return tuple(e for e in Emotion if not e.is_coarse and self.merge[e] == name)


def _merge(*classes: tuple[str, tuple[Emotion, ...]]) -> dict[Emotion, str | None]:
    merge: dict[Emotion, str | None] = dict.fromkeys(Emotion)
    for name, emotions in classes:
        merge |= dict.fromkeys(emotions, name)
    return merge


_THREE_CLASS = LabelSpace(
    name="three_class",
    classes=("negative", "positive", "surprise"),
    merge=_merge(
        (
            "negative",
            (
                Emotion.SADNESS,
                Emotion.FEAR,
                Emotion.ANGER,
                Emotion.DISGUST,
                Emotion.CONTEMPT,
                Emotion.REPRESSION,
                Emotion.NEGATIVE,
            ),
        ),
        ("positive", (Emotion.HAPPINESS, Emotion.POSITIVE)),
        ("surprise", (Emotion.SURPRISE,)),
    ),
    citation=(
        "See et al., MEGC 2019 - The Second Facial Micro-Expressions Grand Challenge, FG 2019 "
        "(repression of CASME II is negative); Liu et al., How to Synthesize a Large-Scale and "
        "Trainable Micro-Expression Dataset?, ECCV 2022 (sadness, fear, anger, disgust and "
        "contempt are negative)"
    ),
)

_CASME2_FIVE_CLASS = LabelSpace(
    name="casme2_5class",
    classes=("happiness", "disgust", "repression", "surprise", "others"),
    merge=_merge(
        ("happiness", (Emotion.HAPPINESS,)),
        ("disgust", (Emotion.DISGUST,)),
        ("repression", (Emotion.REPRESSION,)),
        ("surprise", (Emotion.SURPRISE,)),
        ("others", (Emotion.OTHERS,)),
    ),
    citation=(
        "Yan et al., CASME II: An Improved Spontaneous Micro-Expression Database and the Baseline "
        "Evaluation, PLoS ONE 9(1):e86041, 2014; the few clips of sadness and fear are left out"
    ),
)

_SAMM_FIVE_CLASS = LabelSpace(
    name="samm_5class",
    classes=("anger", "contempt", "happiness", "surprise", "others"),
    merge=_merge(
        ("anger", (Emotion.ANGER,)),
        ("contempt", (Emotion.CONTEMPT,)),
        ("happiness", (Emotion.HAPPINESS,)),
        ("surprise", (Emotion.SURPRISE,)),
        ("others", (Emotion.OTHERS,)),
    ),
    citation=(
        "Davison et al., SAMM: A Spontaneous Micro-Facial Movement Dataset, IEEE Transactions on "
        "Affective Computing 9(1):116-129, 2018; the five classes of more than ten clips, as is "
        "usual in evaluations on it (disgust 9, fear 8 and sadness 6 clips are left out)"
    ),
)

_SAMM_BASIC_FIVE_CLASS = LabelSpace(
    name="samm_basic_5class",
    classes=("happiness", "surprise", "anger", "disgust", "fear"),
    merge=_merge(
        ("happiness", (Emotion.HAPPINESS,)),
        ("surprise", (Emotion.SURPRISE,)),
        ("anger", (Emotion.ANGER,)),
        ("disgust", (Emotion.DISGUST,)),
        ("fear", (Emotion.FEAR,)),
    ),
    citation=(
        "Liu et al., How to Synthesize a Large-Scale and Trainable Micro-Expression Dataset?, ECCV "
        "2022 (MiE-X), footnote 4; the paper has 72 clips in them and does not list which"
    ),
)

_CASME3_SEVEN_CLASS = LabelSpace(
    name="casme3_7class",
    classes=("happiness", "anger", "fear", "disgust", "surprise", "sadness", "others"),
    merge=_merge(
        ("happiness", (Emotion.HAPPINESS,)),
        ("anger", (Emotion.ANGER,)),
        ("fear", (Emotion.FEAR,)),
        ("disgust", (Emotion.DISGUST,)),
        ("surprise", (Emotion.SURPRISE,)),
        ("sadness", (Emotion.SADNESS,)),
        ("others", (Emotion.OTHERS,)),
    ),
    citation=(
        "Li et al., CAS(ME)3: A Third Generation Facial Spontaneous Micro-Expression Database "
        "With Depth Information and High Ecological Validity, IEEE Transactions on Pattern "
        "Analysis and Machine Intelligence 45(3):2782-2800, 2023"
    ),
)

_MMEW_SIX_CLASS = LabelSpace(
    name="mmew_6class",
    classes=("happiness", "surprise", "anger", "disgust", "fear", "sadness"),
    merge=_merge(
        ("happiness", (Emotion.HAPPINESS,)),
        ("surprise", (Emotion.SURPRISE,)),
        ("anger", (Emotion.ANGER,)),
        ("disgust", (Emotion.DISGUST,)),
        ("fear", (Emotion.FEAR,)),
        ("sadness", (Emotion.SADNESS,)),
    ),
    citation=(
        "Ben et al., Video-Based Facial Micro-Expression Analysis: A Survey of Datasets, Features "
        "and Algorithms, IEEE Transactions on Pattern Analysis and Machine Intelligence "
        "44(9):5826-5846, 2022; the 66 clips of others are left out"
    ),
)

LABEL_SPACES: Mapping[str, LabelSpace] = {
    space.name: space
    for space in (
        _THREE_CLASS,
        _CASME2_FIVE_CLASS,
        _SAMM_FIVE_CLASS,
        _SAMM_BASIC_FIVE_CLASS,
        _MMEW_SIX_CLASS,
        _CASME3_SEVEN_CLASS,
    )
}
"""Label spaces by name. `three_class` is the default of synthesized datasets."""


def find_label_space(name: str) -> LabelSpace:
    """Return a label space by name.

    Raises:
        ValueError: There is no such label space; the message lists all.
    """
    if name not in LABEL_SPACES:
        raise ValueError(f"no label space is called {name!r}; there are: {', '.join(LABEL_SPACES)}")
    return LABEL_SPACES[name]
