"""Files for the inputs of an experiment."""

from pathlib import Path

from miex.pipeline.experiments.config import Experiment


def all_files(what: Experiment, folder: Path) -> dict[str, str]:
    """A file for every input; nothing in them is looked at before a cell needs it."""
    files = {name: folder / f"{name}.parquet" for name in what.inputs}
    for path in files.values():
        path.write_bytes(b"not looked at")
    return {name: str(path) for name, path in files.items()}
