/* Displacement of a list of nodes: coarse search, relocation, fine fit, quality. */
#ifndef HMK_CORRELATE_H
#define HMK_CORRELATE_H

#include <stddef.h>
#include <stdint.h>

#include "hmk_lanes.h"
#include "hmk_status.h"

/* Two images of one shape, rows x cols, standardised and padded (see hmk_lanes.h): every
 * window of every node, moved by up to `reach` + 2 pixels, must lie inside. Owned by the caller. */
typedef struct {
    const float *reference, *secondary;
    ptrdiff_t rows, cols;
} hmk_images;

typedef struct {
    int coarse, fine;      /* window sides; coarse = 0: no coarse search, start from offset 0 */
    int half_row, half_col; /* 1: the nodes' centres are at c - 1/2, 0: at c */
    int reach;             /* search limit per axis, px */
    float coarse_beta, fine_beta;
    float last_beta;       /* taper of the re-windowed passes */
    int moved;             /* their secondary is interpolated to the shift, instead of its taper moving;
                            * both windows see HMK_TAPS / 2 more pixels to every side */
    float holed_beta;      /* their taper where such a pixel misses, so that it moves after all */
    float holed_pinned;    /* of that taper, see hmk_window */
    int weight;            /* hmk_weight of the fine fit */
    int robust;            /* rounds of reweighting */
    float pinned;          /* of the last passes, see hmk_window */
    int rewindow;          /* passes with the sub-pixel shifted taper, at most; 0 = one pass in
                            * all, its taper not shifted */
    float settled;         /* px: re-windowing ends when the fit moves less; see unpin */
    float settled_sigmas;  /* or less than so many of its own standard deviations */
    float min_valid;       /* share of each fine window that must be valid */
    float min_evidence;    /* accept a match above this */
    float known_evidence;  /* or this, where neighbours or the coarse window vouch for it */
    float guess_evidence;  /* a guessed offset is kept above this, else searched for */
    float unpin;           /* a fit moves by a few per cent too little, as much as the taper
                            * pins: its moves are stretched by this */
    float max_second;      /* refuse a coarse match when a rival reaches this share of it */
    float sigma_scale;     /* calibration of the predicted sigma */
    float sigma_floor;     /* px, added in quadrature */
    int fftw_only;         /* 1: do not use the kernels' own transforms (tests, benchmarks) */
    const float *gain;     /* (n/2-1, n/2-1, 2, 3): see hmk_window, for (k_col, k_row, +-k_row) of
                            * the fine window, in its last passes; or NULL */
} hmk_options;

/* Where the results of n nodes go; arrays owned by the caller, all of length n. */
typedef struct {
    float *drow, *dcol, *sigma_row, *sigma_col, *snr, *coherence, *evidence;
    uint8_t *quality; /* hmk_quality */
} hmk_result;

/* Correlate the nodes `first` ... `last - 1`. (row[i], col[i]) is pixel c of node i in the padded
 * images: its window of side N covers c - N/2 ... c + N/2 - 1. (guess_row[i], guess_col[i]) is
 * where the match is expected, px; a node without one (NaN) is searched for. May run in many
 * threads on disjoint ranges; the range does not change any node's result. */
hmk_status hmk_correlate(const hmk_kernels *kernels, const hmk_images *images,
                         const hmk_options *options, const int32_t *row, const int32_t *col,
                         const float *guess_row, const float *guess_col, ptrdiff_t first,
                         ptrdiff_t last, const hmk_result *result);

/* Coherence by wave number of `count` nodes near known displacements (guess_row, guess_col), all
 * finite: of each node `bands` sums over rings of the last pass's window, see hmk_lanes.h, in
 * arrays (count, bands) owned by the caller. Nodes that have too little data or no texture get
 * zeros. */
hmk_status hmk_coherence(const hmk_kernels *kernels, const hmk_images *images,
                         const hmk_options *options, const int32_t *row, const int32_t *col,
                         const float *guess_row, const float *guess_col, ptrdiff_t count,
                         int bands, float *coherent, float *power_a, float *power_b);

#endif
