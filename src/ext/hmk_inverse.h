/* The inverse of a small matrix of sums. */
#ifndef HMK_INVERSE_H
#define HMK_INVERSE_H

/* Invert, in place, the n x n matrix `a`: sums of squares and products, to whose diagonal
 * `own` > 0 has been added. No pivot of it is less than its own, which settles what terms share.
 * Return the log of its determinant. Any thread may. */
double hmk_inverse(double *a, const double *own, int n);

#endif
