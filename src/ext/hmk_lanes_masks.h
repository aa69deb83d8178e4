/* Windows with invalid pixels: soft masks that move with the tapers. For hmk_lanes_windows.h. */
#ifndef HMK_LANES_MASKS_H
#define HMK_LANES_MASKS_H

#include <string.h>

#include "hmk_lanes_work.h"

/* Tapered means of two windows, and what they rest on. */
typedef struct {
    vec mean_a, mean_b, weight_a, weight_b;
} means;

/* A hole that stays in place while the texture moves pins the fit to the whole pixel, as a
 * fixed taper would. So the mask moves with the secondary's taper, which a mask of pixels
 * cannot: it is drawn back by HOLE pixels from what is invalid in either window and spread
 * by cubic B-splines 1.5 pixels wide, which are a formula and move by any part of a pixel. */
enum { HOLE = 2, TAPS = 3 };

static inline vec spline(vec x) /* cubic B-spline of width 1.5 */
{
    vec u = vabs(x) * (1.0f / 1.5f), v = vmax(2.0f - u, splat(0));
    vec near = (4.0f + u * u * (3.0f * u - 6.0f)), far = v * v * v;
    return either(u < 1, near, far) * (1.0f / 9.0f);
}

static inline int inside(int i, int n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* Row i of a (n, n) array and those beside it, from TAPS above to TAPS below; the array's first
 * and last row stand for those beyond it. */
static inline void rows_around(const float *array, int i, int n, const float **row)
{
    for (int t = -TAPS; t <= TAPS; t++)
        row[t + TAPS] = array + (size_t)inside(i + t, n) * (size_t)n * HMK_LANES;
}

/* A row with TAPS more vecs at either end, copies of its first and last. */
static inline void widen(const float *row, int n, float *wide)
{
    const size_t bytes = HMK_LANES * sizeof *wide;
    for (int j = -TAPS; j < n + TAPS; j++)
        memcpy(wide + (j + TAPS) * HMK_LANES, row + inside(j, n) * HMK_LANES, bytes);
}

/* 0 for all pixels that are within HOLE of a 0; `between` is scratch of the mask's size. */
static void shrink(int n, float *hard, float *between)
{
    float wide[(HMK_MAX_WINDOW + 2 * TAPS) * HMK_LANES] __attribute__((aligned(64)));
    const int line = n * HMK_LANES;
    for (int i = 0; i < n; i++) {
        widen(hard + (size_t)i * line, n, wide);
        for (int j = 0; j < line; j += HMK_LANES) {
            vec least = load(wide + j + (TAPS - HOLE) * HMK_LANES);
            for (int t = TAPS - HOLE + 1; t <= TAPS + HOLE; t++)
                least *= load(wide + j + t * HMK_LANES); /* of 0 and 1 */
            store(between + (size_t)i * line + j, least);
        }
    }
    for (int i = 0; i < n; i++) {
        const float *row[2 * TAPS + 1];
        rows_around(between, i, n, row);
        for (int j = 0; j < line; j += HMK_LANES) {
            vec least = load(row[TAPS - HOLE] + j);
            for (int t = TAPS - HOLE + 1; t <= TAPS + HOLE; t++)
                least *= load(row[t] + j);
            store(hard + (size_t)i * line + j, least);
        }
    }
}

/* The mask `hard` (n, n) moved by (row, col); `between` is scratch of its size. */
static void soften(int n, const float *hard, vec row, vec col, float *between, float *soft)
{
    float wide[(HMK_MAX_WINDOW + 2 * TAPS) * HMK_LANES] __attribute__((aligned(64)));
    const int line = n * HMK_LANES;
    vec tap_row[2 * TAPS + 1], tap_col[2 * TAPS + 1];
    vec sum_row = splat(0), sum_col = splat(0);
    for (int t = -TAPS; t <= TAPS; t++) {
        sum_row += tap_row[t + TAPS] = spline((float)t + row);
        sum_col += tap_col[t + TAPS] = spline((float)t + col);
    }
    for (int t = 0; t <= 2 * TAPS; t++)
        tap_row[t] /= sum_row, tap_col[t] /= sum_col;
    for (int i = 0; i < n; i++) {
        widen(hard + (size_t)i * line, n, wide);
        for (int j = 0; j < line; j += HMK_LANES) {
            vec sum = splat(0);
            for (int t = 0; t <= 2 * TAPS; t++)
                sum += tap_col[t] * load(wide + j + t * HMK_LANES);
            store(between + (size_t)i * line + j, sum);
        }
    }
    for (int i = 0; i < n; i++) {
        const float *near[2 * TAPS + 1];
        rows_around(between, i, n, near);
        for (int j = 0; j < line; j += HMK_LANES) {
            vec sum = splat(0);
            for (int t = 0; t <= 2 * TAPS; t++)
                sum += tap_row[t] * load(near[t] + j);
            store(soft + (size_t)i * line + j, sum);
        }
    }
}

/* Make the soft masks, put 0 in place of what is invalid, and count. A lane without holes comes
 * out of here and of masked_means as if the batch had none: bit by bit. Returns those lanes. */
static mask make_masks(const hmk_window *win, const hmk_batch *batch, work *k,
                       hmk_patch *patch)
{
    const int n = win->n, line = n * HMK_LANES;
    const size_t pitch = (size_t)(n + 1) * HMK_LANES;
    float *hard = k->hard, *between = k->between;
    vec count_a = splat(0), count_b = splat(0);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < line; j += HMK_LANES) {
            float *re = k->re + i * pitch + j, *im = k->im + i * pitch + j;
            vec x = load(re), y = load(im);
            mask ok_x = vfinite(x), ok_y = vfinite(y);
            count_a += only(ok_x, splat(1)), count_b += only(ok_y, splat(1));
            store(re, only(ok_x, x)), store(im, only(ok_y, y));
            store(hard + (size_t)i * line + j, only(ok_x & ok_y, splat(1)));
        }
    shrink(n, hard, between);
    soften(n, hard, splat(0), splat(0), between, k->soft_ref);
    soften(n, hard, moves(batch, batch->shift_row), moves(batch, batch->shift_col), between,
           k->soft_sec);
    const float area = 1.0f / ((float)n * (float)n);
    store(patch->valid_reference, count_a * area);
    store(patch->valid_secondary, count_b * area);
    const vec all = splat((float)(n * n));
    return (count_a == all) & (count_b == all);
}

/* Tapered and masked means; the masks take the tapers in. */
static void masked_means(const hmk_window *win, mask whole, work *k, means *out,
                         hmk_patch *patch)
{
    const int n = win->n;
    const size_t pitch = (size_t)(n + 1) * HMK_LANES, line = (size_t)n * HMK_LANES;
    means m = {splat(0), splat(0), splat(0), splat(0)};
    vec second = splat(0), fourth = splat(0);
    for (int i = 0; i < n; i++) {
        vec wa = load(k->ref_row + i * HMK_LANES), wb = load(k->sec_row + i * HMK_LANES);
        for (int j = 0; j < n * HMK_LANES; j += HMK_LANES) {
            float *ref = k->soft_ref + i * line + j, *sec = k->soft_sec + i * line + j;
            vec a = wa * load(k->ref_col + j), b = wb * load(k->sec_col + j);
            a = either(whole, a, a * load(ref)), b = either(whole, b, b * load(sec));
            store(ref, a), store(sec, b);
            m.weight_a += a, m.weight_b += b;
            m.mean_a += a * load(k->re + i * pitch + j);
            m.mean_b += b * load(k->im + i * pitch + j);
            vec square = a * a;
            second += square, fourth += square * square;
        }
    }
    vec most = sum_of(k->ref_row, n) * sum_of(k->ref_col, n);
    store(patch->valid_both, either(whole, splat(1), m.weight_a / most));
    vec inflation = (float)n * vroot(fourth) / vmax(second, splat(1e-6f));
    k->inflation = either(whole, splat(win->inflation), inflation);
    *out = m;
}

#endif
