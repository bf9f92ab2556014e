"""Download the images of EmotionNet's URL lists, with rate limits; a download can be resumed.

The lists have about a million URLs, many of them dead. Finished files are skipped, permanently dead
links are recorded in `failed.tsv` and not requested again, and `download.json` holds the counts.
"""

import asyncio
import json
import re
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import httpx
from PIL import Image
from pydantic import Field

from miex.datasets.base import Rejection
from miex.datasets.config import FrozenConfig
from miex.datasets.faces.emotionnet import DEAD_LINKS, image_names, read_list
from miex.datasets.files import remove_partial, whole_file
from miex.datasets.images import IMAGE_FORMATS
from miex.datasets.locks import locked
from miex.datasets.paths import masked

Progress = Callable[[int, int, dict[str, int]], None]
"""Called with (finished links, all links, counts of ``downloaded`` and of every reason)."""

_IMAGES = "images"
_SUMMARY = "download.json"

_BATCH = 1024
_REDIRECTS = 10
_LONGEST_WAIT = 60.0
"""Longest wait in seconds, also if a server asks for a longer one."""

_TEMPORARY = frozenset({"timeout", "unreachable", "truncated", "http_408", "http_429"})


class DownloadConfig(FrozenConfig):
    """Rate limits, timeouts and sizes of a download."""

    threads: int = Field(16, ge=1, le=256, description="number of parallel downloads")
    per_host: int = Field(4, ge=1, le=64, description="number of parallel downloads from one host")
    delay: float = Field(0.05, ge=0, description="seconds between two requests to one host")
    timeout: float = Field(20.0, gt=0, description="seconds without an answer")
    deadline: float = Field(
        120.0, gt=0, description="seconds for an image, from the connection to its last byte"
    )
    attempts: int = Field(3, ge=1, le=10, description="attempts at a link that fails temporarily")
    backoff: float = Field(1.0, ge=0, description="seconds before the second attempt, then doubled")
    max_bytes: int = Field(30_000_000, ge=1, le=10**12, description="larger files are refused")
    user_agent: str = "miex (research data download)"


@dataclass(frozen=True, slots=True)
class DownloadSummary:
    """Outcomes of the links of a list.

    Attributes:
        links: Number of links.
        downloaded: Number of files downloaded by this run.
        already_there: Number of files downloaded by an earlier run.
        failed: Number of failures by reason: ``http_404``, ``timeout``, ``unreachable``,
            ``not_an_image``, ``too_large``, ``truncated``, ``bad_url``, ``bad_line``.
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
    """A link gave no image; `wait` is the wait that the server asked for, in seconds."""

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

    slots: asyncio.Semaphore
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    next_start: float = 0.0


def download_emotionnet(
    lists: Sequence[Path],
    out: Path,
    config: DownloadConfig | None = None,
    on_progress: Progress | None = None,
    retry_failed: bool = False,
) -> DownloadSummary:
    """Download every image of the lists into ``OUT/images``.

    Each image is requested from the database first, then from its original URL. A file gets its
    name only when it is complete and an image.

    Args:
        lists: EmotionNet's URL lists.
        out: Folder for `images/`, `failed.tsv` and `download.json`.
        config: Rate limits, timeouts and sizes.
        on_progress: Called after every link.
        retry_failed: Request links again that an earlier run found dead.

    Raises:
        FileNotFoundError: There is no such list.
        ValueError: A list has no line that can be read.
        DiskFullError: The disk is full.
    """
    started = time.monotonic()
    links, bad_lines = _links(lists)
    images, record = out / _IMAGES, out / DEAD_LINKS
    with locked(images):
        images.mkdir(parents=True, exist_ok=True)
        remove_partial(images)
        dead = {} if retry_failed else _known_dead(record)
        counts: Counter[str] = Counter()
        failures = [f"{bad.origin}\t{bad.reason}\t{bad.detail}\t\n" for bad in bad_lines]
        with record.open("a", encoding="utf-8") as log:

            def on_outcome(link: _Link, outcome: str | _LinkError) -> None:
                counts[outcome if isinstance(outcome, str) else outcome.reason] += 1
                if isinstance(outcome, _LinkError):
                    failures.append(_failure_line(link, outcome))
                    log.write(failures[-1])
                    log.flush()
                if on_progress is not None:
                    on_progress(counts.total(), len(links), dict(counts))

            asyncio.run(_fetch_all(links, dead, images, config or DownloadConfig(), on_outcome))
        counts.update(bad.reason for bad in bad_lines)
        summary = _summary(len(links) + len(bad_lines), counts, time.monotonic() - started)
        with whole_file(record) as temporary:
            temporary.write_text("".join(failures), encoding="utf-8")
        with whole_file(out / _SUMMARY) as temporary:
            temporary.write_text(json.dumps(asdict(summary), indent=2) + "\n", encoding="utf-8")
    return summary


def _links(lists: Sequence[Path]) -> tuple[list[_Link], list[Rejection]]:
    """Return the links of the lists, and the lines that are none."""
    rows = [row for path in lists for row in read_list(path)]
    bad = [row for row in rows if isinstance(row, Rejection)]
    pairs = dict.fromkeys(
        (row.url, row.original_url) for row in rows if not isinstance(row, Rejection)
    )
    names = image_names([url for url, _ in pairs])
    links: dict[str, _Link] = {}
    for name, (url, original) in zip(names, pairs, strict=True):
        urls = (url, original) if original and original != url else (url,)
        links.setdefault(name, _Link(name, urls))
    return list(links.values()), bad


def _known_dead(path: Path) -> "dict[str, _LinkError]":
    """Return the permanently dead links by name."""
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
    return masked(f"{link.name}\t{error.reason}\t{detail}\t{link.urls[0]}\n")


def _summary(links: int, counts: Counter[str], seconds: float) -> DownloadSummary:
    failed = {
        reason: count
        for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if reason not in ("downloaded", "already_there")
    }
    return DownloadSummary(
        links, counts["downloaded"], counts["already_there"], failed, round(seconds, 1)
    )


async def _fetch_all(
    links: Sequence[_Link],
    dead: "dict[str, _LinkError]",
    images: Path,
    config: DownloadConfig,
    on_outcome: Callable[[_Link, "str | _LinkError"], None],
) -> None:
    """Download every link, and yield the outcomes in the order of the links."""
    limits = httpx.Limits(max_connections=config.threads)
    headers = {"User-Agent": config.user_agent}
    async with httpx.AsyncClient(
        limits=limits, timeout=config.timeout, headers=headers, follow_redirects=False
    ) as client:
        fetcher = _Fetcher(images, config, client)
        # In batches, since tasks for a million links would fill the memory.
        for start in range(0, len(links), _BATCH):
            batch = links[start : start + _BATCH]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(fetcher.outcome(link, dead)) for link in batch]
                for link, task in zip(batch, tasks, strict=True):
                    on_outcome(link, await task)


class _Fetcher:
    """Download links, several in parallel."""

    def __init__(self, images: Path, config: DownloadConfig, client: httpx.AsyncClient) -> None:
        self.config = config
        self._images = images
        self._client = client
        self._hosts: dict[str, _Host] = {}
        self._slots = asyncio.Semaphore(config.threads)

    async def outcome(self, link: _Link, dead: "dict[str, _LinkError]") -> "str | _LinkError":
        """Return ``downloaded``, ``already_there``, or the error of the link."""
        path = self._images / link.name
        if path.exists():
            return "already_there"
        if link.name in dead:
            return dead[link.name]
        errors: list[_LinkError] = []
        async with self._slots:
            for url in link.urls:
                try:
                    await self._patiently(url, path)
                    return "downloaded"
                except _LinkError as error:
                    errors.append(error)
        # A link is dead only if no host can deliver it any more.
        worst = next((error for error in errors if error.temporary), errors[0])
        return _LinkError(worst.reason, "; ".join(error.detail for error in errors))

    async def _patiently(self, url: str, path: Path) -> None:
        for attempt in range(self.config.attempts):
            try:
                return await self._fetch(url, path)
            except _LinkError as error:
                if not error.temporary or attempt + 1 == self.config.attempts:
                    raise
                await asyncio.sleep(max(error.wait, self.config.backoff * 2**attempt))
        raise AssertionError("attempts is at least 1")

    @asynccontextmanager
    async def _turn(self, host: str) -> AsyncIterator[None]:
        """Wait until the next request to a host is allowed."""
        fresh = _Host(asyncio.Semaphore(self.config.per_host))
        entry = self._hosts.setdefault(host, fresh)
        async with entry.slots:
            async with entry.lock:
                now = time.monotonic()
                start = max(now, entry.next_start)
                entry.next_start = start + self.config.delay
            await asyncio.sleep(start - now)
            yield

    async def _fetch(self, url: str, path: Path) -> None:
        host = _host(url)
        async with self._turn(host):
            with whole_file(path) as temporary:
                try:
                    # For the whole request, since a server may send a header byte by byte.
                    async with asyncio.timeout(self.config.deadline):
                        await self._follow(url, temporary)
                except httpx.TimeoutException:
                    detail = f"no answer in {self.config.timeout:g} s"
                    raise _LinkError("timeout", detail) from None
                except TimeoutError:
                    detail = f"not finished in {self.config.deadline:g} s"
                    raise _LinkError("timeout", detail) from None
                except httpx.RemoteProtocolError as error:
                    cut = "incomplete" in str(error) or "without sending complete" in str(error)
                    reason = "truncated" if cut else "unreachable"
                    raise _LinkError(reason, str(error) or type(error).__name__) from None
                except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
                    raise _LinkError("bad_url", str(error)) from None
                except (httpx.HTTPError, ssl.SSLError, OSError) as error:
                    if isinstance(error, OSError) and error.filename is not None:
                        raise
                    detail = f"{type(error).__name__}: {error}"
                    raise _LinkError("unreachable", detail) from None
                await asyncio.to_thread(_check_image, temporary)

    async def _follow(self, url: str, temporary: Path) -> None:
        """Request a URL and follow redirects; only http and https are followed."""
        for _ in range(_REDIRECTS):
            # Lists contain spaces and non-ASCII letters, which HTTP does not allow.
            address = quote(url, safe="%/:=&?~#+!$,;'@()*[]")
            async with self._client.stream("GET", address) as response:
                target = urljoin(url, response.headers.get("Location", ""))
                if not (response.has_redirect_location and _is_web(target)):
                    return await self._receive(response, temporary)
            url = target
        raise _LinkError("http_302", f"more than {_REDIRECTS} redirections")

    async def _receive(self, response: httpx.Response, temporary: Path) -> None:
        if not response.is_success:
            after = response.headers.get("Retry-After", "")
            # str.isdigit also accepts digits of other scripts.
            stated = float(after) if re.fullmatch(r"[0-9]{1,9}", after) else 0.0
            wait = min(stated, _LONGEST_WAIT)
            raise _LinkError(f"http_{response.status_code}", response.reason_phrase, wait)
        length = response.headers.get("Content-Length", "")
        limit = self.config.max_bytes
        if re.fullmatch(r"[0-9]{1,18}", length) and int(length) > limit:
            raise _LinkError("too_large", f"{length} bytes, at most {limit}")
        received = 0
        with temporary.open("wb") as file:
            async for block in response.aiter_bytes():
                received += len(block)
                if received > limit:
                    raise _LinkError("too_large", f"more than {limit} bytes")
                file.write(block)


def _is_web(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _host(url: str) -> str:
    """Return the host of a web address.

    Raises:
        _LinkError: The URL is no web address, as an IPv6 address without its bracket.
    """
    try:
        host = urlsplit(url).hostname
    except ValueError as error:
        raise _LinkError("bad_url", f"{url[:80]!r}: {error}") from None
    if not _is_web(url) or not host:
        raise _LinkError("bad_url", f"{url[:80]!r} is no web address")
    return host


def _check_image(path: Path) -> None:
    """Check that a file is an image; dead links often return a page instead of an error."""
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            image.verify()
    # Pillow raises many kinds of exceptions for a damaged file.
    except Exception as error:
        raise _LinkError("not_an_image", f"{type(error).__name__}: {error}"[:200]) from None
