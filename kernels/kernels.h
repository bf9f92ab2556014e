/* Shared by the kernels: exported symbols, and variants for wider vectors of the processor.

   A kernel is a plain C function that `miex.datasets.kernels` calls through ctypes. Each has an
   equal in PyTorch. Both use single operations of IEEE 754 in the same order, none of them fused,
   so that their results are equal on every processor; pyproject.toml passes -ffp-contract=off. */

#ifndef MIEX_KERNELS_H
#define MIEX_KERNELS_H

#include <limits.h>
#include <stdint.h>

#define KERNELS_VERSION 2 /* Equal to `VERSION` of datasets/kernels.py. */

#ifdef _MSC_VER
#define EXPORT __declspec(dllexport)
#define INLINE static __forceinline
#define restrict __restrict
#else
#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))
#endif

/* The loader of glibc chooses the variant of the processor. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

#endif
