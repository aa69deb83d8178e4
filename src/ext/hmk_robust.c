#include "hmk_robust.h"

#include <math.h>

#include "hmk_inverse.h"

/* Fill in the weights; return whether there are any. */
static int weigh(const hmk_robust_model *m, const double *residual, double *weight)
{
    double most = 0;
    for (ptrdiff_t i = 0; i < m->count; i++) {
        const double u = residual[2 * i] / m->sigma[0], v = residual[2 * i + 1] / m->sigma[1];
        const double left = 1.0 - (u * u + v * v) / (m->cutoff * m->cutoff);
        weight[i] = left > 0 ? left * left : 0.0;
        most = weight[i] > most ? weight[i] : most;
    }
    return most > 0;
}

/* Solve the normal equations; `inverse` is that of their matrix. */
static void solve(const hmk_robust_model *m, const double *weight, double *beta,
                  double *inverse)
{
    const int k = m->terms;
    double gram[HMK_MOST_TERMS][HMK_MOST_TERMS] = {{0}}, moment[HMK_MOST_TERMS][2] = {{0}};
    for (ptrdiff_t i = 0; i < m->count; i++) {
        if (weight[i] == 0)
            continue;
        const double *x = m->x + i * k, *y = m->y + 2 * i;
        for (int a = 0; a < k; a++) {
            const double xw = x[a] * weight[i];
            for (int b = 0; b <= a; b++)
                gram[a][b] += xw * x[b];
            moment[a][0] += xw * y[0], moment[a][1] += xw * y[1];
        }
    }
    double trace = 0, own[HMK_MOST_TERMS];
    for (int a = 0; a < k; a++)
        trace += gram[a][a];
    for (int a = 0; a < k; a++) {
        own[a] = m->pull * trace / k;
        for (int b = 0; b <= a; b++)
            inverse[a * k + b] = inverse[b * k + a] = gram[a][b];
        inverse[a * k + a] += own[a];
    }
    hmk_inverse(inverse, own, k);
    for (int a = 0; a < k; a++)
        for (int c = 0; c < 2; c++) {
            beta[2 * a + c] = 0;
            for (int b = 0; b < k; b++)
                beta[2 * a + c] += inverse[a * k + b] * moment[b][c];
        }
}

int hmk_robust_fit(const hmk_robust_model *m, double resting, int rounds, double *residual,
                   double *beta, double *weight, double *inverse)
{
    const double unit = fmax(m->sigma[0], m->sigma[1]);
    for (int round = 0; round < rounds; round++) {
        if (!weigh(m, residual, weight))
            return 0;
        double old[2 * HMK_MOST_TERMS];
        for (int a = 0; a < 2 * m->terms; a++)
            old[a] = beta[a];
        solve(m, weight, beta, inverse);
        int rests = 1; /* not beside NaN */
        for (int a = 0; a < 2 * m->terms; a++)
            rests &= fabs(beta[a] - old[a]) / unit < resting;
        for (ptrdiff_t i = 0; i < m->count; i++)
            for (int c = 0; c < 2; c++) {
                double value = 0;
                for (int a = 0; a < m->terms; a++)
                    value += m->x[i * m->terms + a] * beta[2 * a + c];
                residual[2 * i + c] = m->y[2 * i + c] - value;
            }
        if (rests)
            break;
    }
    return 1;
}
