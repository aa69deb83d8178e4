/* Where the middle of many values is, and how far they lie from it. */
#ifndef HMK_MIDDLE_H
#define HMK_MIDDLE_H

#include <stddef.h>

/* Median of `count` > 0 finite values, and the median of their distances to it. `scratch` holds
 * as many values and is the caller's: any thread may. */
void hmk_middle(const double *x, ptrdiff_t count, double *scratch, double *middle,
                double *deviation);

#endif
