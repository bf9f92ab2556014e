"""Downloads the images of EmotionNet's URL lists: politely, bounded, and able to continue.

About a million URLs, many of them dead. Finished files are skipped, links that are dead for good
are remembered in `failed.tsv` and not asked again, and `download.json` sums up.
"""

import http.client
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from PIL import Image
from pydantic import Field

from miex.datasets.config import FrozenConfig
from miex.datasets.faces.emotionnet import DEAD_LINKS, image_names, read_list
from miex.datasets.files import remove_partial, whole_file
from miex.datasets.images import IMAGE_FORMATS

Progress = Callable[[int, int, dict[str, int]], None]
"""(links done, links in all, counts: ``downloaded``, ``already_there`` and every reason)."""

IMAGES = "images"
SUMMARY = "download.json"

_BLOCK = 65536
_BATCH = 1024
_TEMPORARY = frozenset({"timeout", "unreachable", "truncated", "http_408", "http_429"})


class DownloadConfig(FrozenConfig):
    """How hard to ask, and how much to accept."""

    threads: int = Field(16, ge=1, le=256, description="downloads at once")
    per_host: int = Field(4, ge=1, le=64, description="downloads at once from one host")
    delay: float = Field(0.05, ge=0, description="seconds between two requests to one host")
    timeout: float = Field(20.0, gt=0, description="seconds without an answer")
    deadline: float = Field(120.0, gt=0, description="seconds for a whole image")
    attempts: int = Field(3, ge=1, le=10, description="of a link that fails for the time being")
    backoff: float = Field(1.0, ge=0, description="seconds before the second attempt, then doubled")
    max_bytes: int = Field(30_000_000, ge=1, description="larger files are refused")
    user_agent: str = "miex (research data download)"


@dataclass(frozen=True, slots=True)
class DownloadSummary:
    """What became of the links of a list.

    Attributes:
        links: How many there are.
        downloaded: Fetched by this run.
        already_there: Fetched by an earlier run.
        failed: How many failed, by reason: ``http_404``, ``timeout``, ``unreachable``,
            ``not_an_image``, ``too_large``, ``truncated``, ``bad_url``.
        seconds: Duration of this run.
    """

    links: int
    downloaded: int
    already_there: int
    failed: dict[str, int]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Link:
    name: str
    urls: tuple[str, ...]


class _LinkError(Exception):
    """Why a link gave no image; `wait` is what the server asked for, seconds."""

    def __init__(self, reason: str, detail: str, wait: float = 0.0) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.wait = wait

    @property
    def temporary(self) -> bool:
        return self.reason in _TEMPORARY or self.reason.startswith("http_5")


@dataclass(slots=True)
class _Host:
    """Politeness towards one host."""

    slots: threading.Semaphore
    lock: threading.Lock = field(default_factory=threading.Lock)
    next_start: float = 0.0


def download_emotionnet(
    lists: Sequence[Path],
    out: Path,
    config: DownloadConfig | None = None,
    on_progress: Progress | None = None,
    retry_failed: bool = False,
) -> DownloadSummary:
    """Downloads every image of the lists into ``OUT/images``.

    Each link is tried at the database's store first, then where it was found. A file appears
    under its name only when it is whole and an image.

    Args:
        lists: EmotionNet's URL lists.
        out: Folder for `images/`, `failed.tsv` and `download.json`.
        config: Politeness and bounds.
        on_progress: Called after every link.
        retry_failed: Ask the links again that an earlier run found dead.

    Raises:
        FileNotFoundError: No such list.
        ValueError: A line that is none, or no line at all.
        DiskFullError: The disk is full.
    """
    started = time.monotonic()
    links = _links(lists)
    images, record = out / IMAGES, out / DEAD_LINKS
    images.mkdir(parents=True, exist_ok=True)
    remove_partial(images)
    fetcher = _Fetcher(images, config or DownloadConfig())
    dead = {} if retry_failed else _known_dead(record)
    counts: Counter[str] = Counter()
    failures: list[str] = []
    with record.open("a", encoding="utf-8") as log:
        for done, (link, outcome) in enumerate(fetcher.outcomes(links, dead), start=1):
            counts[outcome if isinstance(outcome, str) else outcome.reason] += 1
            if isinstance(outcome, _LinkError):
                failures.append(_failure_line(link, outcome))
                log.write(failures[-1])
                log.flush()
            if on_progress is not None:
                on_progress(done, len(links), dict(counts))
    summary = _summary(len(links), counts, time.monotonic() - started)
    with whole_file(record) as temporary:
        temporary.write_text("".join(failures), encoding="utf-8")
    with whole_file(out / SUMMARY) as temporary:
        temporary.write_text(json.dumps(asdict(summary), indent=2) + "\n", encoding="utf-8")
    return summary


def _links(lists: Sequence[Path]) -> list[_Link]:
    pairs = dict.fromkeys((row.url, row.original_url) for path in lists for row in read_list(path))
    if not pairs:
        raise ValueError(f"no URL in {', '.join(map(str, lists))}")
    names = image_names([url for url, _ in pairs])
    links: dict[str, _Link] = {}
    for name, (url, original) in zip(names, pairs, strict=True):
        urls = (url, original) if original and original != url else (url,)
        links.setdefault(name, _Link(name, urls))
    return list(links.values())


def _known_dead(path: Path) -> "dict[str, _LinkError]":
    """The links that are dead for good, by name."""
    if not path.is_file():
        return {}
    dead: dict[str, _LinkError] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split("\t")
        # The last line of a killed run may be cut off.
        if len(fields) == 4:
            error = _LinkError(fields[1], fields[2])
            if not error.temporary:
                dead[fields[0]] = error
    return dead


def _failure_line(link: _Link, error: _LinkError) -> str:
    detail = " ".join(error.detail.split())
    return f"{link.name}\t{error.reason}\t{detail}\t{link.urls[0]}\n"


def _summary(links: int, counts: Counter[str], seconds: float) -> DownloadSummary:
    failed = {
        reason: count
        for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if reason not in ("downloaded", "already_there")
    }
    return DownloadSummary(
        links, counts["downloaded"], counts["already_there"], failed, round(seconds, 1)
    )


class _Fetcher:
    """Fetches links from many threads."""

    def __init__(self, images: Path, config: DownloadConfig) -> None:
        self.config = config
        self._images = images
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()
        # Only what the web needs: no handler for files or FTP, to which a server could redirect.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler,
            urllib.request.HTTPHandler,
            urllib.request.HTTPSHandler,
            urllib.request.HTTPRedirectHandler,
            urllib.request.HTTPDefaultErrorHandler,
            urllib.request.HTTPErrorProcessor,
        ):
            self._opener.add_handler(handler())

    def outcomes(
        self, links: Sequence[_Link], dead: dict[str, _LinkError]
    ) -> Iterator[tuple[_Link, str | _LinkError]]:
        """``downloaded``, ``already_there``, or the error of every link, in their order."""
        pool = ThreadPoolExecutor(self.config.threads)
        try:
            # In batches: a future for each of a million links would fill the memory.
            for start in range(0, len(links), _BATCH):
                batch = links[start : start + _BATCH]
                yield from zip(
                    batch, pool.map(lambda link: self._outcome(link, dead), batch), strict=True
                )
        finally:
            pool.shutdown(cancel_futures=True)

    def _outcome(self, link: _Link, dead: dict[str, _LinkError]) -> str | _LinkError:
        path = self._images / link.name
        if path.exists():
            return "already_there"
        if link.name in dead:
            return dead[link.name]
        errors: list[_LinkError] = []
        for url in link.urls:
            try:
                self._patiently(url, path)
                return "downloaded"
            except _LinkError as error:
                errors.append(error)
        # A link that one of its hosts may still deliver is not dead.
        worst = next((error for error in errors if error.temporary), errors[0])
        return _LinkError(worst.reason, "; ".join(error.detail for error in errors))

    def _patiently(self, url: str, path: Path) -> None:
        for attempt in range(self.config.attempts):
            try:
                return self._fetch(url, path)
            except _LinkError as error:
                if not error.temporary or attempt + 1 == self.config.attempts:
                    raise
                time.sleep(max(error.wait, self.config.backoff * 2**attempt))
        raise AssertionError("attempts is at least 1")

    @contextmanager
    def _turn(self, host: str) -> Iterator[None]:
        """Waits until a host may be asked."""
        with self._lock:
            entry = self._hosts.setdefault(host, _Host(threading.Semaphore(self.config.per_host)))
        with entry.slots:
            with entry.lock:
                now = time.monotonic()
                start = max(now, entry.next_start)
                entry.next_start = start + self.config.delay
            time.sleep(start - now)
            yield

    def _fetch(self, url: str, path: Path) -> None:
        host = urlsplit(url).hostname
        if not url.startswith(("http://", "https://")) or not host:
            raise _LinkError("bad_url", f"{url[:80]!r} is no web address")
        # Lists hold spaces and letters beyond ASCII, which HTTP does not.
        request = urllib.request.Request(
            quote(url, safe="%/:=&?~#+!$,;'@()*[]"), headers={"User-Agent": self.config.user_agent}
        )
        with self._turn(host), whole_file(path) as temporary:
            try:
                self._receive(request, temporary)
            except urllib.error.HTTPError as error:
                after = error.headers.get("Retry-After", "")
                wait = min(float(after), 60.0) if after.isdigit() else 0.0
                raise _LinkError(f"http_{error.code}", str(error.reason), wait) from None
            except TimeoutError:
                raise _LinkError("timeout", f"no answer in {self.config.timeout:g} s") from None
            except http.client.IncompleteRead:
                raise _LinkError("truncated", "the connection ended early") from None
            except urllib.error.URLError as error:
                timed_out = isinstance(error.reason, TimeoutError)
                reason = "timeout" if timed_out else "unreachable"
                raise _LinkError(reason, str(error.reason)) from None
            except (http.client.InvalidURL, ValueError) as error:
                raise _LinkError("bad_url", str(error)) from None
            except (http.client.HTTPException, ConnectionError, ssl.SSLError) as error:
                raise _LinkError("unreachable", f"{type(error).__name__}: {error}") from None
            _check_image(temporary)

    def _receive(self, request: urllib.request.Request, temporary: Path) -> None:
        deadline = time.monotonic() + self.config.deadline
        received = 0
        with (
            self._opener.open(request, timeout=self.config.timeout) as response,
            temporary.open("wb") as file,
        ):
            expected = response.length
            if expected is not None and expected > self.config.max_bytes:
                raise _LinkError("too_large", f"{expected} bytes, at most {self.config.max_bytes}")
            while block := response.read1(_BLOCK):
                received += len(block)
                if received > self.config.max_bytes:
                    raise _LinkError("too_large", f"more than {self.config.max_bytes} bytes")
                if time.monotonic() > deadline:
                    raise _LinkError("timeout", f"not finished in {self.config.deadline:g} s")
                file.write(block)
        if expected is not None and received < expected:
            raise _LinkError("truncated", f"{received} of {expected} bytes")


def _check_image(path: Path) -> None:
    """Dead links often answer with a page instead of an error."""
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            image.verify()
    # Pillow's parsers raise nearly every exception on a damaged file.
    except Exception as error:
        raise _LinkError("not_an_image", f"{type(error).__name__}: {error}"[:200]) from None
