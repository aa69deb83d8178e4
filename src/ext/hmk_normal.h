/* Normal equations of pairs whose scenes' errors are shared. A pair has a part in two scenes at
 * most, and in all columns that come after them. */
#ifndef HMK_NORMAL_H
#define HMK_NORMAL_H

#include <stddef.h>

#include "hmk_lapack.h"

/* Rows of some pairs, scaled by the roots of their weights. */
typedef struct {
    int pairs, scenes, columns;
    const double *rows;            /* (pairs, columns) */
    const double *amplitude;       /* (pairs,) of the scenes: minus that of the earlier one, ... */
    const ptrdiff_t *early, *late; /* (pairs,) ... plus that of the later; -1 = none */
} hmk_pair_rows;

/* Add the rows' products to the lower half, by columns, of `normal`, whose side is scenes +
 * columns. Writes only there: any thread may. */
void hmk_add_products(const hmk_lapack *lapack, const hmk_pair_rows *rows, double *normal);

#endif
