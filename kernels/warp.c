/* Frames of `warp`; generators/_warp_render.py does the same in PyTorch and explains it. */

#include <math.h>
#include <string.h>

#include "kernels.h"

#define PAD 2 /* Pixels by which spline coefficients exceed the image at each border. */

INLINE float between(float value, float low, float high) {
    value = value < low ? low : value;
    return value > high ? high : value;
}

INLINE float smaller(float a, float b) { return a < b ? a : b; }

typedef struct {
    int x0, x1, y0, y1; /* Columns and rows of the four neighbours. */
    float u, v;         /* Shares of the right and of the lower ones. */
} Place;

INLINE Place place(float x, float y, int side) {
    const float last = (float)(side - 1);
    x = between(x, 0.0f, last);
    y = between(y, 0.0f, last);
    const float left = floorf(x), top = floorf(y);
    Place at;
    at.x0 = (int)left;
    at.y0 = (int)top;
    at.x1 = at.x0 + 1 < side ? at.x0 + 1 : side - 1;
    at.y1 = at.y0 + 1 < side ? at.y0 + 1 : side - 1;
    at.u = x - left;
    at.v = y - top;
    return at;
}

INLINE float mixed(Place at, float a, float b, float c, float d) {
    const float top = a + at.u * (b - a);
    const float bottom = c + at.u * (d - c);
    return top + at.v * (bottom - top);
}

INLINE float linear(const float *plane, int side, Place at) {
    const float *top = plane + (long)at.y0 * side, *bottom = plane + (long)at.y1 * side;
    return mixed(at, top[at.x0], top[at.x1], bottom[at.x0], bottom[at.x1]);
}

INLINE void linear_colour(const uint8_t *image, int side, float x, float y, float *colour) {
    const Place at = place(x, y, side);
    const long plane = (long)side * side;
    for (int c = 0; c < 3; c++) {
        const uint8_t *top = image + c * plane + (long)at.y0 * side;
        const uint8_t *bottom = image + c * plane + (long)at.y1 * side;
        colour[c] = mixed(at, top[at.x0], top[at.x1], bottom[at.x0], bottom[at.x1]);
    }
}

/* The four weights of the cubic B-spline. */
INLINE void spline_weights(float t, float *w) {
    const float sixth = (float)(1.0 / 6.0);
    const float rest = 1.0f - t;
    w[0] = rest * rest * rest * sixth;
    w[1] = (4.0f - t * t * 3.0f * (2.0f - t)) * sixth;
    w[3] = t * t * t * sixth;
    w[2] = 1.0f - w[0] - w[1] - w[3];
}

INLINE void spline_colour(const float *coefficients, int side, float x, float y, float *colour) {
    const int last = side + 2 * PAD - 1;
    const long plane = (long)(last + 1) * (last + 1);
    x = between(x + (float)PAD, 0.0f, (float)last);
    y = between(y + (float)PAD, 0.0f, (float)last);
    const float left = floorf(x), top = floorf(y);
    float across[4], down[4];
    spline_weights(x - left, across);
    spline_weights(y - top, down);
    /* Behind the border its coefficients are repeated. */
    float copied[3][16];
    const float *first = coefficients + ((long)top - 1) * (last + 1) + (long)left - 1;
    long width = last + 1, next = plane;
    if (left < 1 || top < 1 || left > last - 2 || top > last - 2) {
        for (int j = 0; j < 4; j++)
            for (int i = 0; i < 4; i++) {
                const long row = (long)between(top - 1 + (float)j, 0.0f, (float)last);
                const long column = (long)between(left - 1 + (float)i, 0.0f, (float)last);
                for (int c = 0; c < 3; c++)
                    copied[c][4 * j + i] = coefficients[c * plane + row * (last + 1) + column];
            }
        first = copied[0];
        width = 4;
        next = 16;
    }
    for (int c = 0; c < 3; c++) {
        const float *row = first + c * next;
        float sums[4];
        for (int i = 0; i < 4; i++) sums[i] = down[0] * row[i];
        for (int j = 1; j < 4; j++) {
            row += width;
            for (int i = 0; i < 4; i++) sums[i] = sums[i] + down[j] * row[i];
        }
        colour[c] = ((across[0] * sums[0] + across[1] * sums[1]) + across[2] * sums[2]) +
                    across[3] * sums[3];
    }
}

/* Forward motion of both layers, and its inverse at the nodes. */
INLINE void invert(int nodes, int units, const float *values, const float *basis, float cell,
                   float ratio, int steps, float *motion, float *back, float *spare) {
    const long count = (long)nodes * nodes;
    memset(motion, 0, 4 * count * sizeof(float));
    for (int unit = 0; unit < units; unit++) {
        if (values[unit] == 0.0f) continue;
        const float *field = basis + unit * 4 * count;
        const float value = values[unit];
        for (long i = 0; i < 4 * count; i++) motion[i] = motion[i] + value * field[i];
    }
    for (long i = 0; i < 4 * count; i++) back[i] = -motion[i];
    for (int step = 0; step < steps; step++) {
        for (int layer = 0; layer < 2; layer++) {
            const float *mx = motion + layer * 2 * count, *my = mx + count;
            const float *bx = back + layer * 2 * count, *by = bx + count;
            float *sx = spare + layer * 2 * count, *sy = sx + count;
            for (int y = 0; y < nodes; y++)
                for (int x = 0; x < nodes; x++) {
                    const long i = (long)y * nodes + x;
                    const float px = ((float)x + 0.5f) * cell - 0.5f + bx[i];
                    const float py = ((float)y + 0.5f) * cell - 0.5f + by[i];
                    const Place at =
                        place((px + 0.5f) * ratio - 0.5f, (py + 0.5f) * ratio - 0.5f, nodes);
                    sx[i] = -linear(mx, nodes, at);
                    sy[i] = -linear(my, nodes, at);
                }
        }
        memcpy(back, spare, 4 * count * sizeof(float));
    }
}

/* Resize rows of a plane from `nodes` to `size` columns. */
INLINE void widen(int nodes, int size, const int32_t *starts, const float *weights,
                  const float *restrict plane, float *restrict rows) {
    for (int y = 0; y < nodes; y++)
        for (int x = 0; x < size; x++) {
            const float *from = plane + (long)y * nodes + starts[x], *w = weights + 4 * x;
            rows[(long)y * size + x] =
                ((w[0] * from[0] + w[1] * from[1]) + w[2] * from[2]) + w[3] * from[3];
        }
}

/* One row of the resized plane. */
INLINE void heighten(int size, int start, const float *w, const float *restrict rows,
                     float *restrict line) {
    const float *one = rows + (long)start * size, *two = one + size, *three = two + size,
                *four = three + size;
    for (int x = 0; x < size; x++)
        line[x] = ((w[0] * one[x] + w[1] * two[x]) + w[2] * three[x]) + w[3] * four[x];
}

INLINE uint8_t grey_level(float value) { return (uint8_t)between(rintf(value), 0.0f, 255.0f); }

/* Render one frame.

   size, nodes  pixels and nodes of a side
   units        number of basis fields
   values       (units) intensities
   basis        (units, 2, 2, nodes, nodes)
   cell, ratio  size / nodes, nodes / size
   starts       (size) first of the four nodes behind a pixel
   weights      (size, 4) their weights
   steps        fixed-point steps of the inversion
   constants    upper stretch, inverse of the lower one, shade of the gap, softness of the edges
   the others   fields of `WarpState`
   scratch      (12 nodes * nodes + 4 nodes * size + 4 size)
   frame        (3, size, size), result
   source       (size, size, 2) position in the photograph of each pixel, result; or NULL
   lengths      (size, size) distance to that position, 0 where the pixel keeps its colour, result;
                or NULL */
WIDE EXPORT void warp_frame(int size, int nodes, int units, const float *values,
                            const float *basis, float cell, float ratio, const int32_t *starts,
                            const float *weights, int steps, const float *constants,
                            const uint8_t *crop, const float *coefficients, const float *edges,
                            const float *eyeballs, const float *mouth, const float *cavity,
                            const uint8_t *movable, float *scratch, uint8_t *frame,
                            float *source, float *lengths) {
    const long count = (long)nodes * nodes, plane = (long)size * size;
    const float upper_stretch = constants[0], lower_stretch = constants[1];
    const float shade = constants[2], softness = constants[3];
    float *back = scratch + 4 * count, *rows = scratch + 12 * count;
    float *lines = rows + 4 * (long)nodes * size;
    invert(nodes, units, values, basis, cell, ratio, steps, scratch, back, back + 4 * count);
    for (int k = 0; k < 4; k++)
        widen(nodes, size, starts, weights, back + k * count, rows + k * (long)nodes * size);
    memcpy(frame, crop, 3 * plane);
    if (lengths) memset(lengths, 0, plane * sizeof(float));
    for (int y = 0; y < size; y++) {
        const uint8_t *may_move = movable + (long)y * size;
        for (int x = 0; source && x < size; x++) {
            source[2 * ((long)y * size + x)] = (float)x;
            source[2 * ((long)y * size + x) + 1] = (float)y;
        }
        if (!memchr(may_move, 1, size)) continue;
        for (int k = 0; k < 4; k++)
            heighten(size, starts[y], weights + 4 * y, rows + k * (long)nodes * size,
                     lines + k * (long)size);
        for (int x = 0; x < size; x++) {
            if (!may_move[x]) continue;
            const long at = (long)y * size + x;
            const float ux = (float)x + lines[x], uy = (float)y + lines[size + x];
            const float lx = (float)x + lines[2 * size + x], ly = (float)y + lines[3 * size + x];
            const float above = linear(edges, size, place(ux, uy, size));
            const float below = linear(edges + plane, size, place(lx, ly, size));
            const float a = above / softness, b = below / softness;
            const float lead = (a - b) * 0.5f;
            const float in_upper = between(0.5f + smaller(a, lead), 0.0f, 1.0f);
            const float in_lower = between(0.5f + smaller(b, -lead), 0.0f, 1.0f);
            float colour[3], sx, sy;
            if (in_upper == 1.0f || in_lower == 1.0f) {
                /* Skin of one layer only; the terms of the others would be 0. */
                sx = in_upper == 1.0f ? ux : lx;
                sy = in_upper == 1.0f ? uy : ly;
                spline_colour(coefficients, size, sx, sy, colour);
            } else {
                const float before = -(edges[at] + edges[plane + at]);
                const float gap = -smaller(above + below, -1e-3f);
                const float difference = gap - before;
                const float widened = difference > 0.0f ? difference : 0.0f;
                const float depth = between(-above / gap, 0.0f, 1.0f);
                const float stretching = mouth[at], opening = mouth[plane + at];
                float high = 1.0f - depth * upper_stretch;
                float low = 1.0f - (1.0f - depth) * lower_stretch;
                high = stretching * (high > 0.0f ? high : 0.0f);
                low = stretching * (low > 0.0f ? low : 0.0f);
                const float ix = ((float)x + eyeballs[2 * at]) +
                                 (high * lines[x] + low * lines[2 * size + x]);
                const float iy = ((float)y + eyeballs[2 * at + 1]) +
                                 (high * lines[size + x] + low * lines[3 * size + x]);
                const float doubled = between(before * widened / (gap * gap), 0.0f, 0.25f);
                float dark = opening * smaller(widened / softness, 1.0f);
                dark = dark + stretching * (shade * doubled * depth * depth * depth * (1.0f - depth));
                const int hard_upper = in_upper >= 0.5f, hard_lower = in_lower >= 0.5f;
                sx = hard_upper ? ux : hard_lower ? lx : ix;
                sy = hard_upper ? uy : hard_lower ? ly : iy;
                float sharp[3], skin_above[3], skin_below[3], behind[3];
                spline_colour(coefficients, size, sx, sy, sharp);
                linear_colour(crop, size, ux, uy, skin_above);
                linear_colour(crop, size, lx, ly, skin_below);
                linear_colour(crop, size, ix, iy, behind);
                for (int c = 0; c < 3; c++) {
                    const float up = hard_upper ? sharp[c] : skin_above[c];
                    const float down = hard_lower ? sharp[c] : skin_below[c];
                    float deep = hard_upper || hard_lower ? behind[c] : sharp[c];
                    deep = deep + dark * (cavity[c] - deep);
                    colour[c] = (in_upper * up + in_lower * down) +
                                (1.0f - in_upper - in_lower) * deep;
                }
            }
            int changed = 0;
            for (int c = 0; c < 3; c++) {
                const uint8_t level = grey_level(colour[c]);
                changed |= level != crop[c * plane + at];
                frame[c * plane + at] = level;
            }
            if (source) {
                source[2 * at] = sx;
                source[2 * at + 1] = sy;
            }
            if (lengths && changed) {
                const float dx = sx - (float)x, dy = sy - (float)y;
                lengths[at] = sqrtf(dx * dx + dy * dy);
            }
        }
    }
}
