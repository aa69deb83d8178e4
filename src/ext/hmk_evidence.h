/* How probable the displacements of cells are under a prior of their months, and the slopes of
 * that along the prior's numbers. */
#ifndef HMK_EVIDENCE_H
#define HMK_EVIDENCE_H

#include "hmk_lapack.h"
#include "hmk_month_prior.h"

/* What the pairs of some cells say about n months: with O the design, C the covariance of the
 * errors and d the displacements of a cell's pairs, as for noise 1. */
typedef struct {
    ptrdiff_t cells;
    const double *normal;  /* (cells, n + 1, n + 1): [O d]' C^-1 [O d] */
    const double *log_det; /* (cells,) log |C| */
    const double *count;   /* (cells,) pairs */
} hmk_information;

/* Memory that hmk_evidence wants, in doubles. */
ptrdiff_t hmk_evidence_work(int n, ptrdiff_t cells);

/* Evaluate minus the log evidence of each cell, constants aside, into `misfit` (cells,); and,
 * unless NULL, the slopes of their sum. `work` is the caller's.
 *
 * Returns 0; the row of a bad pivot of the prior covariance; or minus that of what the pairs
 * say: then nothing is answered. Reads and writes only what it is given: any thread may. */
int hmk_evidence(const hmk_lapack *lapack, const hmk_prior *prior, int n, int first,
                 const hmk_information *known, double *work, double *misfit,
                 const hmk_slopes *slopes);

#endif
