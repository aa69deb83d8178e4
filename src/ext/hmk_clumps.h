/* Which vectors of a field hang together, and how many. */
#ifndef HMK_CLUMPS_H
#define HMK_CLUMPS_H

#include <stddef.h>
#include <stdint.h>

#include "hmk_status.h"

/* How many vectors hang together with each of a field (rows x cols, NaN = none): neighbours (of 8) do
 * when they differ by at most `limit` in length. 0 where there is none. `parent` is scratch of the
 * field's size; both arrays are the caller's. One thread. */
hmk_status hmk_clump_sizes(const float *u, const float *v, ptrdiff_t rows, ptrdiff_t cols,
                           float limit, int32_t *parent, int32_t *size);

#endif
