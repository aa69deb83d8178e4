/* Both windows of every node: read, tapered, their means subtracted, their rows transformed. */
#ifndef HMK_LANES_WINDOWS_H
#define HMK_LANES_WINDOWS_H

#include <math.h>

#include "hmk_lanes_fft.h"
#include "hmk_lanes_masks.h"
#include "hmk_lanes_work.h"

/* ---- taper --------------------------------------------------------------------------- */

/* w(x): 1 in the middle, cos^2 towards the ends of a window of side n, 0 outside. */
static inline vec taper(vec x, float n, float beta)
{
    vec t = (vabs(x) - n * (0.5f - beta)) * (1.0f / (beta * n));
    t = vmin(vmax(t, splat(0.0f)), splat(1.0f));
    /* cos^2(pi t / 2) = (1 + cos(pi t)) / 2, and cos(pi t) = -sin(pi u) with |u| <= 1/2 */
    vec u = t - 0.5f;
    vec s = cos_pi(0.5f - vabs(u)); /* sin(pi |u|) */
    return 0.5f - 0.5f * vsign(s, u);
}

/* The tapers of one axis, the secondary's moved by `shift`, which is below 2 px. */
static void make_taper(const hmk_window *win, float centre, vec shift, float *ref, float *sec)
{
    const int n = win->n;
    const float flat = (float)n * (0.5f - win->beta) - 2.0f;
    for (int i = 0; i < n; i++, ref += HMK_LANES, sec += HMK_LANES) {
        const vec x = splat((float)i - centre);
        const int one = fabsf((float)i - centre) <= flat;
        store(ref, one ? splat(1) : taper(x, (float)n, win->beta));
        store(sec, one ? splat(1) : taper(x - shift, (float)n, win->beta));
    }
}

static void make_tapers(const hmk_window *win, const hmk_batch *batch, const work *k)
{
    make_taper(win, win->centre_row, moves(batch, batch->shift_row), k->ref_row, k->sec_row);
    make_taper(win, win->centre_col, moves(batch, batch->shift_col), k->ref_col, k->sec_col);
}

/* ---- pixels -------------------------------------------------------------------------- */

/* Nodes that lie side by side so many pixels apart, the usual step, share most of what they see:
 * lane l sees at pixel j + SPACING what lane l + 1 sees at j. */
enum { SPACING = 8, TOOTH = HMK_LANES + (HMK_LANES < 8 ? 8 : HMK_LANES) };

/* How a row of windows lies in its buffer. */
typedef enum {
    SPREAD, /* pixel j of lane l at j * HMK_LANES + l */
    COMBED  /* at (j % SPACING) * TOOTH + j / SPACING + l: the overlap is there once only */
} layout;

static layout layout_of(const float *const *from, int n)
{
    /* A comb is as wide for the smallest window, whose line has no room for it. */
    if (n % SPACING || n > 64 || n * HMK_LANES < SPACING * TOOTH)
        return SPREAD;
    for (int l = 1; l < HMK_LANES; l++)
        if (from[l] != from[0] + SPACING * l)
            return SPREAD;
    return COMBED;
}

static void spread_row(const float *const *from, ptrdiff_t at, int n, float *to)
{
    int j = 0;
    for (; j + HMK_LANES <= n; j += HMK_LANES)
        transpose_in(from, at + j, to + (size_t)j * HMK_LANES);
    for (; j < n; j++)
        for (int l = 0; l < HMK_LANES; l++)
            to[j * HMK_LANES + l] = from[l][at + j];
}

INLINE void comb_row(const float *row, int n, float *to)
{
    enum { BLOCK = SPACING < HMK_LANES ? SPACING : HMK_LANES, QUAD = 4 };
#pragma GCC unroll 2
    for (int p = 0; p < SPACING; p += BLOCK) {
        vec v[HMK_LANES];
        transposed_steps(row + p, SPACING, v);
#pragma GCC unroll 16
        for (int j = 0; j < BLOCK; j++)
            store_anywhere(to + (p + j) * TOOTH, v[j]);
    }
    /* What the last lanes see beyond: of so many nodes more, four at a time. */
    const int beyond = n / SPACING - 1;
    for (int q = 0; q < beyond; q += QUAD) {
        quad v[2 * QUAD];
        const float *from = row + SPACING * (HMK_LANES + q);
#pragma GCC unroll 4
        for (int l = 0; l < QUAD; l++) {
            memcpy(&v[l], from, sizeof v[l]);
            memcpy(&v[QUAD + l], from + QUAD, sizeof v[l]);
            from += q + l + 1 < beyond ? SPACING : 0; /* no further than the windows reach */
        }
        transpose_quads(v), transpose_quads(v + QUAD);
#pragma GCC unroll 8
        for (int p = 0; p < SPACING; p++)
            memcpy(to + p * TOOTH + HMK_LANES + q, &v[p], sizeof v[p]);
    }
}

static inline void read_row(layout how, const float *const *from, ptrdiff_t at, int n, float *to)
{
    if (how == COMBED)
        comb_row(from[0] + at, n, to);
    else
        spread_row(from, at, n, to);
}

INLINE vec pixel(layout how, const float *buffer, int j)
{
    return how == SPREAD ? load(buffer + j * HMK_LANES)
                         : load_anywhere(buffer + j % SPACING * TOOTH + j / SPACING);
}

/* ---- rows ---------------------------------------------------------------------------- */

/* One row of the windows and its tapers, as the transform fetches it. */
typedef struct {
    const float *ref, *sec;               /* pixels */
    const float *ref_col, *sec_col;       /* tapers */
    const float *ref_pivot, *sec_pivot;   /* the same times the lanes' pivots */
    vec ref_row, sec_row;                 /* this row's tapers */
    vec power_a, power_b;                 /* sums of squares */
    const float *ref_soft, *sec_soft;     /* where pixels miss: this row's masks, */
    mask whole;                           /* lanes without holes, */
    vec mean_a, mean_b;                   /* means of the others */
} window_row;

/* Pixel j of both windows, tapered, from a pivot on. */
INLINE void fetch_pixel(layout ref, layout sec, window_row *r, int j, vec *a, vec *b)
{
    const int at = j * HMK_LANES;
    const vec x = pixel(ref, r->ref, j), y = pixel(sec, r->sec, j);
    *a = r->ref_row * (x * load(r->ref_col + at) - load(r->ref_pivot + at));
    *b = r->sec_row * (y * load(r->sec_col + at) - load(r->sec_pivot + at));
    r->power_a += *a * *a, r->power_b += *b * *b;
}

#define FETCH(name, ref, sec)                           \
    INLINE void name(void *row, int j, vec *a, vec *b)  \
    {                                                   \
        fetch_pixel(ref, sec, row, j, a, b);            \
    }
FETCH(fetch_spread, SPREAD, SPREAD)
FETCH(fetch_combed_reference, COMBED, SPREAD)
FETCH(fetch_combed, COMBED, COMBED)
#undef FETCH

/* The same with masks, which hold the tapers; lanes without holes as if the batch had none. */
INLINE void fetch_masked(void *from, int j, vec *a, vec *b)
{
    window_row *r = from;
    const int at = j * HMK_LANES;
    const vec x = load(r->ref + at), y = load(r->sec + at);
    vec u = r->ref_row * (x * load(r->ref_col + at) - load(r->ref_pivot + at));
    vec v = r->sec_row * (y * load(r->sec_col + at) - load(r->sec_pivot + at));
    *a = either(r->whole, u, (x - r->mean_a) * load(r->ref_soft + at));
    *b = either(r->whole, v, (y - r->mean_b) * load(r->sec_soft + at));
    r->power_a += *a * *a, r->power_b += *b * *b;
}

/* Transform row i of both windows into re and im, or only taper it where a plan does the rest. */
INLINE void transform_row(fetch_function fetch, const hmk_window *win, const work *k, int i,
                          window_row *r, vec *power_a, vec *power_b)
{
    const int n = win->n;
    const size_t pitch = (size_t)(n + 1) * HMK_LANES;
    float *re = k->re + i * pitch, *im = k->im + i * pitch;
    r->ref_row = load(k->ref_row + i * HMK_LANES), r->sec_row = load(k->sec_row + i * HMK_LANES);
    r->power_a = r->power_b = splat(0);
    if (!win->fft)
        line_of(n, fetch, r, re, im, HMK_LANES);
    else
        for (int j = 0; j < n; j++) {
            vec a, b;
            fetch(r, j, &a, &b);
            store(re + j * HMK_LANES, a), store(im + j * HMK_LANES, b);
        }
    *power_a += r->power_a, *power_b += r->power_b;
}

/* All rows. A row is read one row ahead, so that what the combs store has reached the cache when
 * it is loaded across the borders of what was stored. */
INLINE void transform_rows(layout ref, layout sec, fetch_function fetch, const hmk_window *win,
                           const hmk_batch *batch, const work *k, window_row *r, vec *power_a,
                           vec *power_b)
{
    const int n = win->n;
    float *const a[2] = {k->a_re, k->a_im}, *const b[2] = {k->b_re, k->b_im};
    *power_a = *power_b = splat(0);
    for (int i = 0; i <= n; i++) {
        if (i < n) {
            read_row(ref, batch->reference, i * batch->stride, n, a[i % 2]);
            read_row(sec, batch->secondary, i * batch->stride, n, b[i % 2]);
        }
        if (i > 0) {
            r->ref = a[(i - 1) % 2], r->sec = b[(i - 1) % 2];
            transform_row(fetch, win, k, i - 1, r, power_a, power_b);
        }
    }
}

/* The same, for the layouts that the batch has. */
static void transform_all(const hmk_window *win, const hmk_batch *batch, const work *k,
                          window_row *r, vec *power_a, vec *power_b)
{
    const int n = win->n;
    const layout ref = layout_of(batch->reference, n), sec = layout_of(batch->secondary, n);
    if (ref == COMBED && sec == COMBED)
        transform_rows(COMBED, COMBED, fetch_combed, win, batch, k, r, power_a, power_b);
    else if (ref == COMBED)
        transform_rows(COMBED, SPREAD, fetch_combed_reference, win, batch, k, r, power_a,
                       power_b);
    else
        transform_rows(SPREAD, SPREAD, fetch_spread, win, batch, k, r, power_a, power_b);
}

/* ---- windows --------------------------------------------------------------------------- */

/* A pixel of every lane's window near its middle: beside it, texture is what is left. */
static vec pivot_of(const float *const *from, ptrdiff_t at)
{
    HMK_PER_LANE(float) value[HMK_MAX_LANES];
    for (int l = 0; l < HMK_LANES; l++)
        value[l] = from[l][at];
    vec v = load(value);
    return only(vfinite(v), v);
}

static void start_row(const hmk_window *win, const hmk_batch *batch, const work *k,
                      window_row *r, vec *pivot_a, vec *pivot_b)
{
    const int n = win->n;
    const ptrdiff_t middle = n / 2 * batch->stride + n / 2;
    *pivot_a = pivot_of(batch->reference, middle);
    *pivot_b = pivot_of(batch->secondary, middle);
    for (int j = 0; j < n * HMK_LANES; j += HMK_LANES) {
        store(k->ref_pivot + j, *pivot_a * load(k->ref_col + j));
        store(k->sec_pivot + j, *pivot_b * load(k->sec_col + j));
    }
    *r = (window_row){.ref_col = k->ref_col, .sec_col = k->sec_col,
                      .ref_pivot = k->ref_pivot, .sec_pivot = k->sec_pivot};
}

/* Tapered means of what the rows' transforms hold, from their first bins; without transforms,
 * from the rows themselves. Returns the lanes where all pixels are valid. */
static mask means_of(const hmk_window *win, const work *k, means *m)
{
    const int n = win->n;
    const size_t pitch = (size_t)(n + 1) * HMK_LANES;
    m->mean_a = m->mean_b = splat(0);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < (win->fft ? n : 1); j++) {
            m->mean_a += load(k->re + i * pitch + (size_t)j * HMK_LANES);
            m->mean_b += load(k->im + i * pitch + (size_t)j * HMK_LANES);
        }
    m->weight_a = sum_of(k->ref_row, n) * sum_of(k->ref_col, n);
    m->weight_b = sum_of(k->sec_row, n) * sum_of(k->sec_col, n);
    const vec both = m->mean_a + m->mean_b;
    return both - both == 0; /* NaN where a pixel was not finite */
}

/* The spectra of the means under the tapers: what the columns of the rows' transforms hold too
 * much of. Row i of column c of the packed spectrum is too large by
 * ref_row[i] A[c] + sec_row[i] B[c], A = mean_a FFT(ref_col), B = i mean_b FFT(sec_col). */
static void make_mean_spectra(const work *k, int n, const means *m)
{
    stored_line(n)(k->ref_col, k->sec_col, HMK_LANES, k->a_re, k->a_im, HMK_LANES);
    const vec half_a = 0.5f * m->mean_a, half_b = 0.5f * m->mean_b;
    for (int c = 0; c < n; c++) {
        const int at = c * HMK_LANES, opposite = (c ? n - c : 0) * HMK_LANES;
        const vec p = load(k->a_re + at), q = load(k->a_im + at);
        const vec s = load(k->a_re + opposite), t = load(k->a_im + opposite);
        store(k->ref_mean_re + at, half_a * (p + s)), store(k->ref_mean_im + at, half_a * (q - t));
        store(k->sec_mean_re + at, half_b * (p - s)), store(k->sec_mean_im + at, half_b * (q + t));
    }
}

/* The same for windows that a plan transforms, while they are pixels. */
static void subtract_means(const work *k, int n, const means *m)
{
    const size_t pitch = (size_t)(n + 1) * HMK_LANES;
    for (int i = 0; i < n; i++) {
        const vec a = m->mean_a * load(k->ref_row + i * HMK_LANES);
        const vec b = m->mean_b * load(k->sec_row + i * HMK_LANES);
        for (int j = 0; j < n * HMK_LANES; j += HMK_LANES) {
            float *re = k->re + i * pitch + j, *im = k->im + i * pitch + j;
            store(re, load(re) - a * load(k->ref_col + j));
            store(im, load(im) - b * load(k->sec_col + j));
        }
    }
}

static inline vec mean(vec sum, vec weight)
{
    return sum / vmax(weight, splat(1e-6f));
}

/* Where pixels miss in some lane: with masks, and masked means subtracted at once; of the lanes
 * without holes as if none had any. Returns those lanes. */
static mask load_masked(const hmk_window *win, const hmk_batch *batch, work *k, means *m,
                        window_row *r, hmk_patch *patch, vec *power_a, vec *power_b)
{
    const int n = win->n;
    const size_t pitch = (size_t)(n + 1) * HMK_LANES, line = (size_t)n * HMK_LANES;
    for (int i = 0; i < n; i++) {
        spread_row(batch->reference, i * batch->stride, n, k->re + i * pitch);
        spread_row(batch->secondary, i * batch->stride, n, k->im + i * pitch);
    }
    const mask whole = make_masks(win, batch, k, patch);
    means masked;
    masked_means(win, whole, k, &masked, patch);
    r->whole = whole;
    r->mean_a = mean(masked.mean_a, masked.weight_a);
    r->mean_b = mean(masked.mean_b, masked.weight_b);
    *power_a = *power_b = splat(0);
    for (int i = 0; i < n; i++) {
        r->ref = k->re + i * pitch, r->sec = k->im + i * pitch;
        r->ref_soft = k->soft_ref + i * line, r->sec_soft = k->soft_sec + i * line;
        transform_row(fetch_masked, win, k, i, r, power_a, power_b);
    }
    means_of(win, k, m);
    m->mean_a = only(whole, m->mean_a), m->mean_b = only(whole, m->mean_b);
    m->weight_a = either(whole, m->weight_a, masked.weight_a);
    m->weight_b = either(whole, m->weight_b, masked.weight_b);
    return whole;
}

/* Both windows into re (reference) and im (secondary), tapered and their rows transformed; what
 * is left of their tapered means, which cross_spectrum subtracts, into `k`. Returns the sum of
 * their squares, from pivots on. */
static vec load_windows(const hmk_window *win, const hmk_batch *batch, work *k,
                        hmk_patch *patch)
{
    const int n = win->n;
    make_tapers(win, batch, k);
    window_row r;
    means m;
    vec pivot_a, pivot_b, power_a, power_b;
    start_row(win, batch, k, &r, &pivot_a, &pivot_b);
    mask whole = splat(0) != 0;
    if (!batch->holes) {
        transform_all(win, batch, k, &r, &power_a, &power_b);
        whole = means_of(win, k, &m);
    }
    if (none(~whole)) {
        store(patch->valid_reference, splat(1)), store(patch->valid_secondary, splat(1));
        store(patch->valid_both, splat(1));
        k->inflation = splat(win->inflation);
    } else {
        whole = load_masked(win, batch, k, &m, &r, patch, &power_a, &power_b);
        pivot_a = either(whole, pivot_a, r.mean_a), pivot_b = either(whole, pivot_b, r.mean_b);
    }
    /* Rounding leaves about 1e-6 of the mean in a constant patch: that is no texture. */
    vec floor_a = 1e-5f * (1.0f + vabs(pivot_a)), floor_b = 1e-5f * (1.0f + vabs(pivot_b));
    mask flat = (power_a <= m.weight_a * floor_a * floor_a) |
                (power_b <= m.weight_b * floor_b * floor_b);
    store(patch->texture, only(~flat, splat(1)));
    m.mean_a = mean(m.mean_a, m.weight_a), m.mean_b = mean(m.mean_b, m.weight_b);
    if (win->fft)
        subtract_means(k, n, &m);
    else
        make_mean_spectra(k, n, &m);
    return power_a + power_b;
}

#endif
