import http.server
import io
import json
import threading
import time
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from miex.datasets.faces.base import open_face_source
from miex.datasets.faces.emotionnet_download import (
    DownloadConfig,
    download_emotionnet,
)


def jpeg(seed: int, side: int = 40) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


class Server:
    """Answers by path and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.agents: set[str] = set()
        self.lock = threading.Lock()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with server.lock:
                    server.asked[self.path] += 1
                    server.agents.add(self.headers["User-Agent"])
                    server.at_once += 1
                    server.most_at_once = max(server.most_at_once, server.at_once)
                try:
                    server.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                finally:
                    with server.lock:
                        server.at_once -= 1

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.root = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        kind = request.path.strip("/").split("-")[0].split(".")[0]
        body, status, headers = jpeg(len(request.path)), 200, {}
        if kind == "gone":
            body, status = b"gone", 404
        elif kind == "page":
            body = b"<html>This photo is no longer available</html>"
        elif kind == "moved":
            body, status, headers = b"", 302, {"Location": "/new.jpg"}
        elif kind == "circle":
            body, status, headers = b"", 302, {"Location": request.path}
        elif kind == "file":
            body, status, headers = b"", 302, {"Location": "file:///etc/hostname"}
        elif kind == "slow":
            time.sleep(1.5)
        elif kind == "huge":
            body = b"\xff\xd8" + b"0" * 200_000
        elif kind == "busy" and self.asked[request.path] < 3:
            body, status = b"later", 503
        elif kind == "cut":
            headers = {"Content-Length": str(len(body) + 100)}
        elif kind == "steady":
            time.sleep(0.05)
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def write_list(path, *links: tuple[str, str]):
    path.write_text("".join("\t".join([a, b] + ["999"] * 60) + "\n" for a, b in links))
    return path


QUICK = DownloadConfig(timeout=0.5, backoff=0.01, delay=0, max_bytes=100_000, attempts=3)


def test_every_kind_of_answer(tmp_path, server):
    kinds = ["good", "gone", "page", "moved", "circle", "file", "slow", "huge", "busy", "cut"]
    links = [(f"{server.root}/{kind}.jpg", "") for kind in kinds]
    links += [
        (f"{server.root}/gone-2.jpg", f"{server.root}/found.jpg"),
        ("http://127.0.0.1:1/nobody.jpg", ""),
        ("http:///x.jpg", ""),
    ]
    told = []
    summary = download_emotionnet(
        [write_list(tmp_path / "list.txt", *links)],
        tmp_path / "out",
        QUICK,
        lambda *args: told.append(args),
    )
    images = sorted(path.name for path in (tmp_path / "out" / "images").iterdir())
    assert images == ["busy.jpg", "gone-2.jpg", "good.jpg", "moved.jpg"]
    assert summary.links == 13
    assert summary.downloaded == 4
    assert summary.failed == {
        "bad_url": 1,
        "http_302": 2,
        "http_404": 1,
        "not_an_image": 1,
        "timeout": 1,
        "too_large": 1,
        "truncated": 1,
        "unreachable": 1,
    }
    assert json.loads((tmp_path / "out" / "download.json").read_text())["downloaded"] == 4
    assert told[-1][:2] == (13, 13)
    assert sum(told[-1][2].values()) == 13
    assert server.asked["/slow.jpg"] == 3  # tried again
    assert server.asked["/gone.jpg"] == 1  # dead for good
    assert server.agents == {QUICK.user_agent}
    with Image.open(tmp_path / "out" / "images" / "good.jpg") as image:
        assert image.size == (40, 40)


def test_resume_asks_only_for_what_is_missing(tmp_path, server):
    links = [(f"{server.root}/{name}.jpg", "") for name in ("good-1", "good-2", "gone", "slow")]
    url_list = write_list(tmp_path / "list.txt", *links)
    out = tmp_path / "out"
    (out / "images").mkdir(parents=True)
    (out / "images" / "good-1.jpg").write_bytes(jpeg(1))
    (out / "images" / ".good-2.jpg.1-2.partial").write_bytes(b"half")
    first = download_emotionnet([url_list], out, QUICK)
    assert (first.downloaded, first.already_there) == (1, 1)
    assert first.failed == {"http_404": 1, "timeout": 1}
    assert sorted(path.name for path in (out / "images").iterdir()) == ["good-1.jpg", "good-2.jpg"]
    server.asked.clear()
    with (out / "failed.tsv").open("a") as file:
        file.write("torn\tli")
    second = download_emotionnet([url_list], out, QUICK)
    assert (second.downloaded, second.already_there) == (0, 2)
    assert second.failed == first.failed
    assert set(server.asked) == {"/slow.jpg"}  # what failed for the time being
    download_emotionnet([url_list], out, QUICK, retry_failed=True)
    assert server.asked["/gone.jpg"] == 1


def test_the_reader_finds_what_was_downloaded_beside_its_list(tmp_path, server):
    url_list = write_list(
        tmp_path / "list.txt", (f"{server.root}/good.jpg", ""), (f"{server.root}/gone.jpg", "")
    )
    download_emotionnet([url_list], tmp_path, QUICK)
    assert (tmp_path / "failed.tsv").is_file()
    source = open_face_source(f"emotionnet:{tmp_path}")
    assert [photograph.path.name for photograph in source.photographs()] == ["good.jpg"]


def test_few_at_once_and_not_too_often(tmp_path, server):
    links = [(f"{server.root}/steady-{number}.jpg", "") for number in range(12)]
    config = QUICK.model_copy(update={"threads": 8, "per_host": 2, "delay": 0.03})
    started = time.monotonic()
    summary = download_emotionnet(
        [write_list(tmp_path / "list.txt", *links)], tmp_path / "out", config
    )
    assert summary.downloaded == 12
    assert server.most_at_once <= 2
    assert time.monotonic() - started >= 11 * 0.03


def test_a_slow_drip_ends_at_the_deadline(tmp_path, server, monkeypatch):
    def drip(self, request):
        request.send_response(200)
        request.end_headers()
        for _ in range(40):
            request.wfile.write(b"x")
            request.wfile.flush()
            time.sleep(0.05)

    monkeypatch.setattr(Server, "answer", drip)
    config = QUICK.model_copy(update={"deadline": 0.2, "attempts": 1})
    summary = download_emotionnet(
        [write_list(tmp_path / "list.txt", (f"{server.root}/drip.jpg", ""))],
        tmp_path / "out",
        config,
    )
    assert summary.failed == {"timeout": 1}
    assert summary.seconds < 1.5


def test_an_interrupted_run_keeps_what_is_whole(tmp_path, server):
    links = [(f"{server.root}/good-{number}.jpg", "") for number in range(30)]
    url_list = write_list(tmp_path / "list.txt", *links)

    def stop(done: int, *_: object) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_emotionnet([url_list], tmp_path / "out", QUICK, stop)
    summary = download_emotionnet([url_list], tmp_path / "out", QUICK)
    assert summary.already_there >= 5
    assert summary.downloaded + summary.already_there == 30


def test_an_empty_list(tmp_path):
    with pytest.raises(ValueError, match=r"list\.txt is empty"):
        download_emotionnet([write_list(tmp_path / "list.txt")], tmp_path / "out")


def test_a_header_that_drips_ends_at_the_deadline(tmp_path, server, monkeypatch):
    def drip(self, request):
        for letter in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200:
            request.wfile.write(bytes([letter]))
            request.wfile.flush()
            time.sleep(0.05)

    monkeypatch.setattr(Server, "answer", drip)
    config = QUICK.model_copy(update={"deadline": 0.4, "attempts": 1})
    links = write_list(tmp_path / "list.txt", (f"{server.root}/drip.jpg", ""))
    summary = download_emotionnet([links], tmp_path / "out", config)
    assert summary.failed == {"timeout": 1}
    assert summary.seconds < 5


@pytest.mark.parametrize("after", ["²", "-1", "1e400", "soon", "1 2"])
def test_a_wait_that_is_no_number_is_no_wait(tmp_path, server, monkeypatch, after):
    def busy(self, request):
        request.send_response(503)
        request.send_header("Retry-After", after.encode().decode("latin-1"))
        request.send_header("Content-Length", "0")
        request.end_headers()

    monkeypatch.setattr(Server, "answer", busy)
    links = write_list(tmp_path / "list.txt", (f"{server.root}/x.jpg", ""))
    summary = download_emotionnet([links], tmp_path / "out", QUICK)
    assert summary.failed == {"http_503": 1}


def test_one_bad_address_costs_itself(tmp_path, server):
    bad = ["http://[::1/a.jpg", "http://::1]/b.jpg", "http://a:99999/c.jpg", "http://\u2100/d.jpg"]
    links = [(url, "") for url in bad]
    path = write_list(tmp_path / "list.txt", *links, (f"{server.root}/good.jpg", ""))
    summary = download_emotionnet([path], tmp_path / "out", QUICK)
    assert summary.downloaded == 1
    assert sum(summary.failed.values()) == len(bad)
