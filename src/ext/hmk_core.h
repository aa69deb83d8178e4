/* The core of a scatter: sums over the points in a disc, and how many lie in a ring around it. */
#ifndef HMK_CORE_H
#define HMK_CORE_H

#include <stddef.h>

typedef struct {
    ptrdiff_t disc, ring; /* points */
    double sum[2];        /* of the disc's points, in sigmas from the centre */
    double square[2];     /* of their squares */
} hmk_core_sums;

/* Sum over `count` points (x, y), finite, in the order they come in. A point's distance from
 * `centre` is measured in `sigma` (both positive): less than `disc` is in the disc, more than
 * ring[0] and less than ring[1] in the ring. Reads only what it is given: any thread may. */
hmk_core_sums hmk_core(const double *x, const double *y, ptrdiff_t count,
                       const double centre[2], const double sigma[2], double disc,
                       const double ring[2]);

#endif
