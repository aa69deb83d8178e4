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
    /* cos^2(pi t / 2) = (1 + cos(pi t)) / 2, folded to |u| <= 1/2 by cos(pi t) = -sin(pi(t-1/2)) */
    vec u = t - 0.5f;
    vec s = cos_pi(0.5f - vabs(u)); /* sin(pi |u|) */
    return 0.5f - 0.5f * vsign(s, u);
}

/* ---- windows ------------------------------------------------------------------------- */

typedef struct {
    float *re, *im;           /* (n, n + 1) vecs: the window pair, then its spectrum */
    float *q_re, *q_im;       /* (n/2, n/2, 2) vecs: W Q of the half plane */
    float *inv_w;             /* 1 / W */
    float *w;                 /* robust factor on W */
    float *ref_row, *ref_col; /* (n) taper of the reference, the same for all lanes */
    float *sec_row, *sec_col; /* (n) vecs: taper of the secondary, shifted lane by lane */
    float *er_re, *er_im;     /* (n/2) vecs: exp(-i omega_k d) along rows and columns */
    float *ec_re, *ec_im;
} work;

static size_t scratch_floats(int n)
{
    size_t window = (size_t)n * (size_t)(n + 1), half = (size_t)n * (size_t)n / 2;
    return ((size_t)2 * window + 4 * half + 4 * (size_t)n + 4 * (size_t)n / 2) * HMK_LANES;
}

static work lay_out(int n, float *scratch)
{
    size_t window = (size_t)n * (size_t)(n + 1) * HMK_LANES;
    size_t half = (size_t)n * (size_t)n / 2 * HMK_LANES;
    size_t line = (size_t)n * HMK_LANES;
    work k;
    k.re = scratch, k.im = k.re + window;
    k.q_re = k.im + window, k.q_im = k.q_re + half;
    k.inv_w = k.q_im + half, k.w = k.inv_w + half;
    k.ref_row = k.w + half, k.ref_col = k.ref_row + line;
    k.sec_row = k.ref_col + line, k.sec_col = k.sec_row + line;
    k.er_re = k.sec_col + line, k.er_im = k.er_re + line / 2;
    k.ec_re = k.er_im + line / 2, k.ec_im = k.ec_re + line / 2;
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

/* Both windows into re (reference) and im (secondary): tapered means subtracted, tapered,
 * invalid pixels 0. A pixel counts where both windows are valid, so that the two masked
 * windows have one shape and the mask pins nothing. */
static void load_windows(const hmk_window *win, const hmk_batch *batch, const work *k,
                         hmk_patch *patch)
{
    const int n = win->n, pitch = (n + 1) * HMK_LANES;
    const vec shift_row = load(batch->shift_row), shift_col = load(batch->shift_col);

    for (int i = 0; i < n; i++) {
        vec x = splat((float)i - win->centre_row), y = splat((float)i - win->centre_col);
        store(k->ref_row + i * HMK_LANES, taper(x, (float)n, win->beta));
        store(k->ref_col + i * HMK_LANES, taper(y, (float)n, win->beta));
        store(k->sec_row + i * HMK_LANES, taper(x - shift_row, (float)n, win->beta));
        store(k->sec_col + i * HMK_LANES, taper(y - shift_col, (float)n, win->beta));
    }

    vec sum_a = splat(0), sum_b = splat(0), sum_wa = splat(0), sum_wb = splat(0);
    vec count_a = splat(0), count_b = splat(0), count = splat(0);
    for (int i = 0; i < n; i++) {
        float *re = k->re + (size_t)i * pitch, *im = k->im + (size_t)i * pitch;
        gather_row(batch->reference, i * batch->stride, n, re);
        gather_row(batch->secondary, i * batch->stride, n, im);
        vec row_a = splat(0), row_b = splat(0), row_wa = splat(0), row_wb = splat(0);
        for (int j = 0; j < n; j++) {
            vec a = load(re + j * HMK_LANES), b = load(im + j * HMK_LANES);
            mask ok_a = vfinite(a), ok_b = vfinite(b), ok = ok_a & ok_b;
            count_a += only(ok_a, splat(1)), count_b += only(ok_b, splat(1));
            count += only(ok, splat(1));
            vec wa = only(ok, load(k->ref_col + j * HMK_LANES));
            vec wb = only(ok, load(k->sec_col + j * HMK_LANES));
            row_wa += wa, row_wb += wb;
            row_a += wa * only(ok, a), row_b += wb * only(ok, b);
        }
        vec wr = load(k->ref_row + i * HMK_LANES), ws = load(k->sec_row + i * HMK_LANES);
        sum_a += wr * row_a, sum_wa += wr * row_wa;
        sum_b += ws * row_b, sum_wb += ws * row_wb;
    }
    const float area = 1.0f / ((float)n * (float)n);
    store(patch->valid_reference, count_a * area);
    store(patch->valid_secondary, count_b * area);
    store(patch->valid_both, count * area);

    vec mean_a = sum_a / vmax(sum_wa, splat(1e-6f));
    vec mean_b = sum_b / vmax(sum_wb, splat(1e-6f));
    vec power_a = splat(0), power_b = splat(0);
    for (int i = 0; i < n; i++) {
        float *re = k->re + (size_t)i * pitch, *im = k->im + (size_t)i * pitch;
        vec wr = load(k->ref_row + i * HMK_LANES), ws = load(k->sec_row + i * HMK_LANES);
        for (int j = 0; j < n; j++) {
            vec a = load(re + j * HMK_LANES), b = load(im + j * HMK_LANES);
            mask ok = vfinite(a) & vfinite(b);
            a = only(ok, (a - mean_a) * (wr * load(k->ref_col + j * HMK_LANES)));
            b = only(ok, (b - mean_b) * (ws * load(k->sec_col + j * HMK_LANES)));
            power_a += a * a, power_b += b * b;
            store(re + j * HMK_LANES, a), store(im + j * HMK_LANES, b);
        }
    }
    /* Rounding leaves about 1e-6 of the mean in a constant patch: that is no texture. */
    vec floor_a = 1e-5f * (1.0f + vabs(mean_a)), floor_b = 1e-5f * (1.0f + vabs(mean_b));
    mask flat = (power_a <= sum_wa * floor_a * floor_a) | (power_b <= sum_wb * floor_b * floor_b);
    store(patch->texture, only(~flat, splat(1)));
}

/* ---- cross-spectrum ------------------------------------------------------------------ */

static void transform(const hmk_window *win, float *re, float *im)
{
    const int n = win->n;
    const size_t pitch = (size_t)(n + 1) * HMK_LANES;
    if (win->fft) {
        hmk_fft_run(win->fft, re, im);
        return;
    }
    lines(n, re, im, HMK_LANES, n, pitch); /* along rows */
    lines(n, re, im, pitch, n, HMK_LANES); /* along columns */
}

/* C = A B* at bin (r, c) of the packed spectrum Z = FFT(a + i b):
 * C = (Re Z+ Im Z- + Re Z- Im Z+) / 2 + i (|Z+|^2 - |Z-|^2) / 4, Z+- = Z(+-k). */
static inline void cross_bin(const work *k, int n, int r, int c, vec *re, vec *im)
{
    const size_t pitch = (size_t)(n + 1) * HMK_LANES;
    const size_t plus = (size_t)r * pitch + (size_t)c * HMK_LANES;
    const size_t minus =
        (size_t)(r ? n - r : 0) * pitch + (size_t)(c ? n - c : 0) * HMK_LANES;
    vec p = load(k->re + plus), q = load(k->im + plus);
    vec r_ = load(k->re + minus), s = load(k->im + minus);
    *re = 0.5f * (p * s + q * r_);
    *im = 0.25f * ((p * p + q * q) - (r_ * r_ + s * s));
}

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

/* The half plane k_col = 0 ... n/2-1, k_row = 0, +-1 ... +-(n/2-1), as pairs +-k_row, without
 * the mean and the bins that the other half repeats. The bins next to Nyquist go too: a taper
 * mixes into them what lies beyond, whose phase runs the other way (a bias of 0.001 px on
 * texture that is not band-limited). */
static inline int in_use(int n, int r, int c, int side)
{
    const int top = n / 2 - 1;
    return r < top && c < top && (c == 0 ? side == 0 && r > 0 : side == 0 || r > 0);
}

static void cross_spectrum(const hmk_window *win, const work *k)
{
    const int n = win->n, h = n / 2;
    /* Negligible means: below 1e-6 of the mean amplitude of the two spectra. */
    vec power = splat(0);
    for (int r = 0; r < n; r++)
        for (int c = 0; c < n; c++) {
            size_t at = ((size_t)r * (size_t)(n + 1) + (size_t)c) * HMK_LANES;
            vec p = load(k->re + at), q = load(k->im + at);
            power += p * p + q * q;
        }
    vec least = power * (0.5e-6f / ((float)n * (float)n));
    least = least * least;
    float *q_re = k->q_re, *q_im = k->q_im, *inv_w = k->inv_w;
    for (int c = 0; c < h; c++)
        for (int r = 0; r < h; r++)
            for (int side = 0; side < 2; side++) {
                vec a = splat(0), b = splat(0), iw = splat(0);
                int row = side ? n - r : r;
                if (in_use(n, r, c, side)) {
                    cross_bin(k, n, row, c, &a, &b);
                    weigh(win->weight, a, b, least, &a, &b, &iw);
                }
                store(q_re, a), store(q_im, b), store(inv_w, iw);
                q_re += HMK_LANES, q_im += HMK_LANES, inv_w += HMK_LANES;
            }
}

/* ---- coarse: peak of the correlation surface ------------------------------------------- */

/* sum W, and sum W^2. */
static void total_weight(const work *k, int n, vec *sum, vec *squares)
{
    *sum = *squares = splat(0);
    for (size_t at = 0; at < (size_t)n * (size_t)n / 2 * HMK_LANES; at += HMK_LANES) {
        vec re = load(k->q_re + at), im = load(k->q_im + at);
        vec square = re * re + im * im;
        *squares += square;
        *sum += square * load(k->inv_w + at);
    }
}

/* Spread W Q over the half plane and transform: re becomes the surface, whose height is
 * sum W cos psi. (The whole plane's inverse transform of conj(Q) is real, and twice the real
 * part of the half plane's; that of conj(Q) is the forward transform of Q, mirrored.) */
static void surface(const hmk_window *win, const work *k)
{
    const int n = win->n, h = n / 2;
    const size_t pitch = (size_t)(n + 1) * HMK_LANES;
    memset(k->re, 0, (size_t)n * pitch * sizeof *k->re);
    memset(k->im, 0, (size_t)n * pitch * sizeof *k->im);
    const float *q_re = k->q_re, *q_im = k->q_im;
    for (int c = 0; c < h; c++)
        for (int r = 0; r < h; r++)
            for (int side = 0; side < 2; side++) {
                if (in_use(n, r, c, side)) {
                    size_t at = (size_t)(side ? n - r : r) * pitch + (size_t)c * HMK_LANES;
                    store(k->re + at, load(q_re)), store(k->im + at, load(q_im));
                }
                q_re += HMK_LANES, q_im += HMK_LANES;
            }
    if (win->fft) {
        hmk_fft_run(win->fft, k->re, k->im);
        return;
    }
    lines(n, k->re, k->im, pitch, h - 1, HMK_LANES); /* the other columns are empty */
    lines(n, k->re, k->im, HMK_LANES, n, pitch);
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
    load_windows(win, batch, &k, &out->patch);
    transform(win, k.re, k.im);
    cross_spectrum(win, &k);
    vec sum, squares;
    total_weight(&k, n, &sum, &squares);
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
    store(out->evidence, best * vrsqrt(vmax(0.5f * squares, splat(1e-30f))) / win->inflation);
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

/* For a pair of bins +-k along rows, with e = exp(-i omega_k d_row) = x + i y,
 * P = Q+ + Q-, M = Q+ - Q-:  Q+ e + Q- e* = P x + i M y,  Q+ e - Q- e* = M x + i P y. */
static inline sums correlation(const work *k, int n, int weighted)
{
    const int h = n / 2;
    sums t = {splat(0), splat(0), splat(0), splat(0), splat(0), splat(0)};
    const float *q_re = k->q_re, *q_im = k->q_im, *w = k->w;
    for (int c = 0; c < h; c++) {
        vec s0r = splat(0), s0i = splat(0), s1r = splat(0), s1i = splat(0);
        vec s2r = splat(0), s2i = splat(0);
        for (int r = 0; r < h; r++) {
            vec ar = load(q_re), ai = load(q_im);
            vec br = load(q_re + HMK_LANES), bi = load(q_im + HMK_LANES);
            if (weighted) {
                vec wa = load(w), wb = load(w + HMK_LANES);
                ar *= wa, ai *= wa, br *= wb, bi *= wb;
            }
            vec x = load(k->er_re + r * HMK_LANES), y = load(k->er_im + r * HMK_LANES);
            vec pr = ar + br, pi = ai + bi, mr = ar - br, mi = ai - bi;
            vec er = pr * x - mi * y, ei = pi * x + mr * y;
            vec f = splat((float)r);
            s0r += er, s0i += ei;
            s1r += f * (mr * x - pi * y), s1i += f * (mi * x + pr * y);
            s2r += (f * f) * er, s2i += (f * f) * ei;
            q_re += 2 * HMK_LANES, q_im += 2 * HMK_LANES, w += 2 * HMK_LANES;
        }
        vec x = load(k->ec_re + c * HMK_LANES), y = load(k->ec_im + c * HMK_LANES);
        float f = (float)c;
        vec r0 = s0r * x - s0i * y, i0 = s0r * y + s0i * x;
        vec r1 = s1r * x - s1i * y, i1 = s1r * y + s1i * x;
        vec r2 = s2r * x - s2i * y;
        t.value += r0, t.slope_row += i1, t.slope_col += f * i0;
        t.rr += r2, t.rc += f * r1, t.cc += (f * f) * r0;
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

/* Multiply each robust factor by ((1 + cos psi) / 2)^6, that is (1 - phi/4)^6. */
static void reweight(const work *k, int n, int first)
{
    const int h = n / 2;
    const float *q_re = k->q_re, *q_im = k->q_im, *inv_w = k->inv_w;
    float *w = k->w;
    for (int c = 0; c < h; c++) {
        vec cx = load(k->ec_re + c * HMK_LANES), cy = load(k->ec_im + c * HMK_LANES);
        for (int r = 0; r < h; r++) {
            vec x = load(k->er_re + r * HMK_LANES), y = load(k->er_im + r * HMK_LANES);
            for (int side = 0; side < 2; side++) {
                vec a = load(q_re), b = load(q_im);
                vec u = a * cx - b * cy, v = a * cy + b * cx;
                vec cosine = (side ? u * x + v * y : u * x - v * y) * load(inv_w);
                vec f = 0.5f + 0.5f * cosine;
                f = f * f * f;
                f = f * f;
                store(w, first ? f : f * load(w));
                q_re += HMK_LANES, q_im += HMK_LANES, inv_w += HMK_LANES, w += HMK_LANES;
            }
        }
    }
}

/* Coherence, SNR, evidence and the sandwich covariance H^-1 J H^-1 of the fit: H its curvature,
 * J the scatter of its slope over the bins. Both take the weights from before the robust
 * rounds: the reweighted ones make their own evidence, and the noise is hardly another. */
static void judge(const hmk_window *win, const work *k, int robust, hmk_fit *out)
{
    const int n = win->n, h = n / 2;
    vec sw = splat(0), swc = splat(0), sw2 = splat(0), sv = splat(0), svc = splat(0);
    vec jrr = splat(0), jrc = splat(0), jcc = splat(0);
    vec hrr = splat(0), hrc = splat(0), hcc = splat(0);
    const float *q_re = k->q_re, *q_im = k->q_im, *inv_w = k->inv_w, *rob = k->w;
    for (int c = 0; c < h; c++) {
        vec cx = load(k->ec_re + c * HMK_LANES), cy = load(k->ec_im + c * HMK_LANES);
        const float kc = (float)c;
        for (int r = 0; r < h; r++) {
            vec x = load(k->er_re + r * HMK_LANES), y = load(k->er_im + r * HMK_LANES);
            for (int side = 0; side < 2; side++) {
                vec a = load(q_re), b = load(q_im);
                vec w = (a * a + b * b) * load(inv_w);
                vec u = a * cx - b * cy, v = a * cy + b * cx;
                vec wc = side ? u * x + v * y : u * x - v * y; /* W cos psi */
                vec ws = side ? v * x - u * y : v * x + u * y; /* W sin psi */
                vec f = robust ? load(rob) : splat(1);
                sw += w, swc += wc, sw2 += w * w;
                sv += f * w, svc += f * wc;
                const float kr = side ? (float)-r : (float)r;
                vec j = ws * ws;
                jrr += (kr * kr) * j, jrc += (kr * kc) * j, jcc += (kc * kc) * j;
                hrr += (kr * kr) * wc, hrc += (kr * kc) * wc, hcc += (kc * kc) * wc;
                q_re += HMK_LANES, q_im += HMK_LANES, inv_w += HMK_LANES, rob += HMK_LANES;
            }
        }
    }
    const vec tiny = splat(1e-30f);
    store(out->coherence, 0.5f + 0.5f * swc / vmax(sw, tiny));
    store(out->snr, 0.5f + 0.5f * svc / vmax(sv, tiny));
    store(out->evidence, swc * vrsqrt(vmax(0.5f * sw2, tiny)) / win->inflation);
    vec inv = 1.0f / vmax(hrr * hcc - hrc * hrc, tiny);
    vec a = hcc * inv, b = -hrc * inv, c = hrr * inv; /* H^-1 */
    const float px2 = (float)((double)n * n / (4 * M_PI * M_PI)) * win->inflation * win->inflation;
    store(out->var_row, px2 * (a * a * jrr + 2.0f * a * b * jrc + b * b * jcc));
    store(out->var_col, px2 * (b * b * jrr + 2.0f * b * c * jrc + c * c * jcc));
}

enum { FIRST_STEPS = 3, STEPS_PER_ROUND = 2 };

static void step(const work *k, int n, int weighted, vec *row, vec *col)
{
    phasors(*row, n, k->er_re, k->er_im);
    phasors(*col, n, k->ec_re, k->ec_im);
    sums t = weighted ? correlation(k, n, 1) : correlation(k, n, 0);
    newton(&t, n, row, col);
}

static void kernel_fit(const hmk_window *win, const hmk_batch *batch, int full, float *scratch,
                       hmk_fit *out)
{
    const int n = win->n, robust = full ? win->robust : 0;
    work k = lay_out(n, scratch);
    load_windows(win, batch, &k, &out->patch);
    transform(win, k.re, k.im);
    cross_spectrum(win, &k);

    vec row = load(batch->shift_row), col = load(batch->shift_col);
    for (int i = 0; i < FIRST_STEPS; i++)
        step(&k, n, 0, &row, &col);
    for (int round = 0; round < robust; round++) {
        phasors(row, n, k.er_re, k.er_im);
        phasors(col, n, k.ec_re, k.ec_im);
        reweight(&k, n, round == 0);
        for (int i = 0; i < STEPS_PER_ROUND; i++)
            step(&k, n, 1, &row, &col);
    }
    store(out->row, row), store(out->col, col);
    phasors(row, n, k.er_re, k.er_im);
    phasors(col, n, k.ec_re, k.ec_im);
    judge(win, &k, robust, out);
}

/* ---- what this build offers ------------------------------------------------------------ */

static int own_fft(int n)
{
    return has_lines(n);
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
};
