#include "hmk_evidence.h"

#include <math.h>
#include <string.h>

/* The matrices of a call, all (n, n) by columns. */
typedef struct {
    const hmk_lapack *lapack;
    int n;
    double noise2;
    double *root;   /* lower Cholesky factor of the prior covariance, 0 above */
    double *part;   /* L'A of one cell */
    double *factor; /* the lower factor F of I + L'AL */
    double *pull;   /* lower half: sum of W, then of alpha alpha' - W */
    double *told;   /* (n,) F^-1 L'O'C^-1 d */
    double *alphas; /* (n, cells) */
} job;

ptrdiff_t hmk_evidence_work(int n, ptrdiff_t cells)
{
    const ptrdiff_t square = (ptrdiff_t)n * n;
    return hmk_month_prior_work(n) + 5 * square + n + n * cells;
}

static double dot(const double *x, const double *y, ptrdiff_t n)
{
    double sum = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* L'A and the factor of I + L'AL; returns the row of a bad pivot. With L, the root of the
 * prior covariance, the matrix is graded: its first row alone has the level, which is a
 * thousand times larger than the rest, and the others keep their digits. */
static int factorise(job *j, const double *normal)
{
    int n = j->n, info;
    double share = 1 / j->noise2, one = 1;
    for (int k = 0; k < n; k++)
        memcpy(j->part + (ptrdiff_t)k * n, normal + (ptrdiff_t)k * (n + 1),
               (size_t)n * sizeof *normal);
    j->lapack->dtrmm("L", "L", "T", "N", &n, &n, &share, j->root, &n, j->part, &n);
    memcpy(j->factor, j->part, (size_t)n * (size_t)n * sizeof *normal);
    j->lapack->dtrmm("R", "L", "N", "N", &n, &n, &one, j->root, &n, j->factor, &n);
    for (int k = 0; k < n; k++)
        j->factor[(ptrdiff_t)k * (n + 1)] += 1;
    j->lapack->dpotrf("L", &n, j->factor, &n, &info);
    return info;
}

/* Minus the log evidence of a cell that is factorised, and `told`. */
static double misfit_of(job *j, const double *normal, double log_det, double count)
{
    int n = j->n, step = 1;
    const double *vector = normal + (ptrdiff_t)n * (n + 1);
    memcpy(j->told, vector, (size_t)n * sizeof *vector);
    j->lapack->dtrmv("L", "T", "N", &n, j->root, &n, j->told, &step);
    j->lapack->dtrsv("L", "N", "N", &n, j->factor, &n, j->told, &step);
    double log_pivots = 0;
    for (int k = 0; k < n; k++) {
        j->told[k] /= j->noise2;
        log_pivots += log(j->factor[(ptrdiff_t)k * (n + 1)]);
    }
    log_det += 2 * log_pivots + count * log(j->noise2);
    return 0.5 * (vector[n] / j->noise2 - dot(j->told, j->told, n) + log_det);
}

/* Add W = A - A S A of a cell, S its posterior covariance, to `pull`, and write its alpha.
 * Returns the cell's part of the slope along log noise. */
static double pull_of(job *j, const double *normal, double count, double *alpha)
{
    int n = j->n, step = 1, pitch = n + 1;
    double one = 1, less = -1, share = 1 / j->noise2, lesser = -share;
    const double *vector = normal + (ptrdiff_t)n * pitch;
    const double slope = count - vector[n] / j->noise2 + dot(j->told, j->told, n);
    for (int k = 0; k < n; k++)
        for (int i = k; i < n; i++)
            j->pull[(ptrdiff_t)k * n + i] += normal[(ptrdiff_t)k * pitch + i] / j->noise2;
    j->lapack->dtrsm("L", "L", "N", "N", &n, &n, &one, j->factor, &n, j->part, &n);
    j->lapack->dsyrk("L", "T", &n, &n, &less, j->part, &n, &one, j->pull, &n);
    double *mean = j->told;
    j->lapack->dtrsv("L", "T", "N", &n, j->factor, &n, mean, &step);
    j->lapack->dtrmv("L", "N", "N", &n, j->root, &n, mean, &step);
    memcpy(alpha, vector, (size_t)n * sizeof *vector);
    j->lapack->dsymv("L", &n, &lesser, (double *)normal, &pitch, mean, &step, &share, alpha,
                     &step);
    return slope;
}

int hmk_evidence(const hmk_lapack *lapack, const hmk_prior *prior, int n, int first,
                 const hmk_information *known, double *work, double *misfit,
                 const hmk_slopes *slopes)
{
    const ptrdiff_t square = (ptrdiff_t)n * n, size = square + 2 * n + 1;
    job j = {.lapack = lapack, .n = n, .noise2 = prior->noise * prior->noise};
    j.root = work, j.part = j.root + square, j.factor = j.part + square;
    j.pull = j.factor + square;
    double *covariance = j.pull + square;
    j.told = covariance + square, j.alphas = j.told + n;
    hmk_months months;
    hmk_month_prior(&months, prior, n, first, j.alphas + n * known->cells);

    memset(covariance, 0, (size_t)square * sizeof *covariance);
    hmk_month_covariance(&months, covariance);
    memcpy(j.root, covariance, (size_t)square * sizeof *covariance);
    int info, count = (int)known->cells;
    lapack->dpotrf("L", &n, j.root, &n, &info);
    if (info)
        return info;
    if (slopes)
        memset(j.pull, 0, (size_t)square * sizeof *j.pull);
    double by_noise = 0;
    for (ptrdiff_t c = 0; c < known->cells; c++) {
        const double *normal = known->normal + c * size;
        if ((info = factorise(&j, normal)))
            return -info;
        misfit[c] = misfit_of(&j, normal, known->log_det[c], known->count[c]);
        if (slopes)
            by_noise += pull_of(&j, normal, known->count[c], j.alphas + c * n);
    }
    if (!slopes)
        return 0;
    double one = 1, less = -1;
    lapack->dsyrk("L", "N", &n, &count, &one, j.alphas, &n, &less, j.pull, &n);
    for (int k = 0; k < n; k++) {
        const ptrdiff_t at = (ptrdiff_t)k * (n + 1);
        /* Of both at once: alpha' K alpha, and the trace of W K. */
        by_noise += j.pull[at] * covariance[at];
        by_noise += 2 * dot(j.pull + at + 1, covariance + at + 1, n - k - 1);
        for (int i = 0; i < n - k; i++)
            j.pull[at + i] *= -0.5;
    }
    hmk_month_slopes(&months, j.pull, slopes);
    slopes->number[HMK_NUMBERS - 1] = by_noise;
    return 0;
}
