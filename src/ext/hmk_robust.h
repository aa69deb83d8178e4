/* A linear model of two components, fitted by reweighting. */
#ifndef HMK_ROBUST_H
#define HMK_ROBUST_H

#include <stddef.h>

enum { HMK_MOST_TERMS = 6 };

typedef struct {
    const double *x;     /* (count, terms): the terms, at most HMK_MOST_TERMS */
    const double *y;     /* (count, 2): the values */
    ptrdiff_t count;
    int terms;
    const double *sigma; /* (2,): width of the residuals' core, positive */
    double cutoff;       /* sigmas at which a weight is zero */
    double pull;         /* of the mean of the squares, added to each: settles what terms share */
} hmk_robust_model;

/* Fit with the biweights of the residuals' lengths in sigmas, until no coefficient moves by
 * `resting` sigmas (of the larger), `rounds` times at most.
 *
 * `residual` (count, 2): from where the first weights come; in the end that of the fit.
 * `beta` (terms, 2): the fit that is improved, or NaN; in the end the new one.
 * `weight` (count,) and `inverse` (terms, terms): the last weights, and the inverse of the sums
 * that they make. All are the caller's: any thread may. Return 0 where no residual has a weight,
 * else 1. */
int hmk_robust_fit(const hmk_robust_model *model, double resting, int rounds, double *residual,
                   double *beta, double *weight, double *inverse);

#endif
