/* Windows that are interpolated to where a fit stands. For hmk_lanes.c.
 *
 * Plain loops, of which the compiler makes vectors of the instruction set at hand. */
#ifndef HMK_LANES_MOVED_H
#define HMK_LANES_MOVED_H

#include <math.h>

#include "hmk_moved.h"

/* n sums of HMK_TAPS products: of taps and of what lies `apart` floats from each other. */
static inline void filtered(const float *restrict from, ptrdiff_t apart, const float *restrict tap,
                            int n, float *restrict to)
{
    for (int c = 0; c < n; c++) {
        float sum = 0;
#pragma GCC unroll 12
        for (int t = 0; t < HMK_TAPS; t++)
            sum += tap[t] * from[c + t * apart];
        to[c] = sum;
    }
}

/* Whether a window (n, n) has no texture of its own: rounding leaves about 1e-6 of its mean. */
static int is_flat(const float *restrict from, ptrdiff_t stride, int n)
{
    const float any = *from, least = 1e-5f * (1 + fabsf(any));
    int differ = 0;
    for (int r = 0; r < n && !differ; r++, from += stride)
        for (int c = 0; c < n; c++)
            differ |= fabsf(from[c] - any) > least;
    return !differ;
}

/* See hmk_kernels. */
static int move_window(const float *from, ptrdiff_t stride, int n, const float *tap_row,
                       const float *tap_col, float *between, float *to)
{
    if (is_flat(from + HMK_BEFORE * (stride + 1), stride, n))
        return 0; /* what the taps bring from beyond is not its own */
    for (int r = 0; r < n + HMK_TAPS - 1; r++)
        filtered(from + r * stride, 1, tap_col, n, between + r * n);
    for (int r = 0; r < n; r++)
        filtered(between + r * n, n, tap_row, n, to + r * n);
    int missing = 0;
    for (int i = 0; i < n * n; i++)
        missing |= to[i] - to[i] != 0;
    return !missing;
}

#endif
