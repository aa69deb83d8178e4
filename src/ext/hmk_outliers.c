#include "hmk_outliers.h"

#include <math.h>

enum { RADIUS = 2, SIDE = 2 * RADIUS + 1, NEIGHBOURS = SIDE * SIDE - 1 };

/* Median of n > 0 values; orders them. Insertion sort: n is at most 24. */
static float median(float *x, int n)
{
    for (int i = 1; i < n; i++) {
        float value = x[i];
        int j = i;
        for (; j > 0 && x[j - 1] > value; j--)
            x[j] = x[j - 1];
        x[j] = value;
    }
    return n % 2 ? x[n / 2] : 0.5f * (x[n / 2 - 1] + x[n / 2]);
}

/* Distance of `value` to the neighbours' median, over noise + the neighbours' own spread. */
static float normalised(float *x, int n, float value, float noise)
{
    float middle = median(x, n);
    for (int i = 0; i < n; i++)
        x[i] = fabsf(x[i] - middle);
    return fabsf(value - middle) / (noise + median(x, n));
}

hmk_status hmk_median_test(const float *u, const float *v, const float *noise_u,
                           const float *noise_v, ptrdiff_t rows, ptrdiff_t cols, int least,
                           ptrdiff_t first, ptrdiff_t last, float *score)
{
    if (least < 1 || first < 0 || last > rows)
        return HMK_BAD_OPTION;
    for (ptrdiff_t r = first; r < last; r++)
        for (ptrdiff_t c = 0; c < cols; c++) {
            ptrdiff_t at = r * cols + c;
            float near_u[NEIGHBOURS], near_v[NEIGHBOURS];
            int n = 0;
            score[at] = NAN;
            if (isnan(u[at]) || isnan(v[at]))
                continue;
            for (ptrdiff_t y = r - RADIUS; y <= r + RADIUS; y++)
                for (ptrdiff_t x = c - RADIUS; x <= c + RADIUS; x++) {
                    if (y < 0 || y >= rows || x < 0 || x >= cols || (y == r && x == c))
                        continue;
                    if (isnan(u[y * cols + x]) || isnan(v[y * cols + x]))
                        continue;
                    near_u[n] = u[y * cols + x];
                    near_v[n++] = v[y * cols + x];
                }
            if (n < least)
                continue;
            score[at] = hypotf(normalised(near_u, n, u[at], noise_u[at]),
                               normalised(near_v, n, v[at], noise_v[at]));
        }
    return HMK_OK;
}
