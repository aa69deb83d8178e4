/* One pass of the correlator over a batch of nodes, one node per SIMD lane.
 *
 * `hmk_lanes.c` is compiled once for every instruction set; each build offers one
 * `hmk_kernels`. A batch holds `lanes` independent nodes; what stands in one lane never
 * changes another's result, so the batches may be filled in any order.
 *
 * Images are float32, padded by the caller so that no window leaves them. A pixel that is not
 * finite is invalid: NaN = no data, +inf = saturated. Pixels are best standardised (zero mean,
 * unit standard deviation over the image): the two windows of a node share one complex
 * transform, and amplitudes of one order keep its rounding errors apart.
 */
#ifndef HMK_LANES_H
#define HMK_LANES_H

#include <stddef.h>
#include <stdint.h>

#include "hmk_status.h"

enum { HMK_MAX_LANES = 16, HMK_MIN_WINDOW = 8, HMK_MAX_WINDOW = 256 };

/* One number for each lane, aligned for the widest vector. */
#define HMK_PER_LANE(type) _Alignas(64) type

/* Frequency weights W of the phase fit, from the cross-spectrum C = A B*. */
typedef enum {
    HMK_WEIGHT_WHITE = 0, /* 1: pure phase correlation */
    HMK_WEIGHT_HALF,      /* |C|^1/2: the default, see docs/method.md */
    HMK_WEIGHT_CROSS,     /* |C|: plain cross-correlation */
    HMK_WEIGHT_END
} hmk_weight;

/* What all nodes of a call share about one window size.
 *
 * A taper w makes neighbouring bins vary together, so that sums over bins scatter more than
 * independent bins would, by mean(w^4) / mean(w^2)^2 per axis in variance and so by that
 * factor (`inflation`: 1.35 for beta 0.25, 1.94 for Hann) in standard deviation over both. */
typedef struct {
    int n;            /* side, even */
    float beta;       /* taper: share of the side that falls off at each end, 0 < beta <= 0.5 */
    float centre_row; /* centre of the taper in window pixels: n/2 or (n-1)/2 */
    float centre_col;
    float inflation;  /* noise of neighbouring bins that the taper ties together: see below */
    float pinned;     /* share of a shift that the taper hides, of a bin at |k| = 1 */
    hmk_weight weight;
    int steps;       /* Newton's steps of a fit before the robust rounds */
    int robust;      /* rounds of robust reweighting in a full fit */
    /* What is known of each bin beforehand, three numbers in the bins' order: a factor of W, its
     * inverse, and what its cosine counts as evidence (0 where a bin is not used, half the sum
     * of their squares 1). NULL: 1, 1, and W made so. */
    const float *gain;
    const void *fft; /* plan for (n, lanes); NULL when the kernel's own transform serves */
} hmk_window;

/* What each lane looks at. Pointers to the first pixel of its two windows. */
typedef struct {
    const float *reference[HMK_MAX_LANES];
    const float *secondary[HMK_MAX_LANES];
    ptrdiff_t stride;               /* pixels from one row to the next */
    /* NULL, or the secondaries have been interpolated to the shift below, and their tapers stay: what
     * that did to wave numbers along rows and columns (hmk_response), (2, 3, n/2) numbers of each
     * lane. */
    const float *response;
    int holes; /* pixels are known to miss: masks from the beginning, instead of after a try */
    HMK_PER_LANE(float) shift_row[HMK_MAX_LANES]; /* sub-pixel shift; the secondary's taper moves */
    HMK_PER_LANE(float) shift_col[HMK_MAX_LANES];
} hmk_batch;

/* What both passes say about the windows themselves. */
typedef struct {
    HMK_PER_LANE(float) valid_reference[HMK_MAX_LANES]; /* share of valid pixels */
    HMK_PER_LANE(float) valid_secondary[HMK_MAX_LANES];
    HMK_PER_LANE(float) valid_both[HMK_MAX_LANES];
    HMK_PER_LANE(float) texture[HMK_MAX_LANES]; /* 0: a window is constant */
} hmk_patch;

/* Coarse pass: the highest point of the correlation surface, to a whole pixel. */
typedef struct {
    hmk_patch patch;
    int row[HMK_MAX_LANES], col[HMK_MAX_LANES]; /* shift of the peak, -n/2 ... n/2-1 */
    HMK_PER_LANE(float) peak[HMK_MAX_LANES];     /* its height: weighted mean cosine */
    HMK_PER_LANE(float) second[HMK_MAX_LANES];   /* its rival: the next peak elsewhere */
    int second_row[HMK_MAX_LANES], second_col[HMK_MAX_LANES]; /* shift of the rival */
    HMK_PER_LANE(float) evidence[HMK_MAX_LANES]; /* height in standard deviations of chance */
} hmk_peak;

/* Fine pass: the shift that fits the phase of the cross-spectrum, and how well. */
typedef struct {
    hmk_patch patch;
    /* px, relative to the windows' offset */
    HMK_PER_LANE(float) row[HMK_MAX_LANES], col[HMK_MAX_LANES];
    /* 1 - sum W phi / 4 sum W, weights before robustness */
    HMK_PER_LANE(float) coherence[HMK_MAX_LANES];
    HMK_PER_LANE(float) snr[HMK_MAX_LANES];       /* the same with the final weights */
    /* sum W cos psi in standard deviations of chance */
    HMK_PER_LANE(float) evidence[HMK_MAX_LANES];
    HMK_PER_LANE(float) var_row[HMK_MAX_LANES];   /* px^2, inflation included */
    HMK_PER_LANE(float) var_col[HMK_MAX_LANES];
    HMK_PER_LANE(float) pinned[HMK_MAX_LANES];    /* share of a move that the taper hides */
} hmk_fit;

/* How coherent two windows are at which wave number: sums over rings of bins, of radius
 * b - 1/2 to b + 1/2. */
enum { HMK_MAX_BANDS = 192 };
typedef struct {
    hmk_patch patch;
    /* sum of Re(C exp(-i omega d)) at the shift d that fits; of |A|^2; of |B|^2 */
    HMK_PER_LANE(float) coherent[HMK_MAX_BANDS][HMK_MAX_LANES];
    HMK_PER_LANE(float) power_a[HMK_MAX_BANDS][HMK_MAX_LANES];
    HMK_PER_LANE(float) power_b[HMK_MAX_BANDS][HMK_MAX_LANES];
} hmk_bands;

/* What pixels may be. */
typedef enum {
    HMK_UINT8,
    HMK_INT8,
    HMK_UINT16,
    HMK_INT16,
    HMK_UINT32,
    HMK_INT32,
    HMK_FLOAT,
    HMK_DOUBLE,
    HMK_PIXEL_END
} hmk_pixel;

/* A row of pixels to (pixel - mean) * scale; what is not finite or not `valid` (NULL: all are)
 * becomes NaN, what is `saturated` infinite. Returns whether there were such pixels. */
typedef int hmk_standardise(const void *pixels, const uint8_t *valid, ptrdiff_t count,
                            double mean, float scale, double saturated, float *to);

typedef struct {
    const char *name; /* "sse2", "avx2", "avx512", "neon", "generic" */
    int lanes;
    int (*supported)(void);
    /* Floats of scratch memory that a window of side n needs (aligned to HMK_ALIGN). */
    size_t (*scratch)(int n);
    /* 1 when this build transforms windows of side n itself. */
    int (*own_fft)(int n);
    void (*peak)(const hmk_window *, const hmk_batch *, float *scratch, hmk_peak *);
    /* full = 1: the whole fit with its quality; 0: a quick look without reweighting, which gives
     * shift, evidence and patch only */
    void (*fit)(const hmk_window *, const hmk_batch *, int full, float *scratch, hmk_fit *);
    void (*bands)(const hmk_window *, const hmk_batch *, float *scratch, hmk_bands *);
    hmk_standardise *standardise[HMK_PIXEL_END];
    /* The window (n, n) that taps (HMK_TAPS each) along rows and columns make of pixels (n +
     * HMK_TAPS - 1, the same), of which `from` is the first; `between` (n + HMK_TAPS - 1, n) is
     * scratch. Returns whether all of it is finite, and the pixels that it stands on differ. */
    int (*move)(const float *from, ptrdiff_t stride, int n, const float *tap_row,
                const float *tap_col, float *between, float *to);
} hmk_kernels;

/* The kernels of this build, widest first; NULL-terminated. */
extern const hmk_kernels *const hmk_kernel_list[];

/* The kernels of that name, or for NULL the widest that this processor runs. NULL: none. */
const hmk_kernels *hmk_kernels_for(const char *name);

#endif
