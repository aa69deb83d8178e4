/* What a kernel works in: the scratch memory of a batch, one number of each node to a vec.
 *
 * Arrays in scratch memory are vec-valued; window rows are n + 1 vecs apart, so that a column
 * does not fall into one cache set. */
#ifndef HMK_LANES_WORK_H
#define HMK_LANES_WORK_H

#include "hmk_lanes.h"
#include "hmk_vec.h"

/* A bin in memory: W Q and 1 / W side by side, so that all of it comes in one stream. */
enum { Q_RE = 0, Q_IM = HMK_LANES, INV_W = 2 * HMK_LANES, BIN = 3 * HMK_LANES };

typedef struct {
    float *re, *im;           /* (n, n + 1) vecs: the window pair, then its spectrum */
    float *bins;              /* (n/2-1, n/2-1, 2) bins of the half plane, see cross_spectrum */
    float *hard, *between;    /* (n, n) vecs: a mask and scratch, before there is a spectrum */
    float *ref_row, *ref_col; /* (n) vecs: taper of the reference */
    float *sec_row, *sec_col; /* (n) vecs: taper of the secondary, shifted lane by lane */
    float *ref_pivot, *sec_pivot; /* (n) vecs: a pixel of the windows times the columns' tapers */
    float *ref_mean_re, *ref_mean_im; /* (n) vecs: spectra of the means, see make_mean_spectra */
    float *sec_mean_re, *sec_mean_im;
    float *er_re, *er_im;     /* (n/2) vecs: exp(-i omega_k d) along rows and columns */
    float *ec_re, *ec_im;
    float *a_re, *a_im, *b_re, *b_im; /* (n) vecs: two lines at hand */
    float *soft_ref, *soft_sec; /* (n, n) vecs: soft masks, where a pixel is invalid */
    vec squares;              /* sum W^2 */
    vec inflation;            /* noise of bins that taper and mask tie together; hmk_lanes.h */
} work;

/* Floats of a lane: windows, spectrum (its place also holds two masks while they are made),
 * sixteen lines, soft masks. */
static size_t scratch_floats(int n)
{
    size_t window = (size_t)n * (size_t)(n + 1), area = (size_t)n * (size_t)n;
    return (2 * window + 2 * area + 16 * (size_t)n + 2 * area) * HMK_LANES;
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
    k.ref_pivot = k.sec_col + line, k.sec_pivot = k.ref_pivot + line;
    k.ref_mean_re = k.sec_pivot + line, k.ref_mean_im = k.ref_mean_re + line;
    k.sec_mean_re = k.ref_mean_im + line, k.sec_mean_im = k.sec_mean_re + line;
    k.er_re = k.sec_mean_im + line, k.er_im = k.er_re + line / 2;
    k.ec_re = k.er_im + line / 2, k.ec_im = k.ec_re + line / 2;
    k.a_re = k.ec_im + line / 2, k.a_im = k.a_re + line;
    k.b_re = k.a_im + line, k.b_im = k.b_re + line;
    k.soft_ref = k.b_im + line, k.soft_sec = k.soft_ref + area;
    k.squares = splat(0), k.inflation = splat(0);
    return k;
}

/* By how much taper and mask of the secondary move. */
static inline vec moves(const hmk_batch *batch, const float *shift)
{
    return batch->response ? splat(0) : load(shift);
}

static inline vec sum_of(const float *line, int n)
{
    vec sum = splat(0);
    for (int i = 0; i < n * HMK_LANES; i += HMK_LANES)
        sum += load(line + i);
    return sum;
}

#endif
