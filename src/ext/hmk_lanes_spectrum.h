/* The cross-spectrum of the two windows in the lanes, and its correlation surface. */
#ifndef HMK_LANES_SPECTRUM_H
#define HMK_LANES_SPECTRUM_H

#include <string.h>

#include "hmk_fft.h"
#include "hmk_lanes_fft.h"
#include "hmk_lanes_work.h"

/* Weighted unit phasor W Q = C / |C| W(|C|), and 1 / W. */
static inline void weigh(hmk_weight weight, vec re, vec im, vec least, vec *q_re, vec *q_im,
                         vec *inv_w)
{
    vec power = re * re + im * im;
    mask some = power > least;
    vec y = inv_fourth_root(vmax(power, least + 1e-37f)); /* |C|^-1/2 */
    vec scale = weight == HMK_WEIGHT_HALF ? y : weight == HMK_WEIGHT_WHITE ? y * y : splat(1);
    *inv_w = weight == HMK_WEIGHT_HALF ? y : weight == HMK_WEIGHT_WHITE ? splat(1) : y * y;
    *q_re = only(some, re * scale);
    *q_im = only(some, im * scale);
}

/* A column of the rows' transforms, as its own transform fetches it: without the means. */
typedef struct {
    const float *re, *im, *ref_row, *sec_row;
    size_t pitch;
    vec ref_re, ref_im, sec_re, sec_im;
} column_points;

INLINE void fetch_column(void *from, int i, vec *re, vec *im)
{
    const column_points *p = from;
    const vec a = load(p->ref_row + i * HMK_LANES), b = load(p->sec_row + i * HMK_LANES);
    *re = load(p->re + (size_t)i * p->pitch) - a * p->ref_re - b * p->sec_re;
    *im = load(p->im + (size_t)i * p->pitch) - a * p->ref_im - b * p->sec_im;
}

/* Column c of the packed spectrum to a line at hand. */
static void column(const hmk_window *win, const work *k, int c, float *re, float *im)
{
    const int n = win->n, at = c * HMK_LANES;
    const size_t pitch = (size_t)(n + 1) * HMK_LANES;
    if (!win->fft) {
        column_points p = {k->re + at, k->im + at, k->ref_row, k->sec_row, pitch,
                           load(k->ref_mean_re + at), load(k->ref_mean_im + at),
                           load(k->sec_mean_re + at), load(k->sec_mean_im + at)};
        line_of(n, fetch_column, &p, re, im, HMK_LANES);
        return;
    }
    for (int i = 0; i < n; i++) {
        store(re + i * HMK_LANES, load(k->re + at + (size_t)i * pitch));
        store(im + i * HMK_LANES, load(k->im + at + (size_t)i * pitch));
    }
}

/* C = A B* from the packed spectrum Z = FFT(a + i b):
 * C = (Re Z+ Im Z- + Re Z- Im Z+) / 2 + i (|Z+|^2 - |Z-|^2) / 4, Z+- = Z(+-k).
 *
 * Of the half plane, k_col = 0 ... n/2-2 and k_row = 0, +-1 ... +-(n/2-2), as pairs +-k_row;
 * the mean and the bins that the other half repeats are zero. The Nyquist bins are left out,
 * and those next to them too: a taper mixes into them what lies beyond, whose phase runs the
 * other way (a bias of 0.001 px on texture that is not band-limited). */
static void cross_spectrum(const hmk_window *win, const hmk_batch *batch, work *k, vec power)
{
    const int n = win->n, top = n / 2 - 1;
    /* What makes up for interpolation, along rows and along columns. */
    const float *by_row = batch->response ? batch->response + 2 * (n / 2) * HMK_LANES : NULL;
    const float *by_col = by_row ? by_row + 3 * (n / 2) * HMK_LANES : NULL;
    if (win->fft)
        hmk_fft_run(win->fft, k->re, k->im);
    /* Negligible means: below 1e-6 of the mean amplitude of the two spectra. */
    vec least = 0.5e-6f * power;
    least = least * least;
    vec squares = splat(0);
    float *bin = k->bins;
    const float *gain = win->gain;
    for (int c = 0; c < top; c++) {
        column(win, k, c, k->a_re, k->a_im);
        const float *minus_re = k->a_re, *minus_im = k->a_im;
        if (c > 0) {
            column(win, k, n - c, k->b_re, k->b_im);
            minus_re = k->b_re, minus_im = k->b_im;
        }
        for (int r = 0; r < top; r++)
            for (int side = 0; side < 2; side++) {
                vec re = splat(0), im = splat(0), iw = splat(0);
                if (c == 0 ? side == 0 && r > 0 : side == 0 || r > 0) {
                    const int at = (side ? n - r : r) * HMK_LANES;
                    const int opposite = r == 0 ? 0 : (side ? r : n - r) * HMK_LANES;
                    vec p = load(k->a_re + at), q = load(k->a_im + at);
                    vec s = load(minus_re + opposite), t = load(minus_im + opposite);
                    re = 0.5f * (p * t + q * s);
                    im = 0.25f * ((p * p + q * q) - (s * s + t * t));
                    if (by_row) {
                        const vec up = load(by_row + r * HMK_LANES) * load(by_col + c * HMK_LANES);
                        re *= up, im *= up;
                    }
                    weigh(win->weight, re, im, least, &re, &im, &iw);
                }
                if (gain) {
                    re *= gain[0], im *= gain[0], iw *= gain[1];
                    gain += 3;
                }
                squares += re * re + im * im;
                store(bin + Q_RE, re), store(bin + Q_IM, im), store(bin + INV_W, iw);
                bin += BIN;
            }
    }
    k->squares = squares;
}

/* How far a sum W cos psi lies above what chance makes of random phases, in its own
 * standard deviations. */
static inline vec evidence_of(const work *k, vec sum)
{
    return sum * vrsqrt(vmax(0.5f * k->squares, splat(1e-30f))) / k->inflation;
}

static vec total_weight(const work *k, int n)
{
    const int top = n / 2 - 1;
    vec sum = splat(0);
    const float *bin = k->bins, *end = bin + top * top * 2 * BIN;
    for (; bin < end; bin += BIN) {
        vec re = load(bin + Q_RE), im = load(bin + Q_IM);
        sum += (re * re + im * im) * load(bin + INV_W);
    }
    return sum;
}

/* Spread W Q over the half plane and transform: re becomes the surface, whose height is
 * sum W cos psi. (The whole plane's inverse transform of conj(Q) is real, and twice the real
 * part of the half plane's; that of conj(Q) is the forward transform of Q, mirrored.) */
static void surface(const hmk_window *win, const work *k)
{
    const int n = win->n, top = n / 2 - 1;
    const size_t pitch = (size_t)(n + 1) * HMK_LANES, size = (size_t)n * HMK_LANES;
    const float *bin = k->bins;
    if (win->fft) {
        memset(k->re, 0, (size_t)n * pitch * sizeof *k->re);
        memset(k->im, 0, (size_t)n * pitch * sizeof *k->im);
    }
    memset(k->a_re, 0, size * sizeof *k->a_re);
    memset(k->a_im, 0, size * sizeof *k->a_im);
    for (int c = 0; c < top; c++) {
        float *to_re = win->fft ? k->re + c * HMK_LANES : k->a_re;
        float *to_im = win->fft ? k->im + c * HMK_LANES : k->a_im;
        const size_t apart = win->fft ? pitch : HMK_LANES;
        for (int r = 0; r < top; r++)
            for (int side = 0; side < 2; side++) {
                const size_t at = (size_t)(side ? n - r : r) * apart;
                if (side == 0 || r > 0)
                    store(to_re + at, load(bin + Q_RE)), store(to_im + at, load(bin + Q_IM));
                bin += BIN;
            }
        if (!win->fft)
            stored_line(n)(k->a_re, k->a_im, HMK_LANES, k->re + c * HMK_LANES,
                       k->im + c * HMK_LANES, pitch);
    }
    if (win->fft) {
        hmk_fft_run(win->fft, k->re, k->im);
        return;
    }
    for (int i = 0; i < n; i++) { /* the columns from `top` on are empty */
        float *re = k->re + (size_t)i * pitch, *im = k->im + (size_t)i * pitch;
        memset(re + top * HMK_LANES, 0, (size_t)(n - top) * HMK_LANES * sizeof *re);
        memset(im + top * HMK_LANES, 0, (size_t)(n - top) * HMK_LANES * sizeof *im);
        stored_line(n)(re, im, HMK_LANES, re, im, HMK_LANES);
    }
}

#endif
