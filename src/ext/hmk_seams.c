#include "hmk_seams.h"

#include <math.h>
#include <string.h>

#include "hmk_inverse.h"

double hmk_base(const double *gram, const double *moment, int all, const ptrdiff_t *column, int k,
                const double *prior, const double *kappa, double *inverse, double *beta)
{
    double log_evidence = 0;
    for (int c = 0; c < 2; c++, inverse += k * k, beta += k) {
        for (int i = 0; i < k; i++) {
            for (int j = 0; j < k; j++)
                inverse[i * k + j] = kappa[c] * gram[column[i] * all + column[j]];
            inverse[i * k + i] += prior[i];
        }
        log_evidence -= 0.5 * hmk_inverse(inverse, prior, k);
        for (int i = 0; i < k; i++) {
            beta[i] = 0;
            for (int j = 0; j < k; j++)
                beta[i] += inverse[i * k + j] * kappa[c] * moment[2 * column[j] + c];
            log_evidence += 0.5 * beta[i] * kappa[c] * moment[2 * column[i] + c];
        }
    }
    return log_evidence;
}

void hmk_step_information(const hmk_ground *g, int c, const ptrdiff_t *at, int n, double *info)
{
    const double *stiff = g->stiff + c * g->bins * g->k;
    for (int a = 0; a < n; a++)
        for (int b = 0; b <= a; b++) {
            const double *s = stiff + at[a] * g->k, *x = g->x + at[b] * g->k;
            double left = g->mass[at[a] > at[b] ? at[a] : at[b]];
            for (int i = 0; i < g->k; i++)
                left -= s[i] * x[i];
            info[a * n + b] = info[b * n + a] = left * g->kappa[c];
        }
}

/* b . a^-1 b - log det a of a symmetric, positive matrix: elimination, both are used up. */
static double eliminated(double *a, double *b, int n, double least)
{
    double gain = 0, log_det = 0;
    for (int p = 0; p < n; p++) {
        const double pivot = a[p * n + p] > least ? a[p * n + p] : least;
        gain += b[p] * b[p] / pivot;
        log_det += log(pivot);
        for (int i = p + 1; i < n; i++) {
            const double lean = a[i * n + p] / pivot;
            b[i] -= lean * b[p];
            for (int j = p + 1; j <= i; j++)
                a[i * n + j] -= lean * a[j * n + p];
        }
    }
    return gain - log_det;
}

void hmk_steps(const hmk_ground *ground, const double *pull, const ptrdiff_t *at, ptrdiff_t m,
               int n, const double *precision, int priors, double least, double *scratch,
               double *log)
{
    double *info = scratch, *whole = info + n * n, *pulls = whole + n * n;
    memset(log, 0, (size_t)(priors * m) * sizeof *log);
    for (ptrdiff_t i = 0; i < m; i++, at += n)
        for (int c = 0; c < 2; c++) {
            hmk_step_information(ground, c, at, n, info);
            for (int k = 0; k < priors; k++) {
                for (int j = 0; j < n * n; j++)
                    whole[j] = info[j] + precision[k * n * n + j];
                for (int j = 0; j < n; j++)
                    pulls[j] = pull[c * ground->bins + at[j]];
                log[k * m + i] += 0.5 * eliminated(whole, pulls, n, least);
            }
        }
}

void hmk_step_sizes(const hmk_ground *ground, const double *pull, const ptrdiff_t *at,
                    ptrdiff_t m, int n, const double *root, const double *share,
                    double *scratch, double *jumps)
{
    double *info = scratch, *half = info + n * n, *a = half + n * n;
    double *ones = a + n * n, *pulls = ones + n, *unit = pulls + n;
    for (int i = 0; i < n; i++)
        ones[i] = 1.0;
    for (ptrdiff_t i = 0; i < m; i++, at += n)
        for (int c = 0; c < 2; c++) {
            hmk_step_information(ground, c, at, n, info);
            memset(half, 0, (size_t)(2 * n * n) * sizeof *half); /* and a */
            memset(pulls, 0, (size_t)n * sizeof *pulls);
            for (int q = 0; q < n; q++)
                for (int p = q; p < n; p++) {
                    const double r = root[p * n + q];
                    pulls[q] += r * pull[c * ground->bins + at[p]];
                    for (int j = 0; j < n; j++)
                        half[q * n + j] += r * info[p * n + j];
                }
            for (int q = 0; q < n; q++) {
                for (int p = 0; p < n; p++)
                    for (int j = p; j < n; j++)
                        a[q * n + p] += half[q * n + j] * root[j * n + p];
                a[q * n + q] += 1.0;
            }
            hmk_inverse(a, ones, n);
            for (int q = 0; q < n; q++) {
                unit[q] = 0; /* in units of the prior */
                for (int p = 0; p < n; p++)
                    unit[q] += a[q * n + p] * pulls[p];
            }
            for (int p = 0; p < n; p++)
                for (int q = 0; q <= p; q++)
                    jumps[2 * at[p] + c] += share[i] * root[p * n + q] * unit[q];
        }
}

/* Determinant of a pair's matrix (d1, both; both, d2). */
static double pair_det(double d1, double d2, double both)
{
    const double det = d1 * d2 - both * both;
    return det > 1e-9 ? det : 1e-9;
}

void hmk_pairs(const double *info, const double *pull, ptrdiff_t m, double own, double *log_out)
{
    for (ptrdiff_t i = 0; i < m; i++)
        for (ptrdiff_t j = i + 1; j < m; j++) {
            double gain = 0, det = 1;
            for (int c = 0; c < 2; c++) {
                const double *matrix = info + c * m * m, *p = pull + c * m;
                const double d1 = matrix[i * m + i] + own, d2 = matrix[j * m + j] + own;
                const double both = matrix[i * m + j], one = pair_det(d1, d2, both);
                gain += (p[i] * (p[i] * d2 - 2.0 * p[j] * both) + p[j] * p[j] * d1) / one;
                det *= one;
            }
            *log_out++ = 0.5 * (gain - log(det));
        }
}

void hmk_pair_sizes(const double *info, const double *pull, ptrdiff_t m, double own,
                    const double *share, double *size)
{
    memset(size, 0, (size_t)(2 * m) * sizeof *size);
    for (ptrdiff_t i = 0; i < m; i++)
        for (ptrdiff_t j = i + 1; j < m; j++, share++)
            for (int c = 0; c < 2; c++) {
                const double *matrix = info + c * m * m, *p = pull + c * m;
                const double d1 = matrix[i * m + i] + own, d2 = matrix[j * m + j] + own;
                const double both = matrix[i * m + j];
                const double scale = *share / pair_det(d1, d2, both);
                size[2 * i + c] += scale * (p[i] * d2 - p[j] * both);
                size[2 * j + c] += scale * (p[j] * d1 - p[i] * both);
            }
}

void hmk_beyond(const double *value, const double *weight, const ptrdiff_t *bin,
                ptrdiff_t count, ptrdiff_t k, ptrdiff_t bins, double *out)
{
    memset(out, 0, (size_t)(bins * k) * sizeof *out);
    for (ptrdiff_t i = 0; i < count; i++)
        for (ptrdiff_t j = 0; j < k; j++)
            out[bin[i] * k + j] += weight[i] * value[i * k + j];
    for (ptrdiff_t b = bins - 1; b > 0; b--)
        for (ptrdiff_t j = 0; j < k; j++)
            out[(b - 1) * k + j] += out[b * k + j];
}
