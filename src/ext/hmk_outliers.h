/* Normalised median test on a field of vectors (Westerweel and Scarano, 2005). */
#ifndef HMK_OUTLIERS_H
#define HMK_OUTLIERS_H

#include <stddef.h>
#include <stdint.h>

#include "hmk_status.h"

/* For every vector of the field (rows x cols, NaN = none): the length of its distance to the
 * median of its neighbours (5 x 5 without itself), each component divided by
 * `noise` + the median distance of those neighbours to their median. NaN where the vector or
 * more than `least` of its 24 neighbours are missing: fewer than `least` present.
 * Rows first ... last - 1 are written; disjoint ranges may run in many threads. */
hmk_status hmk_median_test(const float *u, const float *v, const float *noise_u,
                           const float *noise_v, ptrdiff_t rows, ptrdiff_t cols, int least,
                           ptrdiff_t first, ptrdiff_t last, float *score);

#endif
