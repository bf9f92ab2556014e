/* The extension module `miex._kernels`: empty, so that `import` finds and loads the library. */

#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include "kernels.h"

EXPORT int kernels_version(void) { return KERNELS_VERSION; }

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernels",
                                        "Compiled kernels; see miex.datasets.kernels.", 0};

PyMODINIT_FUNC PyInit__kernels(void) { return PyModule_Create(&definition); }
