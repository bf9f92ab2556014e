"""Call the main commands of miex from Python, with plain values.

Names and defaults are those of the commands: ``--image-format png`` is ``image_format="png"``, and
``--set quality.max_attempts=9`` is ``settings={"quality.max_attempts": 9}``. Nothing heavy is
imported before a function is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel

    from miex.au_sources.extraction import Extraction
    from miex.flows.terminal import Terminal
    from miex.generators.ganimation.training import TrainingResult
    from miex.pipeline.faces.table import FaceTable
    from miex.pipeline.recognition.checkpoint import Card
    from miex.pipeline.recognition.job_config import FinetuneJob, PretrainJob
    from miex.pipeline.recognition.results import Result

    Config = TypeVar("Config", bound=BaseModel)

PathOrText = str | PathLike[str]
Paths = PathOrText | Sequence[PathOrText]
Settings = Mapping[str, Any] | None

CACHE = Path("out/cache")
"""Where representations are cached by default; may be deleted."""


def prepare_faces(
    photographs: PathOrText,
    out: PathOrText = "faces.parquet",
    *,
    settings: Settings = None,
    workers: int | None = None,
    progress: bool = True,
) -> FaceTable:
    """Detect, align and crop faces, filter them, and write them into a face table.

    Args:
        photographs: A folder, ``samples``, ``celeba:PATH`` or ``emotionnet:PATH``.
        out: The face table (.parquet).
        settings: Fields of `FaceConfig`: ``{"size": 256, "max_yaw": 20}``.
        workers: Processes; one per core by default.
        progress: Whether to show progress on standard error.

    Returns:
        The table; its `rejections` name every photograph that was left out, with the reason.

    Raises:
        FileNotFoundError: There are no such photographs.
        ValueError: A setting that does not exist or does not fit.
    """
    from miex.datasets.config import build
    from miex.flows.synthesis import run_faces
    from miex.pipeline.faces.config import FaceConfig

    config = build(FaceConfig, settings)
    return run_faces(_terminal(progress), str(photographs), config, Path(out), workers)


def extract_aus(
    clips: PathOrText = "samples",
    out: PathOrText = "aus.parquet",
    *,
    config: PathOrText | None = None,
    settings: Settings = None,
    progress: bool = True,
    **fields: Any,
) -> Extraction:
    """Make a pool of AU pairs from annotated clips, and an account of every clip beside it.

    Args:
        clips: A database of clips, ``NAME:PATH`` as ``casme2:/data/CASME2``, or ``samples``.
        out: The pool (.parquet).
        config: A YAML file with fields of `AUExtractionConfig`.
        settings: Any other field, nested ones with dots; they win over `fields`.
        progress: Whether to show progress on standard error.
        **fields: Options of `miex extract-aus`: ``estimator="mediapipe:FILE"``, ``window=5``.

    Returns:
        The pool with its counts, and every clip that was left out.

    Raises:
        FileNotFoundError: There is no such database or model.
        ValueError: A field that does not exist or does not fit.
    """
    from miex.flows.extraction import run_extraction
    from miex.pipeline.aus.extraction import AUExtractionConfig

    job = _config(AUExtractionConfig, {"clips": clips, **fields}, config, settings)
    return run_extraction(_terminal(progress), job, Path(out))


def synthesize(
    out: PathOrText = "out/miex",
    *,
    config: PathOrText | None = None,
    settings: Settings = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: bool = True,
    **fields: Any,
) -> dict[str, Any]:
    """Make a dataset, or resume one that was interrupted.

    Args:
        out: Folder of the dataset, or its address (``s3://BUCKET/NAME``).
        config: A YAML file with fields of `SynthesisConfig`.
        settings: Any other field, nested ones with dots; they win over `fields`.
        workers: Processes; one per core by default.
        cluster: Address of a running Dask or Ray cluster that renders instead of this machine:
            ``tcp://HOST:8786``, or ``ray://HOST:10001``, which was never run on a real cluster.
        progress: Whether to show progress on standard error.
        **fields: Options of `miex synthesize`: ``identities=10``, ``frames=8``, ``seed=1``.

    Returns:
        The manifest of the dataset.

    Raises:
        FileNotFoundError: A file that the config names does not exist.
        ValueError: A field that does not exist or does not fit, or `out` holds another dataset.
    """
    from miex.flows.synthesis import run_synthesis
    from miex.pipeline.synthesis.config import SynthesisConfig

    job = _config(SynthesisConfig, fields, config, settings)
    return run_synthesis(_terminal(progress), job, Path(out), workers, cluster)


def train_generator(
    data: PathOrText | None = None,
    out: PathOrText = "runs/generator",
    *,
    config: PathOrText | None = None,
    settings: Settings = None,
    progress: bool = True,
    **fields: Any,
) -> TrainingResult:
    """Train a generator, or resume a training that was interrupted.

    Args:
        data: Training set of `miex training-set` (.parquet).
        out: Folder of the run.
        config: A YAML file with fields of `TrainingConfig`.
        settings: Any other field: ``{"batch": 32, "weights.cycle": 5}``.
        progress: Whether to show progress on standard error.
        **fields: Options of `miex train-generator`: ``recipe="miex"``, ``minutes=60``.

    Returns:
        The weights, and the errors of the AUs.

    Raises:
        FileNotFoundError: There is no such training set.
        ValueError: A field that does not exist or does not fit, or `out` holds another training.
    """
    from miex.flows.generator_commands import run_generator_training
    from miex.generators.ganimation.training_config import TrainingConfig

    job = _config(TrainingConfig, {"data": data, **fields}, config, settings)
    return run_generator_training(_terminal(progress), job, Path(out))


def pretrain(
    recognizer: str | None = None,
    datasets: Paths | None = None,
    out: PathOrText = "out/pretrained",
    *,
    config: PathOrText | None = None,
    settings: Settings = None,
    cache: PathOrText = CACHE,
    progress: bool = True,
    **fields: Any,
) -> Card:
    """Train a recognizer on synthesized datasets, or resume a training that was interrupted.

    Args:
        recognizer: Its name, as `miex recognizers` lists it.
        datasets: Folders or addresses of synthesized datasets.
        out: Folder of the training; the recognizer is ``recognizer.safetensors`` in it.
        config: A YAML file with fields of `PretrainJob`.
        settings: Any other field, nested ones with dots: ``{"config.side": 64}``.
        cache: Folder of cached representations; may be deleted.
        progress: Whether to show progress on standard error.
        **fields: Options of `miex pretrain`: ``epochs=20``, ``seed=1``, ``device="cuda"``.

    Returns:
        The card of the trained recognizer: its config, and what it was trained on.

    Raises:
        FileNotFoundError: There is no such dataset.
        ValueError: A field that does not exist or does not fit.
    """
    from miex.pipeline.recognition.job_config import PretrainJob

    fields |= {"recognizer": recognizer, "datasets": datasets}
    return _train(PretrainJob, fields, out, config, settings, cache, progress)


def finetune(
    recognizer: str | None = None,
    clips: Paths | None = None,
    out: PathOrText = "out/finetuned",
    *,
    config: PathOrText | None = None,
    settings: Settings = None,
    cache: PathOrText = CACHE,
    progress: bool = True,
    **fields: Any,
) -> Card:
    """Train a recognizer on real clips, from a checkpoint or from scratch.

    Args:
        recognizer: Its name, as `miex recognizers` lists it.
        clips: Databases of real clips, ``NAME:PATH``.
        out: Folder of the training; the recognizer is ``recognizer.safetensors`` in it.
        config: A YAML file with fields of `FinetuneJob`.
        settings: Any other field, nested ones with dots: ``{"config.side": 64}``.
        cache: Folder of cached representations; may be deleted.
        progress: Whether to show progress on standard error.
        **fields: Options of `miex finetune`: ``checkpoint=`` a file or folder, ``epochs=20``.

    Returns:
        The card of the trained recognizer: its config, and what it was trained on.

    Raises:
        FileNotFoundError: There is no such database or checkpoint.
        ValueError: A field that does not exist or does not fit.
    """
    from miex.pipeline.recognition.job_config import FinetuneJob

    fields |= {"recognizer": recognizer, "clips": clips}
    return _train(FinetuneJob, fields, out, config, settings, cache, progress)


def evaluate(
    recognizer: str | None = None,
    clips: Paths | None = None,
    out: PathOrText = "out/evaluated",
    *,
    config: PathOrText | None = None,
    settings: Settings = None,
    cache: PathOrText = CACHE,
    progress: bool = True,
    **fields: Any,
) -> Result:
    """Evaluate a recognizer by a protocol; test subjects are held out of every training stage.

    Args:
        recognizer: Its name, as `miex recognizers` lists it.
        clips: Databases of real clips, ``NAME:PATH``.
        out: Folder of the evaluation; its page is ``index.html``.
        config: A YAML file with fields of `EvaluateJob`.
        settings: Any other field, nested ones with dots: ``{"config.side": 64}``.
        cache: Folder of cached representations; may be deleted.
        progress: Whether to show progress on standard error.
        **fields: Options of `miex evaluate`: ``protocol="loso"``, ``seeds=1``, and
            ``datasets="out/miex"`` for ``--pretrain out/miex``.

    Returns:
        The result; its `content` holds the scores, its `predictions` one row per clip and seed.

    Raises:
        FileNotFoundError: There is no such database, dataset or checkpoint.
        ValueError: A field that does not exist or does not fit, or a leak.
    """
    from miex.flows.recognition import run_evaluating
    from miex.pipeline.recognition.job_config import EvaluateJob

    fields |= {"recognizer": recognizer, "clips": clips}
    job = _config(EvaluateJob, fields, config, settings)
    return run_evaluating(_terminal(progress), job, Path(out), Path(cache))


def report(
    targets: Paths,
    against: PathOrText | None = None,
    out: PathOrText | None = None,
    *,
    progress: bool = True,
) -> Path:
    """Write AU statistics, quality, findings and a gallery into one HTML file.

    Args:
        targets: Datasets, or pools of AU pairs (.parquet).
        against: Another dataset or pool to compare with.
        out: Folder of the report; ``report`` in the dataset by default.
        progress: Whether to show progress on standard error.

    Returns:
        The HTML file.

    Raises:
        FileNotFoundError: A target is neither a finished dataset nor a pool.
        ValueError: A target is damaged.
    """
    from miex.flows.report_command import run_report

    several = [targets] if isinstance(targets, str | PathLike) else targets
    return run_report(
        _terminal(progress),
        [Path(target) for target in several],
        None if against is None else Path(against),
        None if out is None else Path(out),
    )


def _train(
    model: type[PretrainJob | FinetuneJob],
    fields: Mapping[str, Any],
    out: PathOrText,
    config: PathOrText | None,
    settings: Settings,
    cache: PathOrText,
    progress: bool,
) -> Card:
    from miex.flows.recognition import run_training

    job = _config(model, fields, config, settings)
    return run_training(_terminal(progress), job, Path(out), Path(cache))


def _config(
    model: type[Config],
    fields: Mapping[str, Any],
    file: PathOrText | None,
    settings: Settings,
) -> Config:
    from miex.datasets.config import build
    from miex.datasets.flags import places

    values = places(model, fields) | dict(settings or {})
    return build(model, values, None if file is None else Path(file))


def _terminal(progress: bool) -> Terminal:
    from miex.flows.terminal import Terminal

    return Terminal(results=False, progress=progress)
