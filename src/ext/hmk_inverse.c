#include "hmk_inverse.h"

#include <math.h>

/* Gauss and Jordan's elimination: in a symmetric, positive matrix any order of pivots is safe. */
double hmk_inverse(double *a, const double *own, int n)
{
    double log_det = 0;
    for (int p = 0; p < n; p++) {
        double *pivots = a + p * n;
        const double pivot = pivots[p] > own[p] ? pivots[p] : own[p];
        log_det += log(pivot);
        pivots[p] = 1.0;
        for (int j = 0; j < n; j++)
            pivots[j] /= pivot;
        for (int i = 0; i < n; i++) {
            if (i == p)
                continue;
            double *row = a + i * n;
            const double factor = row[p];
            row[p] = 0.0;
            for (int j = 0; j < n; j++)
                row[j] -= factor * pivots[j];
        }
    }
    return log_det;
}
