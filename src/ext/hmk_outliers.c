#include "hmk_outliers.h"

#include <math.h>
#include <string.h>

enum { RADIUS = 2, SIDE = 2 * RADIUS + 1, NEIGHBOURS = SIDE * SIDE - 1 };

/* Nodes of a row that are looked at together where compilers are to make vectors of it. */
enum { PIECE = 64 };

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

/* Whether vectors first ... last - 1 of a row that has RADIUS rows above and below may be outliers:
 * no score can exceed the distance to the farthest neighbour over the noise. Without branches, so
 * that compilers make vectors of it. */
static void may_be_outliers(const float *u, const float *v, const float *sigma_u,
                            const float *sigma_v, ptrdiff_t cols, float floor, float limit,
                            ptrdiff_t first, ptrdiff_t last, uint8_t *maybe)
{
    for (ptrdiff_t begin = first; begin < last; begin += PIECE) {
        const ptrdiff_t count = last - begin < PIECE ? last - begin : PIECE;
        float far_u[PIECE] = {0}, far_v[PIECE] = {0};
        for (ptrdiff_t dr = -RADIUS; dr <= RADIUS; dr++)
            for (ptrdiff_t dc = -RADIUS; dc <= RADIUS; dc++) {
                const float *mid_u = u + begin, *mid_v = v + begin;
                const float *near_u = mid_u + dr * cols + dc, *near_v = mid_v + dr * cols + dc;
                for (ptrdiff_t i = 0; i < count; i++) {
                    /* NaN changes nothing; one component alone makes the bound safer. */
                    float du = near_u[i] - mid_u[i], dv = near_v[i] - mid_v[i];
                    du = du < 0 ? -du : du, dv = dv < 0 ? -dv : dv;
                    far_u[i] = du > far_u[i] ? du : far_u[i];
                    far_v[i] = dv > far_v[i] ? dv : far_v[i];
                }
            }
        for (ptrdiff_t i = 0; i < count; i++) {
            const float a = far_u[i] / (floor + sigma_u[begin + i]);
            const float b = far_v[i] / (floor + sigma_v[begin + i]);
            maybe[begin + i] = !(a * a + b * b <= limit * limit);
        }
    }
}

/* The greatest distance of n values to x. */
static float farthest(const float *near, int n, float x)
{
    float most = 0;
    for (int i = 0; i < n; i++) {
        const float d = fabsf(near[i] - x);
        most = d > most ? d : most;
    }
    return most;
}

/* Whether vector `at` is an outlier among its neighbours. */
static int is_outlier(const float *u, const float *v, const float *sigma_u,
                      const float *sigma_v, ptrdiff_t rows, ptrdiff_t cols, int least,
                      float floor, float limit, ptrdiff_t r, ptrdiff_t c)
{
    const ptrdiff_t at = r * cols + c;
    float near_u[NEIGHBOURS], near_v[NEIGHBOURS], mid_u, mid_v, spread_u, spread_v;
    if (isnan(u[at]) || isnan(v[at]))
        return 0;
    const int n = neighbours(u, v, rows, cols, r, c, near_u, near_v);
    if (n < least)
        return 0;
    const float noise_u = floor + (isnan(sigma_u[at]) ? 0 : sigma_u[at]);
    const float noise_v = floor + (isnan(sigma_v[at]) ? 0 : sigma_v[at]);
    /* As above, for the edges of the field: medians are dear. */
    const float a = farthest(near_u, n, u[at]) / noise_u;
    const float b = farthest(near_v, n, v[at]) / noise_v;
    if (a * a + b * b <= limit * limit)
        return 0;
    middle_and_spread(near_u, n, &mid_u, &spread_u);
    middle_and_spread(near_v, n, &mid_v, &spread_v);
    return hypotf((u[at] - mid_u) / (noise_u + spread_u),
                  (v[at] - mid_v) / (noise_v + spread_v)) > limit;
}

hmk_status hmk_median_test(const float *u, const float *v, const float *sigma_u,
                           const float *sigma_v, ptrdiff_t rows, ptrdiff_t cols, int least,
                           float floor, float limit, ptrdiff_t first, ptrdiff_t last,
                           uint8_t *outlier)
{
    if (least < 1 || first < 0 || last > rows)
        return HMK_BAD_OPTION;
    for (ptrdiff_t r = first; r < last; r++) {
        const ptrdiff_t row = r * cols;
        memset(outlier + row, 1, (size_t)cols);
        if (r >= RADIUS && r + RADIUS < rows && cols > 2 * RADIUS)
            may_be_outliers(u + row, v + row, sigma_u + row, sigma_v + row, cols, floor, limit,
                            RADIUS, cols - RADIUS, outlier + row);
        for (ptrdiff_t c = 0; c < cols; c++)
            if (outlier[row + c])
                outlier[row + c] = (uint8_t)is_outlier(u, v, sigma_u, sigma_v, rows, cols, least,
                                                       floor, limit, r, c);
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

/* Whether `count` nodes of a row, up to PIECE, which have two nodes on every side, may lie further
 * than the limit from the middle of two opposite neighbours; without branches, as above. */
static void may_bend(const float *u, const float *v, ptrdiff_t cols, float limit,
                     ptrdiff_t count, uint8_t *maybe)
{
    float most[PIECE] = {0};
    for (ptrdiff_t dr = 0; dr <= 2; dr++)
        for (ptrdiff_t dc = dr ? -2 : 1; dc <= 2; dc++) {
            const ptrdiff_t away = dr * cols + dc;
            for (ptrdiff_t i = 0; i < count; i++) {
                const float bu = u[i + away] + u[i - away] - 2 * u[i];
                const float bv = v[i + away] + v[i - away] - 2 * v[i];
                const float bend = bu * bu + bv * bv; /* of twice the distance */
                most[i] = bend > most[i] ? bend : most[i];
            }
        }
    /* Rounding may differ from that of the test proper. */
    for (ptrdiff_t i = 0; i < count; i++)
        maybe[i] = most[i] >= 3.99f * limit * limit;
}

/* The more distant of the two opposite neighbours whose middle node (r, c) is farthest from, if
 * farther than the limit; else NaN. */
static void bend_of(const float *u, const float *v, ptrdiff_t rows, ptrdiff_t cols, float limit,
                    ptrdiff_t r, ptrdiff_t c, float *far_u, float *far_v)
{
    const ptrdiff_t at = r * cols + c;
    float most = limit * limit;
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
            most = bend, *far_u = u[far], *far_v = v[far];
        }
}

hmk_status hmk_bend(const float *u, const float *v, ptrdiff_t rows, ptrdiff_t cols,
                    float limit, ptrdiff_t first, ptrdiff_t last, float *far_u, float *far_v)
{
    if (!(limit >= 0) || first < 0 || last > rows)
        return HMK_BAD_OPTION;
    for (ptrdiff_t r = first; r < last; r++) {
        const ptrdiff_t row = r * cols;
        const int inner = r >= 2 && r + 2 < rows;
        for (ptrdiff_t begin = 0; begin < cols; begin += PIECE) {
            const ptrdiff_t end = cols - begin < PIECE ? cols : begin + PIECE;
            uint8_t maybe[PIECE];
            memset(maybe, 1, sizeof maybe);
            const ptrdiff_t from = begin < 2 ? 2 : begin, to = end > cols - 2 ? cols - 2 : end;
            if (inner && from < to)
                may_bend(u + row + from, v + row + from, cols, limit, to - from,
                         maybe + (from - begin));
            for (ptrdiff_t c = begin; c < end; c++) {
                far_u[row + c] = far_v[row + c] = NAN;
                if (maybe[c - begin])
                    bend_of(u, v, rows, cols, limit, r, c, far_u + row + c, far_v + row + c);
            }
        }
    }
    return HMK_OK;
}

/* The square of the lesser of two changes of one sign, else 0; NaN is none. */
static inline float steady(float before, float after)
{
    const float a = before * before, b = after * after;
    return before * after > 0 ? (a < b ? a : b) : 0.0f;
}

void hmk_add_strain(const float *x, ptrdiff_t rows, ptrdiff_t cols, float reach, ptrdiff_t first,
                    ptrdiff_t last, float *sigma)
{
    const float square = reach * reach;
    for (ptrdiff_t r = first; r < last; r++)
        for (ptrdiff_t begin = 0; begin < cols; begin += PIECE) {
            const ptrdiff_t count = cols - begin < PIECE ? cols - begin : PIECE;
            const float *at = x + r * cols + begin;
            float *to = sigma + r * cols + begin, more[PIECE] = {0};
            if (r >= 2 && r + 2 < rows)
                for (ptrdiff_t i = 0; i < count; i++)
                    more[i] = square * steady(at[i] - at[i - 2 * cols], at[i + 2 * cols] - at[i]);
            const ptrdiff_t from = begin ? 0 : 2;
            const ptrdiff_t end = begin + count > cols - 2 ? cols - 2 - begin : count;
            for (ptrdiff_t i = from; i < end; i++)
                more[i] += square * steady(at[i] - at[i - 2], at[i + 2] - at[i]);
            for (ptrdiff_t i = 0; i < count; i++)
                to[i] = sqrtf(to[i] * to[i] + more[i]);
        }
}
