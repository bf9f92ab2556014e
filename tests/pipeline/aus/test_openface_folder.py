"""Pools of OpenFace's own CSVs: which CSV belongs to a clip, and which frame to which number."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from miex.au_sources.action_units import AU_NAMES
from miex.au_sources.estimators.openface import INTENSITY_COLUMNS
from miex.au_sources.extraction import Extraction
from miex.datasets.clips.base import Clip, open_clips
from miex.datasets.config import build
from miex.pipeline.aus.extraction import AUExtractionConfig, extract_aus
from miex.pipeline.fictitious_databases.write import write_fictitious

AU12, AU45 = AU_NAMES.index("AU12"), AU_NAMES.index("AU45")
VIDEO = ("frame", "face_id", "timestamp", "confidence", "success")
IMAGE = ("face", "confidence")


@pytest.fixture(scope="module")
def databases(sample_table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("databases")
    specs = {
        name: write_fictitious(name, folder / name, 2, 4, faces=sample_table).spec
        for name in ("casme2", "ckplus", "samm")
    }
    # The annotation is enough: no image is left.
    shutil.rmtree(folder / "ckplus" / "cohn-kanade-images")
    return specs


def value(clip: Clip, number: int) -> float:
    """AU12 of a frame: different in every clip and frame, with two decimals."""
    start = sum(map(ord, clip.subject + clip.clip)) % 100 / 100
    return round(start + 0.03 * (number - clip.onset), 2)


def write(path: Path, rows: Iterable[dict], meta: Sequence[str], separator: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [*meta, *INTENSITY_COLUMNS, "AU28_c"]
    lines = [separator.join(columns)]
    for row in rows:
        filled = dict.fromkeys(INTENSITY_COLUMNS, "0.10") | {"AU28_c": "0.0"}
        filled |= {"face": 0, "face_id": 0, "timestamp": "0.000", "success": 1} | row
        lines.append(separator.join(str(filled[name]) for name in columns))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def of_video(clip: Clip, numbers: Sequence[int], first: int = 1) -> list[dict]:
    return [
        {"frame": at, "confidence": 0.98, "AU12_r": value(clip, number)}
        for at, number in enumerate(numbers, start=first)
    ]


def extracted(spec: str, folder: Path, **fields: object) -> Extraction:
    values = {"clips": spec, "estimator": f"openface:{folder}"} | fields
    return extract_aus(build(AUExtractionConfig, values))


def check(found: Extraction, spec: str, numbers_of: Callable[[Clip], Sequence[int]]) -> None:
    """Check that every pair has the values that were written for its frames."""
    clips = {clip.key: clip for clip in open_clips(spec, frames=False).clips()}
    assert len(found.pool)
    for pair in found.pool:
        clip = clips[pair.dataset, pair.subject, pair.clip]
        assert pair.onset_frame in numbers_of(clip)
        assert pair.onset[AU12] == pytest.approx(value(clip, pair.onset_frame))
        assert pair.apex[AU12] == pytest.approx(value(clip, pair.apex_frame))
        assert pair.apex[AU45] == pytest.approx(0.1)
        assert pair.estimator.startswith("openface (OpenFace 2, CSV)")


def spanned(clip: Clip) -> list[int]:
    return list(range(clip.onset, clip.offset + 1))


def by_path(clip: Clip) -> str:
    return f"{clip.subject}/{clip.clip}.csv"


@pytest.mark.parametrize("separator", [", ", ","])
@pytest.mark.parametrize(
    "name",
    [
        by_path,
        lambda clip: f"processed/{clip.subject.upper()}/{clip.clip}.csv",
        lambda clip: f"{clip.subject}/{clip.clip}/{clip.clip}.csv",
        lambda clip: f"{int(clip.subject[-3:])}/any/{clip.clip}/out.csv",
        lambda clip: f"{clip.subject}_{clip.clip}.csv",
    ],
)
def test_a_csv_per_clip_is_found_by_path_or_name(
    databases: dict[str, str],
    tmp_path: Path,
    separator: str,
    name: Callable[[Clip], str],
) -> None:
    spec = databases["ckplus"]
    clips = open_clips(spec, frames=False).clips()
    for clip in clips:
        write(tmp_path / name(clip), of_video(clip, spanned(clip)), VIDEO, separator)
    found = extracted(spec, tmp_path, source="early_mae")
    check(found, spec, spanned)
    assert found.counts["clips with pairs"] == len(clips)
    assert found.reasons.get("no_csv", 0) == 0


def test_a_name_without_the_subject_must_be_unique(
    databases: dict[str, str], tmp_path: Path
) -> None:
    for clip in open_clips(databases["samm"], frames=False).clips():
        write(tmp_path / f"{clip.clip}.csv", of_video(clip, spanned(clip)), VIDEO, ",")
    check(extracted(databases["samm"], tmp_path), databases["samm"], spanned)
    other = tmp_path / "other"
    for clip in open_clips(databases["ckplus"], frames=False).clips():
        write(other / f"{clip.clip}.csv", of_video(clip, spanned(clip)), VIDEO, ",")
    with pytest.raises(ValueError, match=r"no_csv.*--csv-map"):
        extracted(databases["ckplus"], other, source="early_mae").write(tmp_path / "p.parquet")


@pytest.mark.parametrize("separator", [", ", ","])
def test_single_images_are_numbered_by_their_names(
    databases: dict[str, str], tmp_path: Path, separator: str
) -> None:
    spec = databases["casme2"]
    for clip in open_clips(spec, frames=False).clips():
        for number in spanned(clip):
            rows = [
                {"confidence": 0.6, "AU12_r": 4.5, "face": 0},
                {"confidence": 0.95, "AU12_r": value(clip, number), "face": 1},
            ]
            path = tmp_path / clip.subject / clip.clip / f"img{number}.csv"
            write(path, rows, IMAGE, separator)
    check(extracted(spec, tmp_path, track=True), spec, spanned)


def test_the_clearest_of_several_faces_is_read(databases: dict[str, str], tmp_path: Path) -> None:
    spec = databases["ckplus"]
    for clip in open_clips(spec, frames=False).clips():
        rows = of_video(clip, spanned(clip))
        bystanders = [row | {"face_id": 1, "confidence": 0.3, "AU12_r": 4.0} for row in rows]
        both = [row for pair in zip(bystanders, rows, strict=True) for row in pair]
        write(tmp_path / by_path(clip), both, VIDEO, ",")
    check(extracted(spec, tmp_path, source="early_mae"), spec, spanned)


@pytest.mark.parametrize("failed", [{"success": 0}, {"confidence": 0.5}])
def test_failed_frames_are_no_measurement(
    databases: dict[str, str], tmp_path: Path, failed: dict
) -> None:
    spec = databases["samm"]
    clips = open_clips(spec, frames=False).clips()
    for clip in clips:
        rows = of_video(clip, spanned(clip))
        rows[0] |= failed if clip is clips[0] else {}
        rows[2] |= failed
        write(tmp_path / by_path(clip), rows, VIDEO, ", ")
    found = extracted(spec, tmp_path, track=True)
    check(found, spec, spanned)
    assert found.reasons["no_face_at_onset"] == 1
    (first, *_) = found.pool
    assert first.track[2, AU12] == pytest.approx((first.track[1] + first.track[3])[AU12] / 2)


def test_frames_are_placed_by_images_numbers_or_length(
    databases: dict[str, str], tmp_path: Path
) -> None:
    spec = databases["casme2"]
    # Frame 2 after the onset of the first clip is missing, and numbers pass from 99 to 100.
    there = {clip.key: list(clip.frames.numbers) for clip in open_clips(spec).clips()}
    for clip in open_clips(spec, frames=False).clips():
        numbers = there.get(clip.key, spanned(clip))
        rows = of_video(clip, numbers, first=clip.onset if clip.clip.endswith("03f") else 1)
        write(tmp_path / by_path(clip), rows, VIDEO, ",")
    check(extracted(spec, tmp_path), spec, spanned)


def test_images_that_openface_sorted_by_name(databases: dict[str, str], tmp_path: Path) -> None:
    spec = databases["casme2"]
    crossing = 0
    for clip in open_clips(spec, frames=False).clips():
        numbers = sorted(spanned(clip), key=str)
        crossing += numbers != spanned(clip)
        write(tmp_path / by_path(clip), of_video(clip, numbers), VIDEO, ",")
    assert crossing
    check(extracted(spec, tmp_path), spec, spanned)


def test_a_csv_map_overrides(databases: dict[str, str], tmp_path: Path) -> None:
    spec = databases["samm"]
    clips = open_clips(spec, frames=False).clips()
    lines = ["subject,clip,csv,first_frame"]
    for at, clip in enumerate(clips):
        longer = range(clip.onset - 3, clip.offset + 4)
        write(tmp_path / f"csvs/run{at}.csv", of_video(clip, longer), VIDEO, ",")
        lines.append(f"{clip.subject},{clip.clip},run{at}.csv,{clip.onset - 3}")
    wrong = [{"frame": 1, "confidence": 0.9, "AU12_r": 5}]
    write(tmp_path / f"csvs/{by_path(clips[0])}", wrong, VIDEO, ",")
    csv_map = tmp_path / "map.csv"
    csv_map.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = extracted(spec, tmp_path / "csvs", csv_map=csv_map)
    check(found, spec, spanned)
    assert found.counts["clips with pairs"] == len(clips)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("subject,clip\n006,006_1_2\n", "column csv is missing"),
        ("subject,clip,csv\nnobody,x,a.csv\n", "line 2: the database has no clip 'x'"),
        ("subject,clip,csv\n{subject},{clip},absent.csv\n", "line 2, csv: .*absent.csv is missing"),
        ("subject,clip,csv,first_frame\n{subject},{clip},a.csv,one\n", "first_frame: 'one'"),
    ],
)
def test_a_wrong_csv_map_is_refused(
    databases: dict[str, str], tmp_path: Path, rows: str, message: str
) -> None:
    clip = open_clips(databases["samm"], frames=False).clips()[0]
    write(tmp_path / "csvs/a.csv", of_video(clip, spanned(clip)), VIDEO, ",")
    path = tmp_path / "map.csv"
    path.write_text(rows.format(subject=clip.subject, clip=clip.clip), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        extracted(databases["samm"], tmp_path / "csvs", csv_map=path)


def test_what_does_not_fit_is_left_out_with_its_reason(
    databases: dict[str, str], tmp_path: Path
) -> None:
    clips = open_clips(databases["samm"], frames=False).clips()
    short, twice, none, *rest = clips
    write(tmp_path / by_path(short), of_video(short, spanned(short)[:4]), VIDEO, ",")
    for copy in ("static", "dynamic"):
        write(tmp_path / copy / by_path(twice), of_video(twice, spanned(twice)), VIDEO, ",")
    for clip in rest:
        write(tmp_path / by_path(clip), of_video(clip, spanned(clip)), VIDEO, ",")
    found = extracted(databases["samm"], tmp_path)
    reasons = {r.origin: r.reason for r in found.rejections}
    assert reasons[short.origin] == "frames_do_not_fit"
    assert reasons[twice.origin] == "several_csvs"
    assert reasons[none.origin] == "no_csv"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"estimator": "openface"}, "openface:FOLDER"),
        ({"csv_map": Path("x.csv")}, "csv_map: needs estimator: openface:FOLDER"),
        ({"estimator": "openface:x", "calibration": "x.json"}, "leave out the calibration"),
    ],
)
def test_options_that_do_not_fit(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(AUExtractionConfig, fields)


def test_a_folder_without_csvs(databases: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no CSV"):
        extracted(databases["samm"], tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        extracted(databases["samm"], tmp_path / "absent")
