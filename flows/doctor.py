"""Looks at what this machine has: packages, accelerator, weights, databases. Downloads nothing."""

import importlib.util
import os
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from miex.pipeline.faces.models import MODELS, model_file
from miex.pipeline.workers import cores

SEARCH_VARIABLE = "MIEX_DATA"
"""Environment variable with folders to look in, separated as in PATH."""

_DEPTH = 3
_MOST_ENTRIES = 20_000

_OPTIONAL_PACKAGES = {
    "datasets": "opens finished datasets with Hugging Face's load_dataset",
    "mediapipe": "AU estimation from 52 blendshapes (pip install 'miex[mediapipe]'); brings "
    "opencv-contrib-python, which overwrites the headless cv2",
    "prefect-dask": "task_runner=dask: several machines (pip install 'miex[dask]')",
    "prefect-ray": "task_runner=ray: several machines (pip install 'miex[ray]')",
    "s3fs": "datasets at s3:// addresses (pip install 'miex[s3]')",
    "tensorboard": "curves of trainings: --set run.tensorboard=true (pip install "
    "'miex[tensorboard]')",
}

_OPENCV = "opencv-contrib-python-headless"
_OTHER_OPENCVS = ("opencv-contrib-python", "opencv-python", "opencv-python-headless")
"""Packages that write the folder `cv2` as well; the one that was installed last is there."""


@dataclass(frozen=True, slots=True)
class Telltale:
    """A file or folder whose presence shows that a database or a set of weights is there.

    Attributes:
        name: What it is.
        pattern: Regular expression that its whole name has to match, case ignored.
        use: What it adds, and how it is used once it is there.
    """

    name: str
    pattern: str
    use: str


def _clips(name: str, pattern: str, reader: str) -> Telltale:
    return Telltale(name, pattern, f"AUs of annotated clips: miex extract-aus {reader}:FOLDER")


TELLTALES = (
    Telltale(
        "GANimation weights",
        r"net_epoch_\w+_id_G\.pth|\w+_net_gen\.pth|\w*ganimation\w*\.(pth|pt|safetensors)",
        "learned faces instead of warped ones: --generator ganimation --checkpoint FILE",
    ),
    Telltale(
        "motion magnification weights",
        r"magnet\w*.*\.pth",
        "Oh et al. in UAMRN: --set config.magnification_weights=FILE",
    ),
    Telltale(
        "ImageNet ResNet-18",
        r"resnet18-\w+\.pth",
        "Branches, ApexME, UAMRN from ImageNet: --set config.weights=FILE",
    ),
    Telltale("CelebA", r"identity_CelebA\.txt", "10,177 identities: miex faces celeba:FOLDER"),
    Telltale(
        "EmotionNet",
        r".*emotio\w*net.*\.(txt|tsv)|download\.json",
        "the templates of MiE-X: miex faces-download LIST, miex faces emotionnet:FOLDER",
    ),
    Telltale("face tables", r".*faces.*\.parquet", "prepared faces: miex synthesize --faces FILE"),
    Telltale(
        "OpenFace models",
        r"AU_predictors",
        "AU estimation on the 0-5 scale (research only): -e openface-models:FOLDER",
    ),
    Telltale(
        "MediaPipe model",
        r"face_landmarker.*\.task",
        "AU estimation from 52 blendshapes: -e mediapipe:FILE",
    ),
    _clips("CASME II", r"CASME2-coding.*\.(xlsx|csv)", "casme2"),
    _clips("CAS(ME)^3", r"cas\(me\)3_part_[AC]_ME.*\.xlsx", "casme3"),
    _clips("SAMM", r"SAMM_.*Micro_FACS_Codes.*\.(xlsx|csv)", "samm"),
    _clips("SMIC-HS", r"SMIC_all_(raw|cropped)", "smic"),
    _clips("MMEW", r"MMEW_Micro_Exp\.(xlsx|csv)", "mmew"),
    _clips("4DME", r"4DME_Labelling_Micro.*\.xlsx", "fourdme"),
    _clips("MEGC2019", r"combined_3class_gt\.csv", "megc2019"),
    _clips("clips of your own", r"clip_table\.csv", "clip_table"),
    _clips("CK+", r"cohn-kanade-images", "ckplus"),
    _clips("Oulu-CASIA", r"PreProcess_Img|[VN][LI]_Acropped", "oulu_casia"),
    _clips("videos of your own", r"clips\.csv", "video_folder"),
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
    return [
        *machine(),
        *packages(),
        opencv(),
        *embedded_models(),
        pyfeat_weights(),
        *located(places),
    ]


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


def opencv() -> Finding:
    """Which build of OpenCV is really there: several packages write the same folder `cv2`."""
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
    # mediapipe brings opencv-contrib-python, which wants a display's libraries.
    note = (
        f"{', '.join(others)} and {_OPENCV} overwrite each other, and datasets depend on the "
        f"version: pip uninstall {' '.join(others)}, then pip install --force-reinstall --no-deps "
        f"{_OPENCV}"
    )
    return Finding("package", "cv2", found, note)


def embedded_models() -> Iterator[Finding]:
    """The model files that come with dependencies."""
    for name, purpose in MODELS.items():
        try:
            found: str | None = str(model_file(name))
        except FileNotFoundError:
            found = None
        note = f"{purpose}; needed for every face (pip install face_recognition_models)"
        yield Finding("model", name, "installed" if found else None, note, needed=True)


def pyfeat_weights() -> Finding:
    """What py-feat has downloaded so far; it keeps it in its own package."""
    # Located, not imported: that takes seven seconds.
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
    """Weights and databases in some folders, found by the names of their files."""
    entries = [path for folder in dict.fromkeys(folders) for path in _entries(folder)]
    for telltale in TELLTALES:
        pattern = re.compile(telltale.pattern, re.IGNORECASE)
        found = [path for path in entries if pattern.fullmatch(path.name)]
        for path in found[:3]:
            yield Finding("weights and data", telltale.name, str(path), telltale.use)
        if not found:
            yield Finding("weights and data", telltale.name, None, telltale.use)


def _entries(folder: Path) -> Iterator[Path]:
    """Files and folders in a folder, at most three levels deep and some thousands.

    Level by level: what tells a database lies above its thousands of frames.
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
    """Names in a folder and whether they are folders; nothing if it may not be read."""
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
