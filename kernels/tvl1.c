/* Iterations of TV-L1 on one pair; `_State.iterate` of
   pipeline/recognition/representations/_tvl1_solver.py is its equal, and states the equations. */

#include <math.h>

#include "kernels.h"

#define LANES 16 /* Sums run in lanes, which a compiler turns into vectors. */

INLINE float clamped(float value, float bound) {
    value = value < -bound ? -bound : value;
    return value > bound ? bound : value;
}

/* Update one row of U. `px` and `py` are P_x and P_y of the row, `above` is P_y of the row above. The
   loop reads the value before the row, and its first result is replaced. */
INLINE void primal_row(int width, float *restrict u, const float *restrict px,
                       const float *restrict py, const float *restrict above,
                       const float *restrict step, const float *restrict gradient,
                       float *restrict change) {
    for (int x = 0; x < width; x++) change[x] = (px[x] - px[x - 1]) + (py[x] - above[x]);
    change[0] = px[0] + (py[0] - above[0]);
    for (int x = 0; x < width; x++) {
        change[x] = change[x] + step[x] * gradient[x];
        u[x] = u[x] + change[x];
    }
}

/* Update one row of P; `below` is U of the row below. The loop reads the value after the row, and
   its last result is replaced. */
INLINE void dual_row(int width, float tau, const float *restrict u, const float *restrict below,
                     float *restrict px, float *restrict py) {
    const int last = width - 1;
    const float before = px[last], before_y = py[last];
    for (int x = 0; x < width; x++) {
        float right = u[x + 1] - u[x];
        float down = below[x] - u[x];
        float inverse = 1.0f / (sqrtf(right * right + down * down) + 1.0f);
        px[x] = (px[x] + right * tau) * inverse;
        py[x] = (py[x] + down * tau) * inverse;
    }
    const float down = below[last] - u[last];
    const float inverse = 1.0f / (sqrtf(down * down) + 1.0f);
    px[last] = before * inverse;
    py[last] = (before_y + down * tau) * inverse;
}

/* Set the positions in the second image that the flow U / factor points to. */
WIDE EXPORT void tvl1_targets(int height, int width, long plane, const float *restrict u,
                              float factor, float *restrict xs, float *restrict ys) {
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const long at = (long)y * width + x;
            xs[at] = u[at] / factor + (float)x;
            ys[at] = u[plane + at] / factor + (float)y;
        }
}

/* Linearise the second image around the flow; see `_State.linearise`.

   first   (height, width)
   warped  (height, width, 3), the warped second image and its gradient
   flat    square of the gradient up to which there is no data term
   The others are those of `tvl1_iterate`. */
WIDE EXPORT void tvl1_linearise(int height, int width, long plane, const float *restrict first,
                                const float *restrict warped, const float *restrict u,
                                float factor, float flat, float *restrict gradient,
                                float *restrict scaled, float *restrict constant) {
    const long pixels = (long)height * width;
    for (long at = 0; at < pixels; at++) {
        const float gx = warped[3 * at + 1], gy = warped[3 * at + 2];
        const float residual = warped[3 * at] - first[at];
        const float square = gx * gx + gy * gy;
        const float inverse = square > flat ? -(1.0f / square) : 0.0f;
        const float expanded = gx * u[at] + gy * u[plane + at];
        gradient[at] = gx;
        gradient[plane + at] = gy;
        scaled[at] = gx * inverse;
        scaled[plane + at] = gy * inverse;
        constant[at] = (residual * factor - expanded) * inverse;
    }
}

/* Iterate until the root of the sum of squared changes is at most `limit`, at most `most` times.

   plane      distance of the planes of u, dual, gradient and scaled, floats
   u          2 planes (height, width), U of both components
   dual       4 planes: P_x of both components, then P_y of both
   gradient   2 planes
   scaled     2 planes, the gradient divided by minus its square
   constant   (height, width)
   scratch    4 * width floats, the last width of them 0
   converged  set to 1 if the limit is reached, otherwise to 0

   One value before and one after `u` and `dual` is read, and does not matter.

   Returns the number of iterations. */
WIDE EXPORT int tvl1_iterate(int height, int width, long plane, float *restrict u, float *restrict dual,
                             const float *restrict gradient, const float *restrict scaled,
                             const float *restrict constant, float tau, float bound, double limit,
                             int most, float *restrict scratch, int *restrict converged) {
    float *step = scratch;
    const float *zeros = scratch + 3 * (long)width;
    *converged = 0;
    for (int done = 1; done <= most; done++) {
        double sums[LANES] = {0};
        double total = 0.0;
        for (int y = 0; y < height; y++) {
            const long at = (long)y * width;
            const float *one = u + at, *two = u + plane + at;
            const float *s1 = scaled + at, *s2 = scaled + plane + at, *c = constant + at;
            for (int x = 0; x < width; x++)
                step[x] = clamped((c[x] + s1[x] * one[x]) + s2[x] * two[x], bound);
            for (int k = 0; k < 2; k++) {
                float *change = scratch + (1 + k) * (long)width;
                float *px = dual + k * plane, *py = dual + (2 + k) * plane;
                float *row = u + k * plane + at;
                primal_row(width, row, px + at, py + at, y ? py + at - width : zeros, step,
                           gradient + k * plane + at, change);
                int x = 0;
                for (; x + LANES <= width; x += LANES)
                    for (int lane = 0; lane < LANES; lane++) {
                        double value = change[x + lane];
                        sums[lane] += value * value;
                    }
                for (; x < width; x++) total += (double)change[x] * change[x];
                /* U of this row and of the row above are new: P above can follow. */
                if (y) dual_row(width, tau, row - width, row, px + at - width, py + at - width);
                if (y == height - 1) dual_row(width, tau, row, row, px + at, py + at);
            }
        }
        for (int lane = 0; lane < LANES; lane++) total += sums[lane];
        if (!(sqrt(total) > limit)) {
            *converged = 1;
            return done;
        }
    }
    return most;
}
