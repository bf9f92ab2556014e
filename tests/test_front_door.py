"""`import miex`: fast, lazy, and everything it promises is there."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import miex


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = ("torch", "prefect", "pandas", "cv2", "pyarrow", "pydantic", "numpy", "PIL", "typer")
    code = f"import sys, miex; print([name for name in {heavy!r} if name in sys.modules])"
    assert python(code) == "[]"


@pytest.mark.parametrize("name", miex.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(miex, name).__doc__
    assert name in dir(miex)


def test_the_list_of_names_is_one() -> None:
    assert sorted(miex._PLACES) == sorted(miex.__all__)


def test_the_version_is_the_package_s() -> None:
    assert miex.__version__ == version("miex")


def test_other_names_are_errors() -> None:
    with pytest.raises(AttributeError, match="module 'miex' has no attribute 'nothing'"):
        _ = miex.nothing


def test_no_training_library_is_loaded_for_a_config() -> None:
    code = "import sys, miex; miex.SynthesisConfig(); print('prefect' in sys.modules)"
    assert python(code) == "False"


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "miex", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"miex {version('miex')}"
