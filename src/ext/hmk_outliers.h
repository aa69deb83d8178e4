/* What a field of vectors says of its members: medians of 5 x 5 neighbourhoods. */
#ifndef HMK_OUTLIERS_H
#define HMK_OUTLIERS_H

#include <stddef.h>
#include <stdint.h>

#include "hmk_status.h"

/* Normalised median test (Westerweel and Scarano, 2005) on a field of vectors (rows x cols,
 * NaN = none). A vector is an outlier when the length of its distance to the median of its
 * neighbours (5 x 5 without itself), each component divided by `floor` + its `sigma` (NaN = 0) + the
 * neighbours' median distance to that median, exceeds `limit`; with fewer than `least` neighbours it
 * is not judged. Rows first ... last - 1 are written; disjoint ranges may run in many threads. */
hmk_status hmk_median_test(const float *u, const float *v, const float *sigma_u,
                           const float *sigma_v, ptrdiff_t rows, ptrdiff_t cols, int least,
                           float floor, float limit, ptrdiff_t first, ptrdiff_t last,
                           uint8_t *outlier);

/* Median of the neighbours of the nodes that are `wanted`, where at least `least` of them are
 * there and their median distance to it is at most `spread` in both components; else NaN. */
hmk_status hmk_neighbour_median(const float *u, const float *v, const uint8_t *wanted,
                                ptrdiff_t rows, ptrdiff_t cols, int least, float spread,
                                ptrdiff_t first, ptrdiff_t last, float *mid_u, float *mid_v);

/* Where the field bends: where a vector lies further than `limit` from the mean of two
 * opposite neighbours (5 x 5), the one of the two that differs more; else NaN. A field that
 * changes steadily, however fast, does not bend. */
hmk_status hmk_bend(const float *u, const float *v, ptrdiff_t rows, ptrdiff_t cols,
                    float limit, ptrdiff_t first, ptrdiff_t last, float *far_u, float *far_v);

/* Add to the vectors' errors `sigma` what a steady change of the component `x` makes of not knowing
 * where a window's match sits: `reach` times the lesser of the changes to two nodes before and after
 * it, along rows and columns, where both have one sign. All (rows, cols); rows first ... last - 1 are
 * written. */
void hmk_add_strain(const float *x, ptrdiff_t rows, ptrdiff_t cols, float reach, ptrdiff_t first,
                    ptrdiff_t last, float *sigma);

#endif
