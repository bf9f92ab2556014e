"""A fictitious MEGC2019 composite with the clips, subjects and classes of the real one.

Each clip has three frames. Only a few frames are rendered and saved under many names, since the
composite is used to test protocols.
"""

from dataclasses import dataclass, field
from pathlib import Path

from miex.datasets.micro.megc2019 import EXPECTED, LIST_FILE
from miex.pipeline.fictitious_databases.clip_renderer import (
    ClipRenderer,
    ClipSpec,
    write_image,
    write_sheet,
)

_SUBJECTS = {
    "casme2": [*range(1, 10), *range(11, 18), *range(19, 27)],
    "smic": [1, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 14, 15, 18, 19, 20],
    "samm": [6, 7, *range(9, 25), 26, 28, 30, 31, 32, 33, 34, 35, 36, 37],
}
"""Numbers of the subjects in the composite."""

_EMOTIONS = ("disgust", "happiness", "surprise")
_AUS = ("4+9", "12", "1+2")
"""Emotion and AUs of the clips of each class."""


@dataclass(slots=True)
class _FrameFiles:
    """Encoded frames, each of which is rendered once."""

    folder: Path
    renderer: ClipRenderer
    known: dict[tuple[int, int, str], list[bytes]] = field(default_factory=dict)

    def of(self, subject: int, label: int, suffix: str) -> list[bytes]:
        """Return the encoded onset, apex and offset of a subject's face in one class."""
        face = subject % len(self.renderer.faces) + 1
        key = (face, label, suffix)
        if key not in self.known:
            spec = ClipSpec(face, "", _EMOTIONS[label], _AUS[label], 1, 2, 3)
            path = self.folder / f"print{suffix}"
            self.known[key] = []
            for frame in self.renderer.frames(spec).values():
                write_image(path, frame, grey=suffix == ".png")
                self.known[key].append(path.read_bytes())
            path.unlink()
        return self.known[key]


def write_megc2019(folder: Path, renderer: ClipRenderer) -> None:
    """Write the list of clips, and the three databases in the folders casme2, smic and samm."""
    files = _FrameFiles(folder, renderer)
    lines: list[str] = []
    casme2: list[list[object]] = [["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame"]]
    casme2[0] += ["Action Units", "Estimated Emotion"]
    samm: list[list[object]] = [["Subject", "Filename", "Onset Frame", "Apex Frame"]]
    samm[0] += ["Offset Frame", "Action Units", "Estimated Emotion", "Objective Classes"]
    for database, subject, count, label in _clips():
        cells: list[object] = [100, 101, 102, _AUS[label]]
        if database == "casme2":
            clip = f"EP{label:02}_{count:02}f"
            casme2.append([subject, clip, *cells, _EMOTIONS[label]])
            listed = f"sub{subject:02}"
            place, stem = f"CASME2_RAW_selected/sub{subject:02}/{clip}", "img{}.jpg"
        elif database == "samm":
            clip = f"{subject:03}_{label + 1}_{count}"
            samm.append([subject, clip, *cells, _EMOTIONS[label].title(), label + 1])
            listed = str(subject)
            place, stem = f"{subject:03}/{clip}", f"{subject:03}_0{{}}.jpg"
        else:
            kind, code = (("negative", "ne"), ("positive", "po"), ("surprise", "sur"))[label]
            clip = f"s{subject:02}_{code}_{count:02}"
            listed = f"s{subject:02}"
            own = f"s{subject}_{code}_{count:02}"
            place, stem = f"SMIC_all_raw/HS/s{subject}/micro/{kind}/{own}", "image{}.jpg"
        target = folder / database / place
        target.mkdir(parents=True)
        for number, data in zip(cells, files.of(subject, label, ".jpg"), strict=False):
            (target / stem.format(number)).write_bytes(data)
        lines.append(f"{database},{listed},{clip},{label}")
    write_sheet(folder / "casme2" / "CASME2-coding-20190701.xlsx", casme2)
    write_sheet(folder / "samm" / "SAMM_Micro_FACS_Codes_v2.xlsx", samm)
    (folder / LIST_FILE).write_bytes("\r\n".join([*lines, ""]).encode())
    renderer.note("subject numbers are zero-padded in the list for SMIC and in the folders of SAMM")
    renderer.listed += len(lines)


def _clips() -> list[tuple[str, int, int, int]]:
    """Return (database, subject, number of the clip in subject and class, label) of every clip.

    Every second clip is assigned to the subjects in turn and the others in blocks, so that many
    subjects lack a class, as in the real composite.
    """
    clips: list[tuple[str, int, int, int]] = []
    for database, counts in EXPECTED.items():
        subjects = _SUBJECTS[database]
        labels = [label for label, count in enumerate(counts) for _ in range(count)]
        so_far: dict[tuple[int, int], int] = {}
        for index, label in enumerate(labels):
            turn = index % len(subjects) if index % 2 else index * len(subjects) // len(labels)
            key = (subjects[turn], label)
            so_far[key] = so_far.get(key, 0) + 1
            clips.append((database, subjects[turn], so_far[key], label))
    return clips
