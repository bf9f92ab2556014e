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

/* Add four terms of the inner index to the sums of one row. */
INLINE void add_four(int n, const double *row, const double *restrict b, double *restrict sums) {
    const double *one = b, *two = b + n, *three = two + n, *four = three + n;
    const double p = row[0], q = row[1], r = row[2], s = row[3];
    for (int k = 0; k < n; k++)
        sums[k] = (((sums[k] + p * one[k]) + q * two[k]) + r * three[k]) + s * four[k];
}

/* The same for four rows of `inner` values: what is read of b serves all of them. */
INLINE void add_four_of_four(int n, int inner, const double *row, const double *restrict b,
                             double *restrict sums) {
    const double *one = b, *two = b + n, *three = two + n, *four = three + n;
    const double *row1 = row + inner, *row2 = row1 + inner, *row3 = row2 + inner;
    double *restrict sums1 = sums + n, *restrict sums2 = sums1 + n, *restrict sums3 = sums2 + n;
    for (int k = 0; k < n; k++) {
        const double p = one[k], q = two[k], r = three[k], s = four[k];
        sums[k] = (((sums[k] + row[0] * p) + row[1] * q) + row[2] * r) + row[3] * s;
        sums1[k] = (((sums1[k] + row1[0] * p) + row1[1] * q) + row1[2] * r) + row1[3] * s;
        sums2[k] = (((sums2[k] + row2[0] * p) + row2[1] * q) + row2[2] * r) + row2[3] * s;
        sums3[k] = (((sums3[k] + row3[0] * p) + row3[1] * q) + row3[2] * r) + row3[3] * s;
    }
}

/* product (m, n) = a (m, inner) times b (inner, n), summed in the order of the inner index. */
WIDE EXPORT void plates_product(int m, int inner, int n, const double *restrict a,
                                const double *restrict b, double *restrict product) {
    for (long k = 0; k < (long)m * n; k++) product[k] = 0.0;
    for (int i = 0; i < m;) {
        const int rows = i + 4 <= m ? 4 : 1;
        const double *row = a + (long)i * inner;
        double *restrict sums = product + (long)i * n;
        int j = 0;
        for (; j + 4 <= inner; j += 4) {
            if (rows == 4)
                add_four_of_four(n, inner, row + j, b + (long)j * n, sums);
            else
                add_four(n, row + j, b + (long)j * n, sums);
        }
        for (; j < inner; j++)
            for (int other = 0; other < rows; other++)
                for (int k = 0; k < n; k++)
                    sums[(long)other * n + k] =
                        sums[(long)other * n + k] + row[(long)other * inner + j] * b[(long)j * n + k];
        i += rows;
    }
}
