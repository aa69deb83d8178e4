#include "hmk_middle.h"

#include <math.h>

/* Move the values so that a[k] is the one that sorting puts there, none after it less, none
 * before it greater (Hoare's selection). */
static void place(double *a, ptrdiff_t count, ptrdiff_t k)
{
    ptrdiff_t first = 0, last = count - 1;
    while (first < last) {
        const double pivot = a[first + (last - first) / 2];
        ptrdiff_t i = first, j = last;
        do {
            while (a[i] < pivot)
                i++;
            while (pivot < a[j])
                j--;
            if (i <= j) {
                const double swap = a[i];
                a[i++] = a[j];
                a[j--] = swap;
            }
        } while (i <= j);
        if (j < k)
            first = i;
        if (k < i)
            last = j;
    }
}

static double median(double *a, ptrdiff_t count)
{
    const ptrdiff_t half = count / 2;
    place(a, count, half);
    if (count % 2)
        return a[half] + 0.0; /* never -0 */
    double below = a[0];
    for (ptrdiff_t i = 1; i < half; i++)
        below = a[i] > below ? a[i] : below;
    return (below + a[half]) / 2 + 0.0;
}

void hmk_middle(const double *x, ptrdiff_t count, double *scratch, double *middle,
                double *deviation)
{
    for (ptrdiff_t i = 0; i < count; i++)
        scratch[i] = x[i];
    *middle = median(scratch, count);
    for (ptrdiff_t i = 0; i < count; i++)
        scratch[i] = fabs(x[i] - *middle);
    *deviation = median(scratch, count);
}
