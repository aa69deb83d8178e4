/* How probable steps across a matching error are, for many places of them at once.
 *
 * A shape's terms have been eliminated; what is left of them are arrays over bins across the
 * track (`hmavel.bias_seams`, docs/method.md, Seams). Everything is double and C-ordered, memory
 * is the caller's, any thread may. */
#ifndef HMK_SEAMS_H
#define HMK_SEAMS_H

#include <stddef.h>

/* Solve for the coefficients of a shape without steps, of both components.
 *
 * `gram` (all, all) and `moment` (all, 2): weighted sums over the ground; `column` (k,): the terms
 * that the shape has of all; `prior` (k,): their precision; `kappa` (2,): information of a node.
 * Out: `inverse` (2, k, k) of the coefficients' precision, `beta` (2, k). Return what both add to
 * the log evidence, the priors' own determinants left out. */
double hmk_base(const double *gram, const double *moment, int all, const ptrdiff_t *column, int k,
                const double *prior, const double *kappa, double *inverse, double *beta);

/* Sums over the ground at or beyond the start of each bin, and what the terms take of them. */
typedef struct {
    ptrdiff_t bins;
    int k;
    const double *x;     /* (bins, k): of the terms */
    const double *mass;  /* (bins,): of one */
    const double *stiff; /* (2, bins, k): what a step of one takes from each coefficient */
    const double *kappa; /* (2,) */
} hmk_ground;

/* What ground says of steps of component `c` at the bins `at` (n,): `info` (n, n). */
void hmk_step_information(const hmk_ground *ground, int c, const ptrdiff_t *at, int n,
                          double *info);

/* Log evidence, both components together, of n steps at the bins `at` (m, n) with each of the
 * priors' `precision` (priors, n, n), no eigenvalue of which is less than `least`.
 * `pull` (2, bins): what the displacement says. `log` (priors, m). `scratch`: n (2 n + 1). */
void hmk_steps(const hmk_ground *ground, const double *pull, const ptrdiff_t *at, ptrdiff_t m,
               int n, const double *precision, int priors, double least, double *scratch,
               double *log);

/* Add the mean steps to `jumps` (bins, 2): of n steps at the bins `at` (m, n) with the prior
 * covariance `root` `root`^T, `root` (n, n) lower triangular, each row's times its `share` (m,).
 * `scratch`: n (3 n + 3). */
void hmk_step_sizes(const hmk_ground *ground, const double *pull, const ptrdiff_t *at,
                    ptrdiff_t m, int n, const double *root, const double *share,
                    double *scratch, double *jumps);

/* Log evidence of all pairs of m combs, one amplitude each with the precision `own`: `log`, i < j
 * row by row. `info` (2, m, m): of the combs' amplitudes; `pull` (2, m). */
void hmk_pairs(const double *info, const double *pull, ptrdiff_t m, double own, double *log);

/* Mean amplitudes (m, 2) of the combs, with `share` of each pair, in the order of `log`. */
void hmk_pair_sizes(const double *info, const double *pull, ptrdiff_t m, double own,
                    const double *share, double *size);

/* Weighted sums (bins, k) of values (count, k) of the nodes at or beyond the start of each bin.
 * `bin` (count,): of each node. */
void hmk_beyond(const double *value, const double *weight, const ptrdiff_t *bin,
                ptrdiff_t count, ptrdiff_t k, ptrdiff_t bins, double *out);

#endif
