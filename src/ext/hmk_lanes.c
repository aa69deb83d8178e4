/* Built once per instruction set, with HMK_LANES (4, 8, 16) and HMK_ISA (a name) defined.
 *
 * A `vec` holds one number of each node of the batch; the code below and in the headers of the
 * same name reads as if it were one node. */
#include "hmk_lanes.h"

#include <math.h>

#include "hmk_lanes_moved.h"
#include "hmk_lanes_pixels.h"
#include "hmk_lanes_spectrum.h"
#include "hmk_lanes_windows.h"

/* ---- coarse: peak of the correlation surface ------------------------------------------- */

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
    cross_spectrum(win, batch, &k, power);
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
    const int gained = win->gain != NULL;
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
    pinned = vmin(pinned, splat(PINNED_MOST));
    store(out->pinned, pinned);
    grown /= 1.0f - pinned;
    vec px2 = (float)((double)n * n / (4 * M_PI * M_PI)) * grown * grown;
    store(out->var_row, px2 * (a * a * jrr + 2.0f * a * b * jrc + b * b * jcc));
    store(out->var_col, px2 * (b * b * jrr + 2.0f * b * c * jrc + c * c * jcc));
    return t;
}

/* Turn the phasors of one axis on by what interpolation has turned the spectrum back. */
static inline void turn_on(const float *response, int n, float *re, float *im)
{
    const float *by_re = response, *by_im = response + n / 2 * HMK_LANES;
    for (int at = 0; at < n / 2 * HMK_LANES; at += HMK_LANES) {
        const vec x = load(re + at), y = load(im + at), u = load(by_re + at), v = load(by_im + at);
        store(re + at, x * u - y * v), store(im + at, x * v + y * u);
    }
}

static inline void turn_to(const hmk_batch *batch, const work *k, int n, vec row, vec col)
{
    phasors(row, n, k->er_re, k->er_im);
    phasors(col, n, k->ec_re, k->ec_im);
    if (batch->response) {
        turn_on(batch->response, n, k->er_re, k->er_im);
        turn_on(batch->response + 3 * (n / 2) * HMK_LANES, n, k->ec_re, k->ec_im);
    }
}

static void kernel_fit(const hmk_window *win, const hmk_batch *batch, int full, float *scratch,
                       hmk_fit *out)
{
    const int n = win->n, robust = full ? win->robust : 0;
    work k = lay_out(n, scratch);
    vec power = load_windows(win, batch, &k, &out->patch);
    cross_spectrum(win, batch, &k, power);

    vec row = load(batch->shift_row), col = load(batch->shift_col);
    sums t = {splat(0), splat(0), splat(0), splat(0), splat(0), splat(0)};
    for (int i = 0; i < win->steps; i++) {
        turn_to(batch, &k, n, row, col);
        t = correlation(&k, n);
        newton(&t, n, &row, &col);
    }
    for (int round = 1; round < robust; round++) {
        turn_to(batch, &k, n, row, col);
        t = round == 1 ? robust_sums(&k, n, 1) : robust_sums(&k, n, round);
        newton(&t, n, &row, &col);
    }
    if (full) { /* the last step is small: the match is judged where it begins */
        turn_to(batch, &k, n, row, col);
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
    cross_spectrum(win, batch, &k, power);
    vec row = load(batch->shift_row), col = load(batch->shift_col);
    for (int i = 0; i < win->steps; i++) {
        turn_to(batch, &k, n, row, col);
        sums t = correlation(&k, n);
        newton(&t, n, &row, &col);
    }
    turn_to(batch, &k, n, row, col);
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
    .standardise = STANDARDISE_ALL,
    .move = move_window,
};
