/* Both windows of every node: read, tapered, their means subtracted, their rows transformed. */
#ifndef HMK_LANES_WINDOWS_H
#define HMK_LANES_WINDOWS_H

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

static void make_tapers(const hmk_window *win, const hmk_batch *batch, const work *k)
{
    const int n = win->n;
    const vec shift_row = load(batch->shift_row), shift_col = load(batch->shift_col);
    for (int i = 0; i < n; i++) {
        vec x = splat((float)i - win->centre_row), y = splat((float)i - win->centre_col);
        store(k->ref_row + i * HMK_LANES, taper(x, (float)n, win->beta));
        store(k->sec_row + i * HMK_LANES, taper(x - shift_row, (float)n, win->beta));
        store(k->ref_col + i * HMK_LANES, taper(y, (float)n, win->beta));
        store(k->sec_col + i * HMK_LANES, taper(y - shift_col, (float)n, win->beta));
    }
}

/* ---- windows ------------------------------------------------------------------------- */

/* Row i of every lane's window, transposed to vecs. `from` are the windows' first pixels. */
static inline void gather_row(const float *const *from, ptrdiff_t at, int n, float *to)
{
    int j = 0;
    for (; j + HMK_LANES <= n; j += HMK_LANES)
        transpose_in(from, at + j, to + (size_t)j * HMK_LANES);
    for (; j < n; j++)
        for (int l = 0; l < HMK_LANES; l++)
            to[j * HMK_LANES + l] = from[l][at + j];
}

/* Read both windows into re (reference) and im (secondary). Returns the lanes where all is
 * valid; their means are right, the others' are left to masked_means. */
static mask read_windows(const hmk_window *win, const hmk_batch *batch, const work *k, means *m)
{
    const int n = win->n, pitch = (n + 1) * HMK_LANES;
    vec invalid = splat(0);
    *m = (means){splat(0), splat(0), splat(0), splat(0)};
    for (int i = 0; i < n; i++) {
        float *re = k->re + (size_t)i * pitch, *im = k->im + (size_t)i * pitch;
        gather_row(batch->reference, i * batch->stride, n, re);
        gather_row(batch->secondary, i * batch->stride, n, im);
        vec a = splat(0), b = splat(0);
        for (int j = 0; j < n * HMK_LANES; j += HMK_LANES) {
            a += load(k->ref_col + j) * load(re + j);
            b += load(k->sec_col + j) * load(im + j);
        }
        m->mean_a += load(k->ref_row + i * HMK_LANES) * a;
        m->mean_b += load(k->sec_row + i * HMK_LANES) * b;
        invalid += (a - a) + (b - b); /* 0, or NaN where a pixel was not finite */
    }
    m->weight_a = sum_of(k->ref_row, n) * sum_of(k->ref_col, n);
    m->weight_b = sum_of(k->sec_row, n) * sum_of(k->sec_col, n);
    return invalid == 0;
}

/* Both windows into re (reference) and im (secondary), tapered means subtracted, tapered, and
 * their rows transformed. Returns the sum of their squares. */
static vec load_windows(const hmk_window *win, const hmk_batch *batch, work *k,
                        hmk_patch *patch)
{
    const int n = win->n;
    const size_t pitch = (size_t)(n + 1) * HMK_LANES, row = (size_t)n * HMK_LANES;
    make_tapers(win, batch, k);
    means m;
    const mask whole = read_windows(win, batch, k, &m);
    const int holes = !none(~whole);
    if (holes) {
        make_masks(win, batch, k, patch);
        masked_means(win, whole, k, &m, patch);
    } else {
        store(patch->valid_reference, splat(1)), store(patch->valid_secondary, splat(1));
        store(patch->valid_both, splat(1));
        k->inflation = splat(win->inflation);
    }
    m.mean_a /= vmax(m.weight_a, splat(1e-6f)), m.mean_b /= vmax(m.weight_b, splat(1e-6f));
    vec power_a = splat(0), power_b = splat(0);
    const line_function along = line_of(n);
    for (int i = 0; i < n; i++) {
        float *re = k->re + i * pitch, *im = k->im + i * pitch;
        vec wa = load(k->ref_row + i * HMK_LANES), wb = load(k->sec_row + i * HMK_LANES);
        const float *soft_a = k->soft_ref + i * row, *soft_b = k->soft_sec + i * row;
        float *to_re = win->fft ? re : k->a_re, *to_im = win->fft ? im : k->a_im;
        for (int j = 0; j < n * HMK_LANES; j += HMK_LANES) {
            vec a = load(re + j) - m.mean_a, b = load(im + j) - m.mean_b;
            a *= holes ? load(soft_a + j) : wa * load(k->ref_col + j);
            b *= holes ? load(soft_b + j) : wb * load(k->sec_col + j);
            power_a += a * a, power_b += b * b;
            store(to_re + j, a), store(to_im + j, b);
        }
        if (!win->fft)
            along(k->a_re, k->a_im, HMK_LANES, re, im, HMK_LANES);
    }
    /* Rounding leaves about 1e-6 of the mean in a constant patch: that is no texture. */
    vec floor_a = 1e-5f * (1.0f + vabs(m.mean_a)), floor_b = 1e-5f * (1.0f + vabs(m.mean_b));
    mask flat = (power_a <= m.weight_a * floor_a * floor_a) |
                (power_b <= m.weight_b * floor_b * floor_b);
    store(patch->texture, only(~flat, splat(1)));
    return power_a + power_b;
}

#endif
