"""Find what this machine has: packages, accelerator, weights, databases. Downloads nothing."""

import importlib.util
import os
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path

from miex.au_sources.estimators.base import estimator_facts, estimator_names
from miex.datasets.clips.base import clip_database_facts, clip_database_names
from miex.datasets.faces.base import face_source_facts, face_source_names
from miex.datasets.kernels import kernels, kernels_state
from miex.datasets.registry import Facts
from miex.generators.base import generator_facts, generator_names
from miex.pipeline.faces.models import MODELS, model_file
from miex.pipeline.workers import cores

_SEARCH_VARIABLE = "MIEX_DATA"
"""Environment variable with folders to search, separated as in PATH."""

_DEPTH = 3
_MOST_ENTRIES = 20_000

_OPTIONAL_PACKAGES = {
    "datasets": "opens finished datasets with Hugging Face's load_dataset (pip install 'miex[hf]')",
    "mediapipe": "AU estimation from 52 blendshapes (pip install 'miex[mediapipe]'); brings "
    "opencv-contrib-python, which overwrites the headless cv2",
    "distributed": "shards on a Dask cluster: --cluster tcp://HOST:8786 (pip install 'miex[dask]')",
    "ray": "shards on a Ray cluster, never run: --cluster ray://HOST:10001 "
    "(pip install 'miex[ray]')",
    "s3fs": "files at s3:// addresses (pip install 'miex[s3]')",
    "faiss-cpu": "duplicates among more than 100,000 faces (pip install 'miex[scale]')",
    "gradio": "the page of `miex app` (pip install 'miex[app]')",
    "tensorboard": "curves of trainings: --log tensorboard (pip install 'miex[loggers]')",
    "wandb": "curves of trainings: --log wandb (pip install 'miex[loggers]')",
    "mlflow-skinny": "curves of trainings: --log mlflow (pip install 'miex[loggers]')",
}

_OPENCV = "opencv-contrib-python-headless"
_OTHER_OPENCVS = ("opencv-contrib-python", "opencv-python", "opencv-python-headless")
"""Other packages that write the folder `cv2`; the one installed last is imported."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        topic: Group of the line.
        what: Name of the thing.
        found: Version, size or path; None if it was not found.
        note: Its use.
        needed: Whether miex requires it.
    """

    topic: str
    what: str
    found: str | None
    note: str
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Telltale:
    """Files or folders whose presence shows that a database or a set of weights exists.

    Attributes:
        name: Name of the database or the weights.
        patterns: Shell patterns that a whole file name has to match, ignoring case.
        use: What it is used for, with the option or command.
    """

    name: str
    patterns: tuple[str, ...]
    use: str


_OTHERS = (
    Telltale(
        "motion magnification weights",
        ("magnet*.pth",),
        "Oh et al. in UAMRN: --set config.magnification_weights=FILE",
    ),
    Telltale(
        "ImageNet ResNet-18",
        ("resnet18-*.pth",),
        "Branches, ApexME, UAMRN from ImageNet: --set config.weights=FILE",
    ),
    Telltale("face tables", ("*faces*.parquet",), "faces: miex synthesize --faces FILE"),
)
"""Files that belong to no plug-in of their own."""

_KINDS: tuple[tuple[Callable[[], list[str]], Callable[..., Facts], str], ...] = (
    (generator_names, generator_facts, "rendering: --generator {} --checkpoint FILE"),
    (face_source_names, face_source_facts, "photographs: miex faces {}"),
    (estimator_names, estimator_facts, "AU estimation: -e {}"),
    (clip_database_names, clip_database_facts, "AUs of annotated clips: miex extract-aus {}"),
)
"""Names and facts of each kind of plug-in, and how one of that kind is used."""


def telltales() -> tuple[list[Telltale], list[Finding]]:
    """Return what every plug-in is recognized by, and plug-ins that cannot be loaded."""
    found, broken = list(_OTHERS), []
    for names, facts_of, use in _KINDS:
        for name in names():
            try:
                facts = facts_of(name, light=True)
            except ValueError as error:
                broken.append(Finding("plug-in", name, None, str(error)))
                continue
            if facts.found_by:
                written = facts.written or f"{name}:FOLDER"
                found.append(Telltale(facts.title or name, facts.found_by, use.format(written)))
    return found, broken


def examine(folders: Sequence[Path] = ()) -> list[Finding]:
    """Return findings about the machine, packages, models, weights and databases.

    Args:
        folders: Folders to search for weights and databases, in addition to those in `MIEX_DATA`
            and the folders `data` and `weights` of the working directory.

    Raises:
        FileNotFoundError: One of `folders` does not exist.
    """
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not a folder; name one that holds databases")
    named = [Path(part) for part in os.environ.get(_SEARCH_VARIABLE, "").split(os.pathsep) if part]
    places = [*folders, *named, Path("data"), Path("weights")]
    return [
        *machine(),
        *packages(),
        opencv(),
        *embedded_models(),
        pyfeat_weights(),
        *located(places),
    ]


def machine() -> list[Finding]:
    """Return findings about Python, cores, memory and accelerator."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return [
        Finding("machine", "python", platform.python_version(), platform.platform()),
        Finding("machine", "cores", str(cores()), "workers by default"),
        Finding("machine", "memory", f"{memory:.1f} GiB", "of the whole machine"),
        accelerator(),
        compiled_kernels(),
    ]


def compiled_kernels() -> Finding:
    """Return whether the compiled kernels of `warp` and TV-L1 are used."""
    use = "fast rendering by warp, TV-L1 and face preparation"
    if kernels() is not None:
        return Finding("machine", "compiled kernels", kernels_state(), use)
    return Finding("machine", "compiled kernels", None, f"{use}: {kernels_state()}")


def accelerator() -> Finding:
    """Return the accelerator that PyTorch would use; imports it only where there may be one."""
    if not _may_have_accelerator():
        return Finding("machine", "accelerator", None, "no device of an accelerator; --device cpu")
    try:
        import torch
    except ImportError as error:
        return Finding("machine", "accelerator", None, f"PyTorch cannot be loaded: {error}", True)
    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        number = torch.cuda.device_count()
        bf16 = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no bf16"
        found = f"{number} x {device.name}, {device.total_memory / 2**30:.0f} GiB, {bf16}"
        return Finding("machine", "accelerator", found, "used by --device auto")
    if torch.backends.mps.is_available():
        return Finding("machine", "accelerator", "Apple GPU (mps)", "used by --device mps")
    return Finding("machine", "accelerator", None, "makes public GANimation weights practical")


def _may_have_accelerator() -> bool:
    """Return whether the system lists a device that PyTorch could use."""
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    devices = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
    return apple or any(Path(device).exists() for device in devices)


def packages() -> Iterator[Finding]:
    """Yield every package that miex requires or can use, with its version."""
    yield Finding("package", "miex", _version("miex"), "", needed=True)
    for requirement in metadata.requires("miex") or []:
        if ";" not in requirement:
            match = re.match(r"[A-Za-z0-9._-]+", requirement)
            name = match.group() if match else requirement
            yield Finding("package", name, _version(name), requirement, needed=True)
    for name, adds in _OPTIONAL_PACKAGES.items():
        yield Finding("optional package", name, _version(name), adds)


def opencv() -> Finding:
    """Return the build of OpenCV that is imported: several packages write the folder `cv2`."""
    others = [name for name in _OTHER_OPENCVS if _version(name)]
    spec = importlib.util.find_spec("cv2")
    if spec is None or spec.origin is None:
        return Finding("package", "cv2", None, f"install {_OPENCV}", needed=True)
    about = Path(spec.origin).with_name("version.py")
    text = about.read_text(encoding="utf-8") if about.is_file() else ""
    traits = dict(re.findall(r"^(\w+) = \"?([\w.]+)", text, re.MULTILINE))
    kinds = [kind for kind in ("contrib", "headless") if traits.get(kind) == "True"]
    found = " ".join((traits.get("opencv_version", "unknown build"), *kinds))
    if not others:
        return Finding("package", "cv2", found, "the build that is imported")
    # mediapipe installs opencv-contrib-python, which needs libraries of a display.
    note = (
        f"{', '.join(others)} and {_OPENCV} overwrite each other, and datasets depend on the "
        f"version: pip uninstall {' '.join(others)}, then pip install --force-reinstall --no-deps "
        f"{_OPENCV}"
    )
    return Finding("package", "cv2", found, note)


def embedded_models() -> Iterator[Finding]:
    """Yield the model files that are part of dependencies."""
    for name, purpose in MODELS.items():
        try:
            found: str | None = str(model_file(name))
        except FileNotFoundError:
            found = None
        note = f"{purpose}; required for every face (pip install face_recognition_models)"
        yield Finding("model", name, "installed" if found else None, note, needed=True)


def pyfeat_weights() -> Finding:
    """Return what py-feat has downloaded so far into its own package."""
    # Importing it takes seven seconds.
    spec = importlib.util.find_spec("feat")
    found = sorted(
        path.name.removeprefix("models--").replace("--", "/")
        for home in (spec.submodule_search_locations or [] if spec else [])
        for path in (Path(home) / "resources").glob("models--*")
        if any(path.glob("snapshots/*/*"))
    )
    note = "AU estimation from pixels: -e pyfeat (downloaded only with --download)"
    return Finding("model", "py-feat weights", ", ".join(found) or None, note)


def located(folders: Sequence[Path]) -> Iterator[Finding]:
    """Yield weights and databases in some folders, found by the names of their files."""
    entries = [path for folder in dict.fromkeys(folders) for path in _entries(folder)]
    known, broken = telltales()
    yield from broken
    for telltale in known:
        patterns = [pattern.lower() for pattern in telltale.patterns]
        found = [
            path
            for path in entries
            if any(fnmatchcase(path.name.lower(), pattern) for pattern in patterns)
        ]
        for path in found[:3]:
            yield Finding("weights and data", telltale.name, str(path), telltale.use)
        if not found:
            yield Finding("weights and data", telltale.name, None, telltale.use)


def _entries(folder: Path) -> Iterator[Path]:
    """Yield files and folders in a folder, at most three levels deep and 20,000 of them.

    The order is level by level, since the files that identify a database are above its frames.
    """
    level = [folder]
    seen = 0
    for _ in range(_DEPTH + 1):
        below: list[Path] = []
        for current in level:
            for name, is_folder in _listing(current):
                seen += 1
                if seen > _MOST_ENTRIES:
                    return
                yield current / name
                if is_folder:
                    below.append(current / name)
        level = below


def _listing(folder: Path) -> list[tuple[str, bool]]:
    """Return names in a folder and whether they are folders; nothing if it is not readable."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError:
        return []


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
