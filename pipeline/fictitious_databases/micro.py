"""Fictitious micro-expression databases in the real layouts, with the quirks of the real ones."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from miex.pipeline.fictitious_databases.artist import Artist, Take, write_image, write_sheet

Repertoire = Sequence[tuple[str, str]]
"""Emotion and AU text of clip after clip."""


def _takes(
    subjects: int, clips: int, repertoire: Repertoire, name: str, onset: int
) -> Iterator[Take]:
    """Takes whose frame numbers pass from two digits to three, or from three to four."""
    for subject in range(1, subjects + 1):
        for clip in range(1, clips + 1):
            emotion, aus = repertoire[((subject - 1) * clips + clip - 1) % len(repertoire)]
            start = onset + subject + 2 * clip
            title = name.format(subject=subject, clip=clip)
            yield Take(subject, title, emotion, aus, start, start + 5, start + 9)


def write_casme2(folder: Path, artist: Artist, subjects: int, clips: int) -> None:
    """CASME II: raw frames and the sheet of 2019."""
    repertoire = [
        *[("disgust", "4"), ("happiness", "L12"), ("surprise", "1+2"), ("others", "4+7")],
        *[("repression", "R14"), ("sadness", "15")],
    ]
    rows: list[list[object]] = [["Subject", "Filename", None, "OnsetFrame", "ApexFrame"]]
    rows[0] += ["OffsetFrame", None, "Action Units", "Estimated Emotion"]
    images = folder / "CASME2_RAW_selected" / "CASME2_RAW_selected"
    takes = list(_takes(subjects, clips, repertoire, "EP02_{clip:02}f", onset=90))
    artist.plant("the same file names for every subject; numbers without padding across 99 to 100")
    for index, take in enumerate(takes):
        clip = images / f"sub{take.subject:02}" / take.clip
        apex: int | str = take.apex
        offset = take.offset
        missing = set()
        if index == 0:
            missing = {take.onset + 2}
            artist.plant(f"sub01/{take.clip}: frame {take.onset + 2} is not there")
        elif index == 1:
            apex = "/"
            artist.plant(f"sub01/{take.clip}: apex '/'")
        elif index == 2:
            offset = take.onset - 80
            artist.plant(f"sub01/{take.clip}: offset {offset} before the onset {take.onset}")
        if index == len(takes) - 1:
            artist.plant(f"sub{take.subject:02}/{take.clip}: no folder of frames")
        else:
            for number, frame in artist.frames(take).items():
                if number not in missing:
                    write_image(clip / f"img{number}.jpg", frame)
        aus: object = int(take.aus) if take.aus.isdigit() else take.aus
        rows.append([take.subject, take.clip, None, take.onset, apex, offset, None])
        rows[-1] += [aus, take.emotion]
    (images / "sub01" / takes[0].clip / ".DS_Store").write_bytes(b"\0")
    (images / "sub01" / takes[0].clip / "Thumbs.db").write_bytes(b"\0")
    rows.append([None] * 9)
    write_sheet(folder / "CASME2-coding-20190701.xlsx", rows)
    artist.listed += len(takes)


def write_samm(folder: Path, artist: Artist, subjects: int, clips: int) -> None:
    """SAMM: grey frames, notes above the table."""
    repertoire = [
        *[("Anger", "4"), ("Happiness", "R12 or R15"), ("Surprise", "A1B + A2C"), ("Other", "7")],
        *[("Contempt", "R14A"), ("Sadness", "15 + 17")],
    ]
    classes = {"Anger": 3, "Happiness": 1, "Surprise": 2, "Contempt": 7, "Sadness": 5, "Other": 7}
    notes: list[list[object]] = [[f"Note {line} of thirteen above the table"] for line in range(13)]
    header: list[object] = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame"]
    header += ["Offset Frame", "Duration", "Micro", "Action Units", "Estimated Emotion"]
    rows = [*notes, [*header, "Objective Classes", "Notes"]]
    artist.plant("thirteen rows of notes above the header; subjects without padding in the sheet")
    artist.plant("file numbers padded to four digits in some clips and to five in others")
    takes = list(_takes(subjects, clips, repertoire, "{subject:03}_{clip}_1", onset=985))
    for index, take in enumerate(takes):
        width = 4 + index % 2
        stated = take
        if index == 1:
            stated = replace(take, apex=take.offset + 40)
            artist.plant(f"{take.clip}: apex {stated.apex} after the offset {take.offset}")
        if "or" in take.aus:
            artist.plant(f"{take.clip}: AU text {take.aus!r}")
        if index == len(takes) - 1:
            artist.plant(f"{take.clip}: no folder of frames")
        else:
            for number, frame in artist.frames(take).items():
                name = f"{take.subject:03}_{number:0{width}}.jpg"
                write_image(folder / f"{take.subject:03}" / take.clip / name, frame, grey=True)
        length = take.offset - take.onset + 1
        row: list[object] = [take.subject, take.clip, int(take.clip.split("_")[1]), stated.onset]
        row += [stated.apex, stated.offset, length, "Micro - 1/2", take.aus, take.emotion]
        rows.append([*row, classes[take.emotion], None])
    write_sheet(folder / "SAMM_Micro_FACS_Codes_v2.xlsx", rows)
    artist.listed += len(takes)


def write_smic(folder: Path, artist: Artist, subjects: int, clips: int) -> None:
    """SMIC-HS: raw frames, no sheet."""
    kinds = [("negative", "ne"), ("positive", "po"), ("surprise", "sur")]
    hs = folder / "SMIC_all_raw" / "HS"
    artist.plant("no sheet, no apex, no AUs; counters of a whole session as frame numbers")
    for take in _takes(subjects, clips, [(kind, "") for kind, _ in kinds], "{clip:02}", 559990):
        name = f"s{take.subject}_{dict(kinds)[take.emotion]}_{take.clip}"
        clip = hs / f"s{take.subject}" / "micro" / take.emotion / name
        artist.listed += 1
        if take.subject == subjects and int(take.clip) == clips:
            clip.mkdir(parents=True)
            artist.plant(f"{name}: an empty folder")
            continue
        skipped = take.onset + 3 if take.subject == 1 and take.clip == "01" else None
        if skipped:
            artist.plant(f"{name}: frame {skipped} is not there")
        for number, frame in artist.frames(take).items():
            if number != skipped:
                write_image(clip / f"image{number}.bmp", frame)
    still = Take(1, "non_micro", "negative", "", 1, 1, 1)
    write_image(hs / "s1" / "non_micro" / "s1_non_01" / "image1.bmp", artist.frames(still)[1])
    artist.plant("a folder non_micro beside micro")


def write_mmew(folder: Path, artist: Artist, subjects: int, clips: int) -> None:
    """MMEW, micro-expressions: a folder an emotion."""
    repertoire = [
        *[("happiness", "12"), ("surprise", "1+2+5"), ("disgust", "4+10"), ("others", "14")],
        *[("fear", "4+5"), ("anger", "4+7")],
    ]
    rows: list[list[object]] = [["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame"]]
    rows[0] += ["Action Units", "Estimated Emotion", "remarks"]
    takes = list(_takes(subjects, clips, repertoire, "S{subject:02}-{clip:02}-001", onset=0))
    for index, take in enumerate(takes):
        place, stated = take.emotion, take
        if index == 0:
            place = "sadness"
            artist.plant(f"{take.clip}: lies in the folder sadness, the sheet says {take.emotion}")
        elif index == 1:
            stated = replace(take, apex=take.offset + 20, offset=take.offset + 30)
            artist.plant(f"{take.clip}: apex {stated.apex} and offset beyond the last frame")
        elif take.emotion == "others":
            place = "repression"
            artist.plant(f"{take.clip}: others lies in the folder repression")
        for number, frame in artist.frames(take).items():
            write_image(folder / "Micro_Expression" / place / take.clip / f"{number}.jpg", frame)
        rows.append([f"S{take.subject:02}", take.clip, stated.onset, stated.apex, stated.offset])
        rows[-1] += [take.aus, take.emotion, None]
    write_sheet(folder / "MMEW_Micro_Exp.xlsx", rows)
    artist.listed += len(takes)


def write_casme3(folder: Path, artist: Artist, subjects: int, clips: int) -> None:
    """CAS(ME)3 parts A (whole videos) and C."""
    repertoire = [
        *[("disgust", "4"), ("surprise", "2+1"), ("Others", "R14"), ("happy", "24+T18+16")],
        *[("sad", "9+4"), ("anger", "14")],
    ]
    classes = {"4": "III", "2+1": "II", "R14": "VII", "24+T18+16": "VII", "9+4": "IV", "14": "VII"}
    header = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]
    rows: list[list[object]] = [[*header]]
    artist.plant("every cell is text; two empty sheets; two clips in each video; folders spNo")
    takes = list(_takes(subjects, clips, repertoire, "{clip}", onset=95))
    for index, take in enumerate(takes):
        video = "abcdefghijklm"[(int(take.clip) - 1) // 2]
        take = replace(take, onset=take.onset + 20, apex=take.apex + 20, offset=take.offset + 20) \
            if int(take.clip) % 2 == 0 else take  # fmt: skip
        stated = take
        if index == 0:
            stated = replace(take, apex=take.onset)
            artist.plant(f"spNO.1 {video}_{take.onset}: the apex is the onset")
        elif index == 1:
            stated = replace(take, offset=0)
            artist.plant(f"spNO.1 {video}_{take.onset}: offset 0")
        elif index == 2:
            stated = replace(take, apex=take.onset - 29)
            artist.plant(f"spNO.1 {video}_{take.onset}: apex {stated.apex} before the onset")
        for number, frame in artist.frames(take).items():
            path = folder / "part_A" / f"spNo.{take.subject}" / video / "color" / f"{number}.jpg"
            write_image(path, frame)
        shown = video.upper() if index == len(takes) - 1 else video
        numbers = [str(stated.onset), str(stated.apex), str(stated.offset)]
        rows.append([f"spNO.{take.subject}", shown, *numbers, take.aus])
        rows[-1] += [classes[take.aus], take.emotion]
    artist.plant("the last video has an upper-case letter in the sheet")
    name = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
    write_sheet(folder / name, rows, "label", ("Sheet1", "Sheet3"))
    artist.listed += len(takes)
    _write_casme3_part_c(folder, artist, subjects)


def _write_casme3_part_c(folder: Path, artist: Artist, subjects: int) -> None:
    rows: list[list[object]] = [["sub", "count", "onset", "offset", "au", "emotion"]]
    artist.plant("part C: no apex; a number as AU; a comma too many; a fullwidth comma")
    cells: list[tuple[object, str, str]] = [
        (4, "4", "negative"),
        ("L14,24,", "L14+24", "others"),
        ("4\N{FULLWIDTH COMMA}10", "4+10", "surprise"),
    ]
    for subject in range(1, subjects + 1):
        for count, (cell, aus, emotion) in enumerate(cells, start=1):
            take = Take(subject, str(count), emotion, aus, 300 * count, 300 * count + 4, 0)
            take = replace(take, offset=take.onset + 9)
            for number, frame in artist.frames(take).items():
                path = folder / "part_C" / f"{subject:02}" / "color" / f"{number}.jpg"
                write_image(path, frame)
            rows.append([subject, count, take.onset, take.offset, cell, emotion])
    write_sheet(folder / "CAS(ME)3_part_C_ME.xlsx", rows, "mockCrimeME")


def write_fourdme(folder: Path, artist: Artist, subjects: int, clips: int) -> None:
    """4DME: grey videos, coarse emotions, several of them in some clips."""
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
    takes = list(_takes(subjects, clips, repertoire, "1st_{clip:03}_01_1", onset=2490))
    artist.plant("several emotions in a clip; doubtful AUs '(k)'")
    for index, take in enumerate(takes):
        subject = f"S{take.subject:02}"
        shift = 0
        if index == 0:
            shift = 1 - take.onset
            artist.plant(f"{subject}/{take.clip}: files counted from 1")
        plain = replace(take, aus=take.aus.replace("AU7(k)", "").rstrip("+"))
        for number, frame in artist.frames(plain).items():
            path = folder / "gray_micro" / subject / take.clip / f"{number + shift:05}.jpg"
            write_image(path, frame, grey=True)
        marks = [int(name in take.emotion.split("+")) for name in names]
        rows.append([subject, take.clip, take.onset, take.apex, take.offset, take.aus])
        rows[-1] += [take.emotion, *marks, 0]
    write_sheet(folder / "4DME_Labelling_Micro_release v1.xlsx", rows)
    artist.listed += len(takes)


def write_clip_table(folder: Path, artist: Artist, subjects: int, clips: int) -> None:
    """Clips of one's own: a CSV table and a folder of frames for each clip."""
    repertoire = [("happiness", "6+12"), ("surprise", "1+2"), ("disgust", "4"), ("sadness", "")]
    rows = [["subject", "clip", "emotion", "onset", "apex", "offset", "aus", "fps", "frames"]]
    artist.plant("the last clip of the repertoire has neither AUs nor an apex")
    for index, take in enumerate(_takes(subjects, clips, repertoire, "c{clip}", onset=90)):
        subject = f"p{take.subject}"
        place = f"frames/{subject}/{take.clip}"
        if index == 0:
            place = "elsewhere/first"
            artist.plant(f"{subject}/{take.clip}: its frames lie in {place}")
        for number, frame in artist.frames(take).items():
            write_image(folder / place / f"{number:04}.png", frame)
        apex = str(take.apex) if take.aus else ""
        rows.append([subject, take.clip, take.emotion, str(take.onset), apex, str(take.offset)])
        rows[-1] += [take.aus, "200", place if index == 0 else ""]
    with (folder / "clip_table.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    artist.listed += len(rows) - 1
