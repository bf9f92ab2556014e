"""Looks at what this machine has: packages, accelerator, weights, databases. Downloads nothing."""

import importlib.util
import os
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from miex.pipeline.synthesis.workers import cores

SEARCH_VARIABLE = "MIEX_DATA"
"""Environment variable with folders to look in, separated as in PATH."""

_DEPTH = 3
_MOST_ENTRIES = 20_000

_OPTIONAL_PACKAGES = {
    "datasets": "opens finished datasets with Hugging Face's load_dataset",
    "mediapipe": "AU estimation from 52 blendshapes",
    "prefect-dask": "task_runner=dask: several machines (pip install 'miex[dask]')",
    "prefect-ray": "task_runner=ray: several machines (pip install 'miex[ray]')",
}

_EMBEDDED_MODELS = {
    "shape_predictor_68_face_landmarks.dat": "68 landmarks of a face; no face can be prepared "
    "without it (pip install face_recognition_models)",
    "dlib_face_recognition_resnet_model_v1.dat": "identity embedding; no face can be prepared "
    "without it (pip install face_recognition_models)",
}


@dataclass(frozen=True, slots=True)
class Telltale:
    """A file whose presence shows that a database or a set of weights lies in a folder.

    Attributes:
        name: What it is.
        pattern: Regular expression that the whole file name has to match, case ignored.
        use: What it adds, and how it is used once it is there.
    """

    name: str
    pattern: str
    use: str


TELLTALES = (
    Telltale(
        "GANimation weights",
        r"net_epoch_\w+_id_G\.pth|\w+_net_gen\.pth|\w*ganimation\w*\.(pth|pt|safetensors)",
        "learned faces instead of warped ones: --generator ganimation --checkpoint FILE",
    ),
    Telltale("CelebA", r"identity_CelebA\.txt", "10,177 identities: miex faces celeba:FOLDER"),
    Telltale(
        "EmotionNet",
        r".*emotio\w*net.*\.(txt|tsv)|download\.json",
        "the templates of MiE-X: miex faces-download LIST, miex faces emotionnet:FOLDER",
    ),
    Telltale("face tables", r".*faces.*\.parquet", "prepared faces: miex synthesize --faces FILE"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        topic: Group of the line.
        what: What was looked for.
        found: Version, size or path; None if it is not there.
        note: What it is good for, or what it would add.
        needed: Nothing works without it.
    """

    topic: str
    what: str
    found: str | None
    note: str
    needed: bool = False


def examine(folders: Sequence[Path] = ()) -> list[Finding]:
    """Looks at everything.

    Args:
        folders: Where weights and databases may lie, beside those in `MIEX_DATA` and the folders
            `data` and `weights` of the working directory.

    Raises:
        FileNotFoundError: One of `folders` is not there.
    """
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not a folder; name one that holds databases")
    named = [Path(part) for part in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if part]
    places = [*folders, *named, Path("data"), Path("weights")]
    return [*machine(), *packages(), *embedded_models(), *located(places)]


def machine() -> list[Finding]:
    """Python, cores, memory, accelerator."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return [
        Finding("machine", "python", platform.python_version(), platform.platform()),
        Finding("machine", "cores", str(cores()), "workers by default"),
        Finding("machine", "memory", f"{memory:.1f} GiB", "of the whole machine"),
        accelerator(),
    ]


def accelerator() -> Finding:
    """What PyTorch would compute on."""
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
    return Finding("machine", "accelerator", None, "a GPU makes --generator ganimation practical")


def packages() -> Iterator[Finding]:
    """Every package that miex needs or can use, with its version."""
    yield Finding("package", "miex", _version("miex"), "", needed=True)
    for requirement in metadata.requires("miex") or []:
        if ";" not in requirement:
            match = re.match(r"[A-Za-z0-9._-]+", requirement)
            name = match.group() if match else requirement
            yield Finding("package", name, _version(name), requirement, needed=True)
    for name, adds in _OPTIONAL_PACKAGES.items():
        yield Finding("optional package", name, _version(name), adds)


def embedded_models() -> Iterator[Finding]:
    """The model files that come with dependencies."""
    # Importing the package needs pkg_resources, which newer Pythons lack; its place is enough.
    spec = importlib.util.find_spec("face_recognition_models")
    homes = list(spec.submodule_search_locations or []) if spec else []
    for name, adds in _EMBEDDED_MODELS.items():
        present = any((Path(home) / "models" / name).is_file() for home in homes)
        yield Finding("model", name, "installed" if present else None, adds, needed=True)


def located(folders: Sequence[Path]) -> Iterator[Finding]:
    """Weights and databases in some folders, found by the names of their files."""
    files = [path for folder in dict.fromkeys(folders) for path in _files(folder)]
    for telltale in TELLTALES:
        pattern = re.compile(telltale.pattern, re.IGNORECASE)
        found = [path for path in files if pattern.fullmatch(path.name)]
        for path in found[:3]:
            yield Finding("weights and data", telltale.name, str(path), telltale.use)
        if not found:
            yield Finding("weights and data", telltale.name, None, telltale.use)


def _files(folder: Path) -> Iterator[Path]:
    """Files of a folder, not deeper than three levels, at most some thousands."""
    seen = 0
    for current, folders, names in os.walk(folder):
        if len(Path(current).relative_to(folder).parts) >= _DEPTH:
            folders.clear()
        folders.sort()
        for name in sorted(names):
            seen += 1
            if seen > _MOST_ENTRIES:
                return
            yield Path(current) / name


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
