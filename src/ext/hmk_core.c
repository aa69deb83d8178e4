#include "hmk_core.h"

hmk_core_sums hmk_core(const double *x, const double *y, ptrdiff_t count,
                       const double centre[2], const double sigma[2], double disc,
                       const double ring[2])
{
    hmk_core_sums s = {0, 0, {0, 0}, {0, 0}};
    const double within = disc * disc, low = ring[0] * ring[0], high = ring[1] * ring[1];
    for (ptrdiff_t i = 0; i < count; i++) {
        const double u = (x[i] - centre[0]) / sigma[0], v = (y[i] - centre[1]) / sigma[1];
        const double uu = u * u, vv = v * v, r2 = uu + vv;
        s.ring += (r2 > low) & (r2 < high);
        if (r2 < within) {
            s.disc++;
            s.sum[0] += u, s.sum[1] += v;
            s.square[0] += uu, s.square[1] += vv;
        }
    }
    return s;
}
