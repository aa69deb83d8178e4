/* Built once per instruction set, with HMK_LANES (4, 8, 16) and HMK_ISA (a name) defined.
 *
 * A `vec` holds one number of each node of the batch; the code below reads as if it were one
 * node. Arrays in scratch memory are vec-valued; window rows are n + 1 vecs apart, so that a
 * column does not fall into one cache set. */
#include "hmk_lanes.h"

#include <math.h>
#include <string.h>

#include "hmk_fft.h"
#include "hmk_lanes_fft.h"
#include "hmk_vec.h"

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

/* ---- windows ------------------------------------------------------------------------- */

/* A bin in memory: W Q and 1 / W side by side, so that all of it comes in one stream. */
enum { Q_RE = 0, Q_IM = HMK_LANES, INV_W = 2 * HMK_LANES, BIN = 3 * HMK_LANES };

typedef struct {
    float *re, *im;           /* (n, n + 1) vecs: the window pair, then its spectrum */
    float *bins;              /* (n/2-1, n/2-1, 2) bins of the half plane, see cross_spectrum */
    float *hard, *between;    /* (n, n) vecs: a mask and scratch, before there is a spectrum */
    float *ref_row, *ref_col; /* (n) vecs: taper of the reference */
    float *sec_row, *sec_col; /* (n) vecs: taper of the secondary, shifted lane by lane */
    float *er_re, *er_im;     /* (n/2) vecs: exp(-i omega_k d) along rows and columns */
    float *ec_re, *ec_im;
    float *a_re, *a_im, *b_re, *b_im; /* (n) vecs: two lines at hand */
    float *soft_ref, *soft_sec; /* (n, n) vecs: soft masks, where a pixel is invalid */
    vec squares;              /* sum W^2 */
    vec inflation;            /* noise of bins that taper and mask tie together; hmk_lanes.h */
} work;

/* Floats of a lane: windows, spectrum (its place also holds two masks while they are made),
 * ten lines, soft masks. */
static size_t scratch_floats(int n)
{
    size_t window = (size_t)n * (size_t)(n + 1), area = (size_t)n * (size_t)n;
    return (2 * window + 2 * area + 10 * (size_t)n + 2 * area) * HMK_LANES;
}

static work lay_out(int n, float *scratch)
{
    const size_t line = (size_t)n * HMK_LANES, area = (size_t)n * line;
    const size_t window = area + line;
    work k;
    k.re = scratch, k.im = k.re + window;
    k.bins = k.im + window;
    k.hard = k.bins, k.between = k.hard + area;
    k.ref_row = k.bins + 2 * area, k.ref_col = k.ref_row + line;
    k.sec_row = k.ref_col + line, k.sec_col = k.sec_row + line;
    k.er_re = k.sec_col + line, k.er_im = k.er_re + line / 2;
    k.ec_re = k.er_im + line / 2, k.ec_im = k.ec_re + line / 2;
    k.a_re = k.ec_im + line / 2, k.a_im = k.a_re + line;
    k.b_re = k.a_im + line, k.b_im = k.b_re + line;
    k.soft_ref = k.b_im + line, k.soft_sec = k.soft_ref + area;
    k.squares = splat(0), k.inflation = splat(0);
    return k;
}

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

static inline vec sum_of(const float *line, int n)
{
    vec sum = splat(0);
    for (int i = 0; i < n * HMK_LANES; i += HMK_LANES)
        sum += load(line + i);
    return sum;
}

/* Tapered means of two windows, and what they rest on. */
typedef struct {
    vec mean_a, mean_b, weight_a, weight_b;
} means;

/* ---- masks --------------------------------------------------------------------------- */

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
 * out of here and of masked_means as if the batch had none: bit by bit. */
static void make_masks(const hmk_window *win, const hmk_batch *batch, work *k,
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
    soften(n, hard, load(batch->shift_row), load(batch->shift_col), between, k->soft_sec);
    const float area = 1.0f / ((float)n * (float)n);
    store(patch->valid_reference, count_a * area);
    store(patch->valid_secondary, count_b * area);
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
    out->mean_a = either(whole, out->mean_a, m.mean_a);
    out->mean_b = either(whole, out->mean_b, m.mean_b);
    out->weight_a = either(whole, out->weight_a, m.weight_a);
    out->weight_b = either(whole, out->weight_b, m.weight_b);
}

/* ---- both windows -------------------------------------------------------------------- */

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

/* ---- cross-spectrum ------------------------------------------------------------------ */

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

/* Column c of the packed spectrum, rows transformed already, to a line at hand. */
static inline void column(const hmk_window *win, const work *k, int c, float *re, float *im)
{
    const int n = win->n;
    const size_t pitch = (size_t)(n + 1) * HMK_LANES;
    const float *from_re = k->re + c * HMK_LANES, *from_im = k->im + c * HMK_LANES;
    if (!win->fft) {
        line_of(n)(from_re, from_im, pitch, re, im, HMK_LANES);
        return;
    }
    for (int i = 0; i < n; i++) {
        store(re + i * HMK_LANES, load(from_re + (size_t)i * pitch));
        store(im + i * HMK_LANES, load(from_im + (size_t)i * pitch));
    }
}

/* C = A B* from the packed spectrum Z = FFT(a + i b):
 * C = (Re Z+ Im Z- + Re Z- Im Z+) / 2 + i (|Z+|^2 - |Z-|^2) / 4, Z+- = Z(+-k).
 *
 * Of the half plane, k_col = 0 ... n/2-2 and k_row = 0, +-1 ... +-(n/2-2), as pairs +-k_row;
 * the mean and the bins that the other half repeats are zero. The Nyquist bins are left out,
 * and those next to them too: a taper mixes into them what lies beyond, whose phase runs the
 * other way (a bias of 0.001 px on texture that is not band-limited). */
static void cross_spectrum(const hmk_window *win, work *k, vec power)
{
    const int n = win->n, top = n / 2 - 1;
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

/* ---- coarse: peak of the correlation surface ------------------------------------------- */

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
            line_of(n)(k->a_re, k->a_im, HMK_LANES, k->re + c * HMK_LANES,
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
        line_of(n)(re, im, HMK_LANES, re, im, HMK_LANES);
    }
}

/* A second match closer than this to the first is the same match. */
enum { SAME_PEAK = 4 };

static inline mask wrap(mask d, int n) /* to -n/2 ... n/2-1, from one period off at most */
{
    return d + (n & (d < -n / 2)) - (n & (d >= n / 2));
}

static void kernel_peak(const hmk_window *win, const hmk_batch *batch, float *scratch,
                        hmk_peak *out)
{
    const int n = win->n, h = n / 2;
    const size_t pitch = (size_t)(n + 1) * HMK_LANES;
    work k = lay_out(n, scratch);
    vec power = load_windows(win, batch, &k, &out->patch);
    cross_spectrum(win, &k, power);
    vec sum = total_weight(&k, n);
    surface(win, &k);

    vec best = splat(-1e30f);
    mask where = (mask){0};
    for (int r = 0; r < n; r++)
        for (int c = 0; c < n; c++) {
            vec value = load(k.re + (size_t)r * pitch + (size_t)c * HMK_LANES);
            mask higher = value > best;
            best = either(higher, value, best);
            where = (where & ~higher) | (higher & (r * n + c));
        }
    mask row = where / n, col = where - row * n;
    vec second = splat(-1e30f);
    mask second_row = row, second_col = col;
    for (int r = 0; r < n; r++) {
        mask dr = wrap(row - r, n);
        mask near_row = (dr >= -SAME_PEAK) & (dr <= SAME_PEAK);
        for (int c = 0; c < n; c++) {
            mask dc = wrap(col - c, n);
            mask same = near_row & (dc >= -SAME_PEAK) & (dc <= SAME_PEAK);
            vec value = load(k.re + (size_t)r * pitch + (size_t)c * HMK_LANES);
            mask higher = (value > second) & ~same;
            second = either(higher, value, second);
            second_row = (second_row & ~higher) | (higher & r);
            second_col = (second_col & ~higher) | (higher & c);
        }
    }
    vec scale = 1.0f / vmax(sum, splat(1e-30f)); /* a perfect match reaches sum W */
    store(out->peak, best * scale), store(out->second, second * scale);
    store(out->evidence, evidence_of(&k, best));
    for (int l = 0; l < HMK_LANES; l++) {
        out->row[l] = row[l] >= h ? row[l] - n : row[l];
        out->col[l] = col[l] >= h ? col[l] - n : col[l];
        out->second_row[l] = second_row[l] >= h ? second_row[l] - n : second_row[l];
        out->second_col[l] = second_col[l] >= h ? second_col[l] - n : second_col[l];
    }
}

/* ---- fine: fit of the phase ------------------------------------------------------------ */

/* exp(-i 2 pi k d / n) for k = 0 ... n/2-1, by doubling from k = 1. */
static void phasors(vec d, int n, float *re, float *im)
{
    const int h = n / 2;
    vec u = d * (2.0f / (float)n); /* half turns */
    store(re, splat(1)), store(im, splat(0));
    vec c = cos_pi(u), s = -sin_pi(u);
    store(re + HMK_LANES, c), store(im + HMK_LANES, s);
    for (int k = 2; k < h; k++) {
        int a = k / 2, b = k - a;
        vec ar = load(re + a * HMK_LANES), ai = load(im + a * HMK_LANES);
        vec br = load(re + b * HMK_LANES), bi = load(im + b * HMK_LANES);
        store(re + k * HMK_LANES, ar * br - ai * bi);
        store(im + k * HMK_LANES, ar * bi + ai * br);
    }
}

/* Sums over the half plane at a shift: value sum W cos psi, its slope and curvature. */
typedef struct {
    vec value, slope_row, slope_col, rr, rc, cc;
} sums;

/* The bins as they are. For a pair +-k along rows, with e = exp(-i omega_k d_row) = x + i y,
 * P = Q+ + Q-, M = Q+ - Q-:  Q+ e + Q- e* = P x + i M y,  Q+ e - Q- e* = M x + i P y. */
static sums correlation(const work *k, int n)
{
    const int top = n / 2 - 1;
    sums t = {splat(0), splat(0), splat(0), splat(0), splat(0), splat(0)};
    const float *bin = k->bins;
    for (int c = 0; c < top; c++) {
        vec s0r = splat(0), s0i = splat(0), s1r = splat(0), s1i = splat(0), s2r = splat(0);
        vec s2i = splat(0);
        for (int r = 0; r < top; r++) {
            vec ar = load(bin + Q_RE), ai = load(bin + Q_IM);
            vec br = load(bin + BIN + Q_RE), bi = load(bin + BIN + Q_IM);
            vec x = load(k->er_re + r * HMK_LANES), y = load(k->er_im + r * HMK_LANES);
            vec pr = ar + br, pi = ai + bi, mr = ar - br, mi = ai - bi;
            vec er = pr * x - mi * y, ei = pi * x + mr * y;
            const float f = (float)r;
            s0r += er, s0i += ei;
            s1r += f * (mr * x - pi * y), s1i += f * (mi * x + pr * y);
            s2r += (f * f) * er, s2i += (f * f) * ei;
            bin += 2 * BIN;
        }
        vec x = load(k->ec_re + c * HMK_LANES), y = load(k->ec_im + c * HMK_LANES);
        const float f = (float)c;
        vec r0 = s0r * x - s0i * y, i0 = s0r * y + s0i * x;
        vec r1 = s1r * x - s1i * y, i1 = s1r * y + s1i * x;
        vec r2 = s2r * x - s2i * y;
        t.value += r0, t.slope_row += i1, t.slope_col += f * i0;
        t.rr += r2, t.rc += f * r1, t.cc += (f * f) * r0;
    }
    return t;
}

/* W Q turned back by the shift: W cos psi and W sin psi of the bin at hand. `side` is 1 for
 * the negative wave number along rows. */
INLINE void turned(vec a, vec b, vec cx, vec cy, vec x, vec y, int side, vec *wc, vec *ws)
{
    vec u = a * cx - b * cy, v = a * cy + b * cx;
    *wc = side ? u * x + v * y : u * x - v * y;
    *ws = side ? v * x - u * y : v * x + u * y;
}

/* (1 - phi/4)^(6 round) = ((1 + cos psi) / 2)^(6 round) of a bin, its robust factor. */
INLINE vec trust(vec cosine, int round)
{
    if (round == 0)
        return splat(1);
    vec f = 0.5f + 0.5f * cosine;
    f = f * f * f;
    f = f * f;
    vec product = f;
    for (int i = 1; i < round; i++)
        product *= f;
    return product;
}

/* The same sums with each bin multiplied by its robust factor. */
INLINE sums robust_sums(const work *k, int n, int round)
{
    const int top = n / 2 - 1;
    sums t = {splat(0), splat(0), splat(0), splat(0), splat(0), splat(0)};
    const float *bin = k->bins;
    for (int c = 0; c < top; c++) {
        vec cx = load(k->ec_re + c * HMK_LANES), cy = load(k->ec_im + c * HMK_LANES);
        vec c0 = splat(0), c1 = splat(0), c2 = splat(0), s0 = splat(0), s1 = splat(0);
        vec kr = splat(0);
        for (int r = 0; r < top; r++, kr += 1.0f) {
            vec x = load(k->er_re + r * HMK_LANES), y = load(k->er_im + r * HMK_LANES);
            for (int side = 0; side < 2; side++) {
                vec wc, ws;
                turned(load(bin + Q_RE), load(bin + Q_IM), cx, cy, x, y, side, &wc, &ws);
                vec f = trust(wc * load(bin + INV_W), round);
                wc *= f, ws *= f;
                vec k1 = side ? -kr : kr;
                c0 += wc, c1 += k1 * wc, c2 += (kr * kr) * wc;
                s0 += ws, s1 += k1 * ws;
                bin += BIN;
            }
        }
        const float f = (float)c;
        t.value += c0, t.slope_row += s1, t.slope_col += f * s0;
        t.rr += c2, t.rc += f * c1, t.cc += (f * f) * c0;
    }
    return t;
}

/* Invert the 2 x 2 curvature where it is safely a maximum; elsewhere climb gently. */
static inline void newton(const sums *t, int n, vec *row, vec *col)
{
    vec trace = t->rr + t->cc, det = t->rr * t->cc - t->rc * t->rc;
    mask bowl = (trace > 0) & (det > 0.01f * trace * trace);
    vec inv = 1.0f / either(bowl, det, splat(1));
    vec climb = 2.0f / vmax(vabs(t->rr) + vabs(t->cc), splat(1e-30f));
    const float px = (float)n / (float)(2 * M_PI);
    vec dr = either(bowl, (t->cc * t->slope_row - t->rc * t->slope_col) * inv,
                    climb * t->slope_row);
    vec dc = either(bowl, (t->rr * t->slope_col - t->rc * t->slope_row) * inv,
                    climb * t->slope_col);
    const vec most = splat(0.5f), far = splat(1.5f);
    *row = vmax(vmin(*row + vmax(vmin(dr * px, most), -most), far), -far);
    *col = vmax(vmin(*col + vmax(vmin(dc * px, most), -most), far), -far);
}

/* Sigma: all calibrated on simulated pairs, docs/method.md. How far the curvature may lie from
 * what is expected of it, relative to that; <k^4> / <k^2>^2 over the bins, which gives its noise
 * from J; what sigma grows by as phases wrap, which neither H nor J shows, and the coherent share
 * at which half of that is there. */
#define CURVATURE_SPREAD 0.3f
#define CURVATURE_TAIL 2.5f
#define WRAPPED 0.12f
#define WRAPPED_HALF 0.45f
#define PINNED_MOST 0.6f

/* The coherent share of the curvature, from that of the value, sum W cos psi / sum W: less, since
 * what drowns in noise first are high wave numbers, the more so the steeper the spectrum. `even`
 * is (sum W)^2 / (N sum W^2): 1 for a flat one. Less so where the weights leave out already what
 * has drowned (`gained`). */
static inline vec share_of_curvature(vec share, vec even, int gained)
{
    const float least = gained ? 0.20f : 0.17f, rise = gained ? 0.88f : 0.62f;
    HMK_PER_LANE(float) s[HMK_MAX_LANES];
    HMK_PER_LANE(float) e[HMK_MAX_LANES];
    store(s, share), store(e, even);
    for (int l = 0; l < HMK_LANES; l++)
        s[l] = powf(s[l], 1.0f / (least + rise * e[l]));
    return load(s);
}

/* The curvature H along one axis, brought towards the expected one by as much as it is noise: a
 * curvature that noise has made small would else be a sigma without bounds. `j` is the sum of
 * W^2 sin^2 psi k^2, `total` the same without k^2. `kept` becomes the weight of H itself. */
static inline vec steadied(vec h, vec expected, vec j, vec total, vec inflation, vec *kept)
{
    const vec tiny = splat(1e-30f);
    vec prior = CURVATURE_SPREAD * CURVATURE_SPREAD * expected * expected;
    vec noise = CURVATURE_TAIL * inflation * inflation * j * j / vmax(total, tiny);
    *kept = prior / vmax(prior + noise, tiny);
    return h * *kept + expected * (1.0f - *kept);
}

/* Coherence, SNR, evidence and the sandwich covariance H^-1 J H^-1 of the fit: H its curvature,
 * J the scatter of its slope over the bins. Both take the weights from before the robust
 * rounds: the reweighted ones make their own evidence, and the noise is hardly another.
 * Returns the sums of the last round, for the last step. */
INLINE sums judge(const hmk_window *win, const work *k, int round, hmk_fit *out)
{
    const int n = win->n, top = n / 2 - 1;
    sums t = {splat(0), splat(0), splat(0), splat(0), splat(0), splat(0)};
    vec sw = splat(0), swc = splat(0), sv = splat(0), total = splat(0);
    vec jrr = splat(0), jrc = splat(0), jcc = splat(0);
    vec hrr = splat(0), hrc = splat(0), hcc = splat(0), mrr = splat(0), mcc = splat(0);
    vec heard = splat(0);
    const float *bin = k->bins, *gain = win->gain;
    for (int c = 0; c < top; c++) {
        vec cx = load(k->ec_re + c * HMK_LANES), cy = load(k->ec_im + c * HMK_LANES);
        vec c0 = splat(0), c1 = splat(0), c2 = splat(0), m0 = splat(0), m2 = splat(0);
        vec j0 = splat(0), j1 = splat(0), j2 = splat(0);
        vec f0 = splat(0), f1 = splat(0), f2 = splat(0), s0 = splat(0), s1 = splat(0);
        vec kr = splat(0);
        for (int r = 0; r < top; r++, kr += 1.0f) {
            vec x = load(k->er_re + r * HMK_LANES), y = load(k->er_im + r * HMK_LANES);
            for (int side = 0; side < 2; side++) {
                vec a = load(bin + Q_RE), b = load(bin + Q_IM), iw = load(bin + INV_W), wc, ws;
                vec w = (a * a + b * b) * iw;
                turned(a, b, cx, cy, x, y, side, &wc, &ws);
                vec cosine = wc * iw, f = trust(cosine, round);
                if (gain) {
                    heard += gain[2] * cosine;
                    gain += 3;
                }
                vec fc = f * wc, fs = f * ws, j = ws * ws;
                vec k1 = side ? -kr : kr, k2 = kr * kr;
                m0 += w, m2 += k2 * w, sv += f * w;
                j0 += j, j1 += k1 * j, j2 += k2 * j;
                c0 += wc, c1 += k1 * wc, c2 += k2 * wc;
                f0 += fc, f1 += k1 * fc, f2 += k2 * fc;
                s0 += fs, s1 += k1 * fs;
                bin += BIN;
            }
        }
        const float f = (float)c;
        sw += m0, mrr += m2, mcc += (f * f) * m0;
        swc += c0, total += j0;
        jrr += j2, jrc += f * j1, jcc += (f * f) * j0;
        hrr += c2, hrc += f * c1, hcc += (f * f) * c0;
        t.value += f0, t.slope_row += s1, t.slope_col += f * s0;
        t.rr += f2, t.rc += f * f1, t.cc += (f * f) * f0;
    }
    const vec tiny = splat(1e-30f);
    const vec share = vmin(vmax(swc / vmax(sw, tiny), splat(0.05f)), splat(1));
    store(out->coherence, 0.5f + 0.5f * swc / vmax(sw, tiny));
    store(out->snr, 0.5f + 0.5f * t.value / vmax(sv, tiny));
    if (gain) /* the bins' own cosines: a few strong ones do not outvote all others */
        store(out->evidence, heard / k->inflation);
    else
        store(out->evidence, evidence_of(k, swc));
    vec even = sw * sw / vmax((float)(2 * top * top) * k->squares, tiny);
    const int gained = win->gain && win->gain[0] != 1; /* all are 1 where only evidence counts */
    vec part = share_of_curvature(share, even, gained), by_row, by_col;
    vec rr = steadied(hrr, part * mrr, jrr, total, k->inflation, &by_row);
    vec cc = steadied(hcc, part * mcc, jcc, total, k->inflation, &by_col);
    vec rc = hrc * vroot(by_row * by_col); /* of no sign in the mean */
    vec inv = 1.0f / vmax(rr * cc - rc * rc, tiny);
    vec a = cc * inv, b = -rc * inv, c = rr * inv; /* H^-1 */
    vec q = share * (1.0f / WRAPPED_HALF);
    q = q * q * q;
    /* At rest the taper has followed the fit, error and all: a fit that shows 1 - b of what is
     * left of a shift rests where its own error is 1 / (1 - b) times as large. */
    vec pinned = win->pinned * vmax(swc, tiny) / vmax(rr + cc, tiny);
    vec grown = k->inflation * (1.0f + WRAPPED / (1.0f + q * q));
    grown /= 1.0f - vmin(pinned, splat(PINNED_MOST));
    vec px2 = (float)((double)n * n / (4 * M_PI * M_PI)) * grown * grown;
    store(out->var_row, px2 * (a * a * jrr + 2.0f * a * b * jrc + b * b * jcc));
    store(out->var_col, px2 * (b * b * jrr + 2.0f * b * c * jrc + c * c * jcc));
    return t;
}

static inline void turn_to(const work *k, int n, vec row, vec col)
{
    phasors(row, n, k->er_re, k->er_im);
    phasors(col, n, k->ec_re, k->ec_im);
}

static void kernel_fit(const hmk_window *win, const hmk_batch *batch, int full, float *scratch,
                       hmk_fit *out)
{
    const int n = win->n, robust = full ? win->robust : 0;
    work k = lay_out(n, scratch);
    vec power = load_windows(win, batch, &k, &out->patch);
    cross_spectrum(win, &k, power);

    vec row = load(batch->shift_row), col = load(batch->shift_col);
    sums t = {splat(0), splat(0), splat(0), splat(0), splat(0), splat(0)};
    for (int i = 0; i < win->steps; i++) {
        turn_to(&k, n, row, col);
        t = correlation(&k, n);
        newton(&t, n, &row, &col);
    }
    for (int round = 1; round < robust; round++) {
        turn_to(&k, n, row, col);
        t = round == 1 ? robust_sums(&k, n, 1) : robust_sums(&k, n, round);
        newton(&t, n, &row, &col);
    }
    if (full) { /* the last step is small: the match is judged where it begins */
        turn_to(&k, n, row, col);
        t = robust == 0   ? judge(win, &k, 0, out)
            : robust == 1 ? judge(win, &k, 1, out)
            : robust == 2 ? judge(win, &k, 2, out)
                          : judge(win, &k, robust, out);
        newton(&t, n, &row, &col);
    } else
        store(out->evidence, evidence_of(&k, t.value));
    store(out->row, row), store(out->col, col);
}

/* ---- coherence by wave number ----------------------------------------------------------- */

static inline void add(float *to, vec x)
{
    store(to, load(to) + x);
}

static void kernel_bands(const hmk_window *win, const hmk_batch *batch, float *scratch,
                         hmk_bands *out)
{
    const int n = win->n, top = n / 2 - 1;
    work k = lay_out(n, scratch);
    vec power = load_windows(win, batch, &k, &out->patch);
    cross_spectrum(win, &k, power);
    vec row = load(batch->shift_row), col = load(batch->shift_col);
    for (int i = 0; i < win->steps; i++) {
        turn_to(&k, n, row, col);
        sums t = correlation(&k, n);
        newton(&t, n, &row, &col);
    }
    turn_to(&k, n, row, col);
    for (int b = 0; b < HMK_MAX_BANDS; b++) {
        store(out->coherent[b], splat(0));
        store(out->power_a[b], splat(0)), store(out->power_b[b], splat(0));
    }
    for (int c = 0; c < top; c++) {
        column(win, &k, c, k.a_re, k.a_im);
        const float *minus_re = k.a_re, *minus_im = k.a_im;
        if (c > 0) {
            column(win, &k, n - c, k.b_re, k.b_im);
            minus_re = k.b_re, minus_im = k.b_im;
        }
        const vec cx = load(k.ec_re + c * HMK_LANES), cy = load(k.ec_im + c * HMK_LANES);
        for (int r = 0; r < top; r++)
            for (int side = 0; side < 2; side++) {
                if (c == 0 ? side == 1 || r == 0 : side == 1 && r == 0)
                    continue; /* the mean, and what the other half plane repeats */
                const int at = (side ? n - r : r) * HMK_LANES;
                const int opposite = r == 0 ? 0 : (side ? r : n - r) * HMK_LANES;
                vec p = load(k.a_re + at), q = load(k.a_im + at);
                vec s = load(minus_re + opposite), t = load(minus_im + opposite);
                vec plus = p * p + q * q, minus = s * s + t * t, cosine, sine;
                vec x = load(k.er_re + r * HMK_LANES), y = load(k.er_im + r * HMK_LANES);
                turned(0.5f * (p * t + q * s), 0.25f * (plus - minus), cx, cy, x, y, side,
                       &cosine, &sine);
                const int b = (int)(sqrtf((float)(r * r + c * c)) + 0.5f);
                const vec cross = 2.0f * (p * s - q * t);
                add(out->coherent[b], cosine);
                add(out->power_a[b], 0.25f * (plus + minus + cross));
                add(out->power_b[b], 0.25f * (plus + minus - cross));
            }
    }
}

/* ---- what this build offers ------------------------------------------------------------ */

static int own_fft(int n)
{
    return has_line(n);
}

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

extern int PASTE(hmk_supported_, HMK_ISA)(void);
const hmk_kernels PASTE(hmk_kernels_, HMK_ISA) = {
    .name = TEXT(HMK_ISA),
    .lanes = HMK_LANES,
    .supported = PASTE(hmk_supported_, HMK_ISA),
    .scratch = scratch_floats,
    .own_fft = own_fft,
    .peak = kernel_peak,
    .fit = kernel_fit,
    .bands = kernel_bands,
};
