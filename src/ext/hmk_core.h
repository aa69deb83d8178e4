/* The core of a scatter: where most of its points lie, without what lies evenly below it. */
#ifndef HMK_CORE_H
#define HMK_CORE_H

#include <stddef.h>

/* How a core is told from what lies around it; lengths in sigmas of the core. */
typedef struct {
    double disc;          /* radius of the disc that is the core */
    double ring[2];       /* radii of the ring that shows what lies evenly */
    double deviation;     /* sigma of a Gaussian over its median absolute deviation */
    double within;        /* share of a Gaussian in the disc */
    const double *moment; /* second moments in the disc, increasing, */
    const double *sigma;  /* and the sigmas that have them */
    ptrdiff_t entries;
} hmk_core_options;

typedef struct {
    double centre[2], sigma[2]; /* units of the points; no sigma where half of them are one */
    double share;               /* of the points that belong to the core */
} hmk_core_result;

/* Measure the core of `count` > 0 points (x, y), finite. The points in the disc have a second
 * moment that grows with sigma, less what the ring says lies evenly in it; centre and sigma are
 * found anew until both rest. `scratch` holds `count` values and is the caller's: any thread may. */
hmk_core_result hmk_core(const double *x, const double *y, ptrdiff_t count,
                         const hmk_core_options *opt, double *scratch);

#endif
