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

/* Median of n values, and the median of their distances to it; overwrites them. */
static void middle_and_spread(float *x, int n, float *middle, float *spread)
{
    *middle = median(x, n);
    for (int i = 0; i < n; i++)
        x[i] = fabsf(x[i] - *middle);
    *spread = median(x, n);
}

/* The vectors around node (r, c) that are there, the node itself left out; their number. */
static int neighbours(const float *u, const float *v, ptrdiff_t rows, ptrdiff_t cols,
                      ptrdiff_t r, ptrdiff_t c, float *near_u, float *near_v)
{
    int n = 0;
    for (ptrdiff_t y = r - RADIUS; y <= r + RADIUS; y++)
        for (ptrdiff_t x = c - RADIUS; x <= c + RADIUS; x++) {
            if (y < 0 || y >= rows || x < 0 || x >= cols || (y == r && x == c))
                continue;
            ptrdiff_t at = y * cols + x;
            if (isnan(u[at]) || isnan(v[at]))
                continue;
            near_u[n] = u[at];
            near_v[n++] = v[at];
        }
    return n;
}

/* No score can exceed the distance to the farthest neighbour over the noise. */
static float bound(const float *near_u, const float *near_v, int n, float u, float v,
                   float noise_u, float noise_v)
{
    float far_u = 0, far_v = 0;
    for (int i = 0; i < n; i++) {
        far_u = fmaxf(far_u, fabsf(near_u[i] - u));
        far_v = fmaxf(far_v, fabsf(near_v[i] - v));
    }
    return hypotf(far_u / noise_u, far_v / noise_v);
}

hmk_status hmk_median_test(const float *u, const float *v, const float *noise_u,
                           const float *noise_v, ptrdiff_t rows, ptrdiff_t cols, int least,
                           float limit, ptrdiff_t first, ptrdiff_t last, uint8_t *outlier)
{
    if (least < 1 || first < 0 || last > rows)
        return HMK_BAD_OPTION;
    for (ptrdiff_t r = first; r < last; r++)
        for (ptrdiff_t c = 0; c < cols; c++) {
            ptrdiff_t at = r * cols + c;
            float near_u[NEIGHBOURS], near_v[NEIGHBOURS], mid_u, mid_v, spread_u, spread_v;
            outlier[at] = 0;
            if (isnan(u[at]) || isnan(v[at]))
                continue;
            int n = neighbours(u, v, rows, cols, r, c, near_u, near_v);
            if (n < least || bound(near_u, near_v, n, u[at], v[at], noise_u[at],
                                   noise_v[at]) <= limit)
                continue;
            middle_and_spread(near_u, n, &mid_u, &spread_u);
            middle_and_spread(near_v, n, &mid_v, &spread_v);
            outlier[at] = hypotf((u[at] - mid_u) / (noise_u[at] + spread_u),
                                 (v[at] - mid_v) / (noise_v[at] + spread_v)) > limit;
        }
    return HMK_OK;
}

hmk_status hmk_neighbour_median(const float *u, const float *v, const uint8_t *wanted,
                                ptrdiff_t rows, ptrdiff_t cols, int least, float spread,
                                ptrdiff_t first, ptrdiff_t last, float *mid_u, float *mid_v)
{
    if (least < 1 || first < 0 || last > rows)
        return HMK_BAD_OPTION;
    for (ptrdiff_t r = first; r < last; r++)
        for (ptrdiff_t c = 0; c < cols; c++) {
            ptrdiff_t at = r * cols + c;
            float near_u[NEIGHBOURS], near_v[NEIGHBOURS], spread_u, spread_v;
            mid_u[at] = mid_v[at] = NAN;
            if (!wanted[at])
                continue;
            int n = neighbours(u, v, rows, cols, r, c, near_u, near_v);
            if (n < least)
                continue;
            float a, b;
            middle_and_spread(near_u, n, &a, &spread_u);
            middle_and_spread(near_v, n, &b, &spread_v);
            if (spread_u <= spread && spread_v <= spread)
                mid_u[at] = a, mid_v[at] = b;
        }
    return HMK_OK;
}

hmk_status hmk_bend(const float *u, const float *v, ptrdiff_t rows, ptrdiff_t cols,
                    float limit, ptrdiff_t first, ptrdiff_t last, float *far_u, float *far_v)
{
    if (!(limit >= 0) || first < 0 || last > rows)
        return HMK_BAD_OPTION;
    for (ptrdiff_t r = first; r < last; r++)
        for (ptrdiff_t c = 0; c < cols; c++) {
            const ptrdiff_t at = r * cols + c;
            float most = limit * limit;
            far_u[at] = far_v[at] = NAN;
            for (ptrdiff_t dr = 0; dr <= 2; dr++)
                for (ptrdiff_t dc = dr ? -2 : 1; dc <= 2; dc++) {
                    if (dr > r || r + dr >= rows || dc > c || -dc > c || c + dc >= cols ||
                        c - dc >= cols)
                        continue;
                    const ptrdiff_t p = at + dr * cols + dc, q = at - dr * cols - dc;
                    float pu = u[p] - u[at], pv = v[p] - v[at];
                    float qu = u[q] - u[at], qv = v[q] - v[at];
                    float bu = 0.5f * (pu + qu), bv = 0.5f * (pv + qv);
                    float bend = bu * bu + bv * bv;
                    if (!(bend > most)) /* NaN neither */
                        continue;
                    const ptrdiff_t far = pu * pu + pv * pv > qu * qu + qv * qv ? p : q;
                    most = bend, far_u[at] = u[far], far_v[at] = v[far];
                }
        }
    return HMK_OK;
}

/* Root of a node in the forest of clumps, halving the path on the way. */
static int32_t root_of(int32_t *parent, int32_t at)
{
    while (parent[at] != at) {
        parent[at] = parent[parent[at]];
        at = parent[at];
    }
    return at;
}

static void join(int32_t *parent, int32_t a, int32_t b)
{
    a = root_of(parent, a), b = root_of(parent, b);
    /* The smaller index leads, so that the forest does not depend on the order of joins. */
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
}

hmk_status hmk_clump_sizes(const float *u, const float *v, ptrdiff_t rows, ptrdiff_t cols,
                           float limit, int32_t *parent, int32_t *size)
{
    if (rows * cols > INT32_MAX || !(limit >= 0))
        return HMK_BAD_OPTION;
    const int32_t count = (int32_t)(rows * cols), side = (int32_t)cols;
    for (int32_t i = 0; i < count; i++)
        parent[i] = i, size[i] = 0;
    for (int32_t r = 0; r < (int32_t)rows; r++)
        for (int32_t c = 0; c < side; c++) {
            const int32_t at = r * side + c;
            if (isnan(u[at]) || isnan(v[at]))
                continue;
            /* The four of the eight neighbours that come later. */
            const int32_t next[4] = {c + 1 < side ? at + 1 : -1, at + side,
                                     c + 1 < side ? at + side + 1 : -1,
                                     c > 0 ? at + side - 1 : -1};
            for (int k = 0; k < 4; k++)
                if (next[k] >= 0 && next[k] < count &&
                    hypotf(u[next[k]] - u[at], v[next[k]] - v[at]) <= limit)
                    join(parent, at, next[k]);
        }
    for (int32_t i = 0; i < count; i++)
        if (!isnan(u[i]) && !isnan(v[i]))
            size[root_of(parent, i)]++;
    for (int32_t i = count - 1; i >= 0; i--)
        size[i] = isnan(u[i]) || isnan(v[i]) ? 0 : size[root_of(parent, i)];
    return HMK_OK;
}
