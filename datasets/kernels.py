"""Compiled kernels: C functions that replace slow parts of PyTorch code on a CPU, if present.

They lie in the extension `miex._kernels`, which a wheel contains and an installation from the
sources compiles where a C compiler exists. Without it the same is computed in PyTorch, with equal
results; docs/performance.md has the times of both.
"""

import ctypes
import importlib
import os
from functools import cache
from typing import Any

from numpy.typing import NDArray

VERSION = 2
"""Version of the arguments of the kernels, `KERNELS_VERSION` in kernels/kernels.h."""

SWITCH = "MIEX_KERNELS"
"""Environment variable; with `off` the kernels are not used."""


@cache
def _library() -> tuple[ctypes.CDLL | None, str]:
    """Return the library, or None, and the state of the kernels in words."""
    if os.environ.get(SWITCH, "").lower() in ("0", "off", "no"):
        return None, f"off, since {SWITCH} is set to off"
    try:
        module = importlib.import_module("miex._kernels")
        library = ctypes.CDLL(str(module.__file__))
        version = int(library.kernels_version())
    except (ImportError, OSError, AttributeError) as error:
        return None, (
            f"absent ({error}); PyTorch does the same, slower. To compile them, install a C "
            "compiler and install miex again"
        )
    if version != VERSION:
        return None, (
            f"of version {version}, not {VERSION}: compiled from other sources. Install miex again"
        )
    return library, "used"


def reload() -> None:
    """Look for the kernels again, as after a change of the environment variable."""
    _library.cache_clear()


def kernels() -> ctypes.CDLL | None:
    """Return the library of the kernels, or None if it is absent, outdated or switched off.

    Calls release the interpreter lock. The library is loaded once per process.
    """
    return _library()[0]


def kernels_state() -> str:
    """Return in words whether the kernels are used, and otherwise why not."""
    return _library()[1]


def address(array: NDArray[Any] | None, offset: int = 0) -> ctypes.c_void_p:
    """Return the address of an array's data, or NULL; `offset` counts values.

    The array must be contiguous behind the offset, and must live until the call has ended.
    """
    if array is None:
        return ctypes.c_void_p(None)
    return ctypes.c_void_p(array.__array_interface__["data"][0] + offset * array.itemsize)
