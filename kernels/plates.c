/* Dense linear algebra of the thin plates; generators/_warp_field.py has its equal in NumPy. The
   last bits of BLAS and LAPACK depend on the processor and on the number of threads. */

#include <math.h>

#include "kernels.h"

/* Solve a linear system in place, by Gaussian elimination with partial pivoting.

   rows  (count, wide): the matrix, and to its right the wide - count right sides, which are
         replaced by the solution */
WIDE EXPORT void plates_solve(int count, int wide, double *restrict rows) {
    for (int step = 0; step < count; step++) {
        double *top = rows + (long)step * wide;
        int pivot = step;
        double largest = fabs(top[step]);
        for (int i = step + 1; i < count; i++) {
            const double size = fabs(rows[(long)i * wide + step]);
            if (size > largest) {
                largest = size;
                pivot = i;
            }
        }
        if (pivot != step) {
            double *other = rows + (long)pivot * wide;
            for (int k = step; k < wide; k++) {
                const double kept = top[k];
                top[k] = other[k];
                other[k] = kept;
            }
        }
        const double divisor = top[step];
        for (int k = step; k < wide; k++) top[k] = top[k] / divisor;
        for (int i = step + 1; i < count; i++) {
            double *restrict row = rows + (long)i * wide;
            const double factor = row[step];
            for (int k = step + 1; k < wide; k++) row[k] = row[k] - factor * top[k];
        }
    }
    for (int step = count - 1; step > 0; step--) {
        const double *found = rows + (long)step * wide;
        for (int i = 0; i < step; i++) {
            double *restrict row = rows + (long)i * wide;
            const double factor = row[step];
            for (int k = count; k < wide; k++) row[k] = row[k] - factor * found[k];
        }
    }
}

/* product (m, n) = a (m, inner) times b (inner, n), summed in the order of the inner index. */
WIDE EXPORT void plates_product(int m, int inner, int n, const double *restrict a,
                                const double *restrict b, double *restrict product) {
    for (int i = 0; i < m; i++) {
        const double *row = a + (long)i * inner;
        double *restrict sums = product + (long)i * n;
        for (int k = 0; k < n; k++) sums[k] = 0.0;
        int j = 0;
        for (; j + 4 <= inner; j += 4) {
            const double *one = b + (long)j * n, *two = one + n, *three = two + n, *four = three + n;
            const double p = row[j], q = row[j + 1], r = row[j + 2], s = row[j + 3];
            for (int k = 0; k < n; k++)
                sums[k] = (((sums[k] + p * one[k]) + q * two[k]) + r * three[k]) + s * four[k];
        }
        for (; j < inner; j++) {
            const double *one = b + (long)j * n;
            for (int k = 0; k < n; k++) sums[k] = sums[k] + row[j] * one[k];
        }
    }
}
