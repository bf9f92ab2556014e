import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miex.datasets.clips.base import ApexRule, gives_flow, open_clips
from miex.datasets.clips.frames import UnreadableFrame
from miex.datasets.labels import Emotion
from miex.datasets.micro.megc2019_flow import IMAGES, TABLES

CLIPS = (
    ("casme2", "sub01", "EP02_01f", 1),
    ("casme2", "sub02", "EP09_06f", 0),
    ("smic", "s03", "s03_po_02", 1),
    ("samm", "006", "006_1_2", 2),
)
SHARED = Path(__file__).parents[4] / "shared" / "data" / "megc2019_flow"


def write_images(folder: Path, clips: tuple[tuple[str, str, str, int], ...] = CLIPS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for _, subject, clip, _ in clips:
        pixels = rng.integers(0, 256, (28, 28, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{subject}_{clip} .png")


def write_table(path: Path, clips: tuple[tuple[str, str, str, int], ...] = CLIPS) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "sub", "filename_o", "label", "apex", "imagename", ""])
        writer.writerows([*clip, "", f"{clip[1]}_{clip[2]}.jpg", ""] for clip in clips)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder in the layout of HTNet's authors."""
    write_table(tmp_path / TABLES[0])
    write_images(tmp_path / IMAGES[0])
    return tmp_path


def test_the_published_layout_opens_under_the_databases_own_names(published: Path) -> None:
    reader = open_clips(f"megc2019_flow:{published}")
    clips = reader.clips()
    assert [clip.origin for clip in clips] == [
        "casme2:sub01/EP02_01f",
        "casme2:sub02/EP09_06f",
        "smic:s3/s3_po_02",
        "samm:006/006_1_2",
    ]
    assert [clip.listed_label for clip in clips] == [1, 0, 1, 2]
    assert clips[0].emotion == Emotion.POSITIVE
    assert clips[0].apex_rule == ApexRule.IN_FLOW
    assert clips[0].flow is not None
    assert clips[0].flow.read().shape == (28, 28, 3)
    assert gives_flow(reader)
    report = reader.report()
    assert (report.listed, report.clips, report.published) == (4, 4, 442)


def test_a_clip_that_is_flow_has_no_frames_and_says_so(published: Path) -> None:
    clip = open_clips(f"megc2019_flow:{published}").clips()[0]
    with pytest.raises(ValueError, match=r"published as optical flow .*no frames"):
        clip.numbers()


def test_without_images_the_annotations_alone_are_read(published: Path) -> None:
    (published / IMAGES[0]).rename(published / "elsewhere")
    clips = open_clips(f"megc2019_flow:{published}", frames=False).clips()
    assert len(clips) == 4
    assert clips[0].flow is None
    opened = open_clips(f"megc2019_flow:{published}?images=elsewhere").clips()
    assert opened[0].flow is not None


def test_any_folder_of_such_images_with_a_table_opens(tmp_path: Path) -> None:
    write_images(tmp_path)
    for image in tmp_path.glob("*.png"):  # no blank before the ending, no subject before the clip
        image.rename(image.with_name(image.name.replace(" .png", ".png").partition("_")[2]))
    lines = ["database;subject;clip;label"] + [";".join(map(str, clip)) for clip in CLIPS]
    (tmp_path / "mine.csv").write_text("\n".join(lines).replace(";", ",") + "\n\n")
    assert len(open_clips(f"megc2019_flow:{tmp_path}?table=mine.csv").clips()) == 4
    assert len(open_clips(f"megc2019_flow:{tmp_path / 'mine.csv'}").clips()) == 4


def test_images_and_lines_without_each_other_are_counted(published: Path) -> None:
    images = published / IMAGES[0]
    (images / "sub01_EP02_01f .png").unlink()
    write_images(images, (("casme2", "sub30", "EP01_01", 0),))
    report = open_clips(f"megc2019_flow:{published}").report()
    found = {each.origin: each.reason for each in report.rejections}
    assert found == {
        "casme2:sub01/EP02_01f": "no_image",
        "megc2019_flow:sub30_EP01_01 .png": "not_in_table",
    }


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ((("casme2", "sub01", "EP02_01f", 3),), r"row 2, column D \(label\): '3', expected 0"),
        (
            (("casme", "sub01", "EP02_01f", 1),),
            r"row 2, column A \(dataset\): 'casme', expected one of",
        ),
        ((("smic", "x", "x_po_02", 1),), r"row 2, column B \(sub\): 'x' is none of smic"),
        ((("casme2", "", "EP02_01f", 1),), r"row 2, column B \(sub\): the cell is empty"),
        ((CLIPS[0], CLIPS[0]), "casme2:sub01/EP02_01f occurs twice"),
        ((), "no rows below the header"),
    ],
)
def test_a_damaged_table_is_named(
    published: Path, clips: tuple[tuple[str, str, str, int], ...], message: str
) -> None:
    write_table(published / TABLES[0], clips)
    with pytest.raises(ValueError, match=message):
        open_clips(f"megc2019_flow:{published}").clips()


def test_a_bad_row_costs_itself(published: Path) -> None:
    write_table(published / TABLES[0], (*CLIPS, ("casme2", "sub09", "EP01", 7)))
    report = open_clips(f"megc2019_flow:{published}").report()
    assert report.clips == 4
    assert [each.reason for each in report.rejections] == ["bad_row"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_table_as_excel_exports_it(published: Path, encoding: str) -> None:
    lines = ["Dataset;Sub;Filename_O;Label", *(";".join(map(str, clip)) for clip in CLIPS)]
    text = "\r\n".join([*lines[:2], ";;;", *lines[2:], ""])
    (published / TABLES[0]).write_bytes(text.encode(encoding))
    assert len(open_clips(f"megc2019_flow:{published}").clips()) == 4


def test_a_folder_where_the_table_is_expected(published: Path) -> None:
    with pytest.raises(ValueError, match="is a folder, expected a regular file, a table of clips"):
        open_clips(f"megc2019_flow:{published}?table=datasets")
    with pytest.raises(NotADirectoryError, match="is a file, expected a folder"):
        open_clips(f"megc2019_flow:{published}?images={TABLES[0]}")


def test_a_table_without_a_column_says_which(published: Path) -> None:
    (published / TABLES[0]).write_text("dataset,sub,label\ncasme2,sub01,1\n")
    with pytest.raises(ValueError, match="has no column 'filename_o', only: dataset, sub, label"):
        open_clips(f"megc2019_flow:{published}").clips()


def test_an_image_of_another_kind_is_refused_by_name(published: Path) -> None:
    path = published / IMAGES[0] / "sub01_EP02_01f .png"
    for image, message in (
        (Image.new("L", (28, 28)), "L 28 x 28, expected an RGB square"),
        (Image.new("RGB", (28, 30)), "RGB 28 x 30, expected an RGB square"),
    ):
        image.save(path)
        flow = open_clips(f"megc2019_flow:{published}").clips()[0].flow
        assert flow is not None
        with pytest.raises(UnreadableFrame, match=message):
            flow.read()
    path.write_bytes(b"no image")
    with pytest.raises(UnreadableFrame, match=r"EP02_01f .png: cannot be decoded"):
        flow.read()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published images are not on this machine")
def test_the_half_of_the_published_images() -> None:
    reader = open_clips(f"megc2019_flow:{SHARED}")
    report = reader.report()
    assert (report.clips, len(report.subjects), report.rejections) == (226, 34, ())
    pixels = np.stack([clip.flow.read() for clip in reader.clips() if clip.flow is not None])
    assert (pixels.min((1, 2)) == 0).all(), "each channel is stretched to 0-255"
    assert (pixels.max((1, 2)) == 255).all()
