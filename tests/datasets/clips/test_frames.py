import numpy as np
import pytest
from PIL import Image

from miex.datasets.clips.frames import FrameFolder, VideoFrames, index_frames
from miex.datasets.paths import inside


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["img100.jpg", "img46.jpg", "img9.jpg"], [9, 46, 100]),
        (["reg_img46.bmp", "reg_img7.bmp"], [7, 46]),
        (["006_05562.jpg", "006_05561.jpg"], [5561, 5562]),
        (["007_2062.JPG"], [2062]),
        (["image17763132.png"], [17763132]),
        (["000.jpeg", "001.jpeg"], [0, 1]),
        (["S005_001_00000011.png"], [11]),
    ],
)
def test_frames_are_indexed_by_their_trailing_number(tmp_path, names, numbers):
    touch(tmp_path, *names)
    assert index_frames(tmp_path).numbers == numbers


def test_files_that_are_no_frames_are_ignored(tmp_path):
    touch(tmp_path, "img1.jpg", ".DS_Store", "._img2.jpg", "Thumbs.db", "img.jpg", "notes3.txt")
    folder = index_frames(tmp_path)
    assert folder.numbers == [1]
    assert folder.path(1) == tmp_path / "img1.jpg"


def test_two_files_of_one_number_are_refused(tmp_path):
    touch(tmp_path, "img01.jpg", "reg_img1.jpg")
    with pytest.raises(ValueError, match=r"img01.jpg and reg_img1.jpg are both frame 1"):
        index_frames(tmp_path)


def test_an_absent_frame_is_named(tmp_path):
    touch(tmp_path, "img1.jpg", "img3.jpg")
    with pytest.raises(ValueError, match="no frame 2; there are 2 from 1 to 3"):
        index_frames(tmp_path).path(2)


def test_renumbered_keeps_the_order(tmp_path):
    touch(tmp_path, "img5.jpg", "img10.jpg")
    folder = index_frames(tmp_path).renumbered(100)
    assert folder.numbers == [100, 101]
    assert folder.path(101).name == "img10.jpg"


def test_images_decode_to_rgb(tmp_path):
    Image.fromarray(np.full((4, 6), 90, np.uint8)).save(tmp_path / "1.png")
    Image.fromarray(np.full((4, 6, 3), (10, 20, 30), np.uint8)).save(tmp_path / "2.png")
    grey, colour = index_frames(tmp_path).images([1, 2])
    assert grey.shape == colour.shape == (4, 6, 3)
    assert (grey == 90).all()
    assert colour[0, 0].tolist() == [10, 20, 30]


def test_a_damaged_image_is_named(tmp_path):
    (tmp_path / "img7.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"img7.png cannot be decoded"):
        list(index_frames(tmp_path).images([7]))


def test_inside_ignores_case_where_that_is_clear(tmp_path):
    (tmp_path / "spNo.1" / "a").mkdir(parents=True)
    assert inside(tmp_path, "spNO.1", "A") == tmp_path / "spNo.1" / "a"
    (tmp_path / "SPNO.1").mkdir()
    assert inside(tmp_path, "spno.1") is None
    assert inside(tmp_path, "other", "a") is None


@pytest.mark.parametrize("name", ["..", ".", "", "../up", "/etc", "a/b", "a\\b", "a\0"])
def test_names_that_leave_the_root_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="leaves"):
        inside(tmp_path, name)


def test_frames_may_lie_on_another_disk(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    touch(outside, "img1.jpg")
    touch(root / "clip", "img1.jpg")
    (root / "linked").symlink_to(outside)
    (root / "clip" / "img2.jpg").symlink_to(outside / "img1.jpg")
    assert index_frames(inside(root, "linked")).numbers == [1]
    assert index_frames(inside(root, "clip")).numbers == [1, 2]


def test_a_crop_beside_the_frames_is_ignored_and_counted(tmp_path):
    touch(tmp_path, "img1.jpg", "img2.jpg", "img3.jpg", "crop_img2.jpg", "preview9.jpg")
    folder = index_frames(tmp_path)
    assert (folder.numbers, folder.ignored) == ([1, 2, 3], 2)
    touch(tmp_path, "img3.png")
    assert index_frames(tmp_path).files[3] == "img3.jpg"


def test_video_frames_count_from_one(fictitious):
    folder = fictitious("video_folder").folder
    video = VideoFrames.open(folder / "videos" / "p1.mp4")
    assert video.numbers == range(1, 4 * 12 + 1)
    assert video.fps == pytest.approx(25)
    every = list(video.images(video.numbers))
    some = list(video.images([1, 9, 48]))
    assert every[0].shape == (64, 64, 3)
    assert all(np.array_equal(a, every[n - 1]) for a, n in zip(some, [1, 9, 48], strict=True))


def test_videos_say_what_is_wrong(fictitious, tmp_path):
    video = VideoFrames.open(fictitious("video_folder").folder / "videos" / "p1.mp4")
    with pytest.raises(ValueError, match="frame 49 cannot be decoded; the video ends after 48"):
        list(video.images([48, 49]))
    with pytest.raises(ValueError, match="frame 3 after 3, expected ascending"):
        list(video.images([3, 3]))
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"bad.mp4 is no video"):
        VideoFrames.open(tmp_path / "bad.mp4")


def test_a_folder_is_a_record():
    assert FrameFolder.__dataclass_params__.frozen


@pytest.mark.parametrize("bits", [9, 10, 12, 16])
def test_grey_videos_of_16_bits_keep_the_brightness_of_the_camera(tmp_path, bits):
    av = pytest.importorskip("av")
    grey = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    values = grey.astype(np.uint16) * 257 if bits == 16 else grey.astype(np.uint16) << (bits - 8)
    with av.open(str(tmp_path / "v.mkv"), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray16le"
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(values, format="gray16le")
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    video = VideoFrames.open(tmp_path / "v.mkv")
    assert (video.count, video.depth) == (5, bits)
    for image in video.images([1, 4]):
        assert np.array_equal(image, np.stack([grey] * 3, -1))
