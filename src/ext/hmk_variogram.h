/* How differences between the nodes of a field grow with their distance. */
#ifndef HMK_VARIOGRAM_H
#define HMK_VARIOGRAM_H

#include <stddef.h>

/* Mean squared difference of vectors (rows, cols, 2; NaN = none) `lag` nodes apart, for the lags
 * 1 ... longest down the rows and then across the columns: `out` (2, longest), NaN where fewer
 * than `least` pairs are there. Any thread may. */
void hmk_variogram(const double *field, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t longest,
                   ptrdiff_t least, double *out);

#endif
