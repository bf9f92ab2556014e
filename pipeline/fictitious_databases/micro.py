"""Fictitious micro-expression databases with the layouts and irregularities of the real ones."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from miex.pipeline.fictitious_databases.clip_renderer import (
    ClipRenderer,
    ClipSpec,
    write_image,
    write_sheet,
)


def _specs(
    subjects: int, clips: int, repertoire: Sequence[tuple[str, str]], name: str, onset: int
) -> Iterator[ClipSpec]:
    """Yield the clips of all subjects.

    Args:
        subjects: Number of subjects.
        clips: Number of clips per subject.
        repertoire: Pairs of emotion and AUs, assigned to the clips in turn.
        name: Format of the clip names, with ``{subject}`` and ``{clip}``.
        onset: Frame number near which the clips start. It is chosen such that the frame numbers of
            some clips have different numbers of digits.
    """
    for subject in range(1, subjects + 1):
        for clip in range(1, clips + 1):
            emotion, aus = repertoire[((subject - 1) * clips + clip - 1) % len(repertoire)]
            start = onset + subject + 2 * clip
            title = name.format(subject=subject, clip=clip)
            yield ClipSpec(subject, title, emotion, aus, start, start + 5, start + 9)


def write_casme2(folder: Path, renderer: ClipRenderer, subjects: int, clips: int) -> None:
    """Write CASME II with its raw frames and the sheet of 2019."""
    repertoire = [
        *[("disgust", "4"), ("happiness", "L12"), ("surprise", "1+2"), ("others", "4+7")],
        *[("repression", "R14"), ("sadness", "15")],
    ]
    rows: list[list[object]] = [["Subject", "Filename", None, "OnsetFrame", "ApexFrame"]]
    rows[0] += ["OffsetFrame", None, "Action Units", "Estimated Emotion"]
    images = folder / "CASME2_RAW_selected" / "CASME2_RAW_selected"
    specs = list(_specs(subjects, clips, repertoire, "EP02_{clip:02}f", onset=90))
    renderer.note("equal clip names for all subjects; frame numbers without padding pass 99 to 100")
    for index, spec in enumerate(specs):
        clip = images / f"sub{spec.subject:02}" / spec.clip
        apex: int | str = spec.apex
        offset = spec.offset
        missing = set()
        if index == 0:
            missing = {spec.onset + 2}
            renderer.note(f"sub01/{spec.clip}: frame {spec.onset + 2} is missing")
        elif index == 1:
            apex = "/"
            renderer.note(f"sub01/{spec.clip}: the apex is '/'")
        elif index == 2:
            offset = spec.onset - 80
            renderer.note(f"sub01/{spec.clip}: offset {offset} is before the onset {spec.onset}")
        if index == len(specs) - 1:
            renderer.note(f"sub{spec.subject:02}/{spec.clip}: the folder of frames is missing")
        else:
            for number, frame in renderer.frames(spec).items():
                if number not in missing:
                    write_image(clip / f"img{number}.jpg", frame)
        aus: object = int(spec.aus) if spec.aus.isdigit() else spec.aus
        rows.append([spec.subject, spec.clip, None, spec.onset, apex, offset, None])
        rows[-1] += [aus, spec.emotion]
    (images / "sub01" / specs[0].clip / ".DS_Store").write_bytes(b"\0")
    (images / "sub01" / specs[0].clip / "Thumbs.db").write_bytes(b"\0")
    rows.append([None] * 9)
    write_sheet(folder / "CASME2-coding-20190701.xlsx", rows)
    renderer.listed += len(specs)


def write_samm(folder: Path, renderer: ClipRenderer, subjects: int, clips: int) -> None:
    """Write SAMM with grey frames and with notes above the table."""
    repertoire = [
        *[("Anger", "4"), ("Happiness", "R12 or R15"), ("Surprise", "A1B + A2C"), ("Other", "7")],
        *[("Contempt", "R14A"), ("Sadness", "15 + 17")],
    ]
    classes = {"Anger": 3, "Happiness": 1, "Surprise": 2, "Contempt": 7, "Sadness": 5, "Other": 7}
    notes: list[list[object]] = [[f"Note {line} of thirteen above the table"] for line in range(13)]
    header: list[object] = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame"]
    header += ["Offset Frame", "Duration", "Micro", "Action Units", "Estimated Emotion"]
    rows = [*notes, [*header, "Objective Classes", "Notes"]]
    renderer.note("thirteen rows of notes above the header; subject numbers without zero-padding")
    renderer.note("frame numbers have four digits in some clips and five digits in others")
    specs = list(_specs(subjects, clips, repertoire, "{subject:03}_{clip}_1", onset=985))
    for index, spec in enumerate(specs):
        width = 4 + index % 2
        stated = spec
        if index == 1:
            stated = replace(spec, apex=spec.offset + 40)
            renderer.note(f"{spec.clip}: apex {stated.apex} is after the offset {spec.offset}")
        if "or" in spec.aus:
            renderer.note(f"{spec.clip}: the AUs are {spec.aus!r}")
        if index == len(specs) - 1:
            renderer.note(f"{spec.clip}: the folder of frames is missing")
        else:
            for number, frame in renderer.frames(spec).items():
                name = f"{spec.subject:03}_{number:0{width}}.jpg"
                write_image(folder / f"{spec.subject:03}" / spec.clip / name, frame, grey=True)
        length = spec.offset - spec.onset + 1
        row: list[object] = [spec.subject, spec.clip, int(spec.clip.split("_")[1]), stated.onset]
        row += [stated.apex, stated.offset, length, "Micro - 1/2", spec.aus, spec.emotion]
        rows.append([*row, classes[spec.emotion], None])
    write_sheet(folder / "SAMM_Micro_FACS_Codes_v2.xlsx", rows)
    renderer.listed += len(specs)


def write_smic(folder: Path, renderer: ClipRenderer, subjects: int, clips: int) -> None:
    """Write SMIC-HS with its raw frames and without a sheet."""
    kinds = [("negative", "ne"), ("positive", "po"), ("surprise", "sur")]
    hs = folder / "SMIC_all_raw" / "HS"
    renderer.note("no sheet, no apex and no AUs; frames are numbered over the whole session")
    for spec in _specs(subjects, clips, [(kind, "") for kind, _ in kinds], "{clip:02}", 559990):
        name = f"s{spec.subject}_{dict(kinds)[spec.emotion]}_{spec.clip}"
        clip = hs / f"s{spec.subject}" / "micro" / spec.emotion / name
        renderer.listed += 1
        if spec.subject == subjects and int(spec.clip) == clips:
            clip.mkdir(parents=True)
            renderer.note(f"{name}: the folder is empty")
            continue
        skipped = spec.onset + 3 if spec.subject == 1 and spec.clip == "01" else None
        if skipped:
            renderer.note(f"{name}: frame {skipped} is missing")
        for number, frame in renderer.frames(spec).items():
            if number != skipped:
                write_image(clip / f"image{number}.bmp", frame)
    still = ClipSpec(1, "non_micro", "negative", "", 1, 1, 1)
    write_image(hs / "s1" / "non_micro" / "s1_non_01" / "image1.bmp", renderer.frames(still)[1])
    renderer.note("a folder non_micro exists beside the folder micro")


def write_mmew(folder: Path, renderer: ClipRenderer, subjects: int, clips: int) -> None:
    """Write the micro-expressions of MMEW, with one folder per emotion."""
    repertoire = [
        *[("happiness", "12"), ("surprise", "1+2+5"), ("disgust", "4+10"), ("others", "14")],
        *[("fear", "4+5"), ("anger", "4+7")],
    ]
    rows: list[list[object]] = [["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame"]]
    rows[0] += ["Action Units", "Estimated Emotion", "remarks"]
    specs = list(_specs(subjects, clips, repertoire, "S{subject:02}-{clip:02}-001", onset=0))
    for index, spec in enumerate(specs):
        place, stated = spec.emotion, spec
        if index == 0:
            place = "sadness"
            renderer.note(f"{spec.clip}: is in the folder sadness; its emotion is {spec.emotion}")
        elif index == 1:
            stated = replace(spec, apex=spec.offset + 20, offset=spec.offset + 30)
            renderer.note(f"{spec.clip}: apex {stated.apex} and offset are after the last frame")
        elif spec.emotion == "others":
            place = "repression"
            renderer.note(f"{spec.clip}: is in the folder repression; its emotion is others")
        for number, frame in renderer.frames(spec).items():
            write_image(folder / "Micro_Expression" / place / spec.clip / f"{number}.jpg", frame)
        rows.append([f"S{spec.subject:02}", spec.clip, stated.onset, stated.apex, stated.offset])
        rows[-1] += [spec.aus, spec.emotion, None]
    write_sheet(folder / "MMEW_Micro_Exp.xlsx", rows)
    renderer.listed += len(specs)


def write_casme3(folder: Path, renderer: ClipRenderer, subjects: int, clips: int) -> None:
    """Write parts A (whole videos) and C of CAS(ME)3."""
    repertoire = [
        *[("disgust", "4"), ("surprise", "2+1"), ("Others", "R14"), ("happy", "24+T18+16")],
        *[("sad", "9+4"), ("anger", "14")],
    ]
    classes = {"4": "III", "2+1": "II", "R14": "VII", "24+T18+16": "VII", "9+4": "IV", "14": "VII"}
    header = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]
    rows: list[list[object]] = [[*header]]
    renderer.note("every cell is text; two empty sheets; two clips per video; folders named spNo")
    specs = list(_specs(subjects, clips, repertoire, "{clip}", onset=95))
    for index, spec in enumerate(specs):
        video = "abcdefghijklm"[(int(spec.clip) - 1) // 2]
        spec = replace(spec, onset=spec.onset + 20, apex=spec.apex + 20, offset=spec.offset + 20) \
            if int(spec.clip) % 2 == 0 else spec  # fmt: skip
        stated = spec
        if index == 0:
            stated = replace(spec, apex=spec.onset)
            renderer.note(f"spNO.1 {video}_{spec.onset}: the apex is the onset")
        elif index == 1:
            stated = replace(spec, offset=0)
            renderer.note(f"spNO.1 {video}_{spec.onset}: the offset is 0")
        elif index == 2:
            stated = replace(spec, apex=spec.onset - 29)
            renderer.note(f"spNO.1 {video}_{spec.onset}: apex {stated.apex} is before the onset")
        for number, frame in renderer.frames(spec).items():
            path = folder / "part_A" / f"spNo.{spec.subject}" / video / "color" / f"{number}.jpg"
            write_image(path, frame)
        shown = video.upper() if index == len(specs) - 1 else video
        numbers = [str(stated.onset), str(stated.apex), str(stated.offset)]
        rows.append([f"spNO.{spec.subject}", shown, *numbers, spec.aus])
        rows[-1] += [classes[spec.aus], spec.emotion]
    renderer.note("the sheet spells the letter of the last video in upper case")
    name = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
    write_sheet(folder / name, rows, "label", ("Sheet1", "Sheet3"))
    renderer.listed += len(specs)
    _write_casme3_part_c(folder, renderer, subjects)


def _write_casme3_part_c(folder: Path, renderer: ClipRenderer, subjects: int) -> None:
    rows: list[list[object]] = [["sub", "count", "onset", "offset", "au", "emotion"]]
    renderer.note("part C: no apex; an AU as a number; a trailing comma; a fullwidth comma")
    cells: list[tuple[object, str, str]] = [
        (4, "4", "negative"),
        ("L14,24,", "L14+24", "others"),
        ("4\N{FULLWIDTH COMMA}10", "4+10", "surprise"),
    ]
    for subject in range(1, subjects + 1):
        for count, (cell, aus, emotion) in enumerate(cells, start=1):
            spec = ClipSpec(subject, str(count), emotion, aus, 300 * count, 300 * count + 4, 0)
            spec = replace(spec, offset=spec.onset + 9)
            for number, frame in renderer.frames(spec).items():
                path = folder / "part_C" / f"{subject:02}" / "color" / f"{number}.jpg"
                write_image(path, frame)
            rows.append([subject, count, spec.onset, spec.offset, cell, emotion])
    write_sheet(folder / "CAS(ME)3_part_C_ME.xlsx", rows, "mockCrimeME")


def write_fourdme(folder: Path, renderer: ClipRenderer, subjects: int, clips: int) -> None:
    """Write 4DME with grey frames and coarse emotions, of which some clips have several."""
    repertoire = [
        *[("Positive", "AU12"), ("Negative", "AU4+AU7(k)"), ("Surprise", "AU1+AU2")],
        *[
            ("Negative+Repression", "AU4+AU17"),
            ("Surprise+Positive", "AU1+AU12"),
            ("Others", "AU7"),
        ],
    ]
    names = ("Positive", "Negative", "Surprise", "Repression", "Others")
    rows: list[list[object]] = [["sub_ID", "fold_name", "Onset", "Apex", "Offset", "AUs"]]
    rows[0] += ["Emotion", *names, "eye blink"]
    specs = list(_specs(subjects, clips, repertoire, "1st_{clip:03}_01_1", onset=2490))
    renderer.note("several emotions in one clip; doubtful AUs marked with '(k)'")
    for index, spec in enumerate(specs):
        subject = f"S{spec.subject:02}"
        shift = 0
        if index == 0:
            shift = 1 - spec.onset
            renderer.note(f"{subject}/{spec.clip}: frame files are numbered from 1")
        plain = replace(spec, aus=spec.aus.replace("AU7(k)", "").rstrip("+"))
        for number, frame in renderer.frames(plain).items():
            path = folder / "gray_micro" / subject / spec.clip / f"{number + shift:05}.jpg"
            write_image(path, frame, grey=True)
        marks = [int(name in spec.emotion.split("+")) for name in names]
        rows.append([subject, spec.clip, spec.onset, spec.apex, spec.offset, spec.aus])
        rows[-1] += [spec.emotion, *marks, 0]
    write_sheet(folder / "4DME_Labelling_Micro_release v1.xlsx", rows)
    renderer.listed += len(specs)


def write_clip_table(folder: Path, renderer: ClipRenderer, subjects: int, clips: int) -> None:
    """Write a user's own clips: a CSV table, and a folder of frames for each clip."""
    repertoire = [("happiness", "6+12"), ("surprise", "1+2"), ("disgust", "4"), ("sadness", "")]
    rows = [["subject", "clip", "emotion", "onset", "apex", "offset", "aus", "fps", "frames"]]
    renderer.note("clips of the emotion sadness have neither AUs nor an apex")
    for index, spec in enumerate(_specs(subjects, clips, repertoire, "c{clip}", onset=90)):
        subject = f"p{spec.subject}"
        place = f"frames/{subject}/{spec.clip}"
        if index == 0:
            place = "elsewhere/first"
            renderer.note(f"{subject}/{spec.clip}: its frames are in {place}")
        for number, frame in renderer.frames(spec).items():
            write_image(folder / place / f"{number:04}.png", frame)
        apex = str(spec.apex) if spec.aus else ""
        rows.append([subject, spec.clip, spec.emotion, str(spec.onset), apex, str(spec.offset)])
        rows[-1] += [spec.aus, "200", place if index == 0 else ""]
    with (folder / "clip_table.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    renderer.listed += len(rows) - 1
