#include "hmk_normal.h"

/* Those of scene `at` with itself and with all columns. */
static void add_scene(const hmk_pair_rows *r, ptrdiff_t pair, ptrdiff_t at, double amplitude,
                      double *normal)
{
    double *column = normal + at * ((ptrdiff_t)r->scenes + r->columns);
    const double *row = r->rows + pair * r->columns;
    column[at] += amplitude * amplitude;
    for (int k = 0; k < r->columns; k++)
        column[r->scenes + k] += amplitude * row[k];
}

void hmk_add_products(const hmk_lapack *lapack, const hmk_pair_rows *r, double *normal)
{
    int side = r->scenes + r->columns;
    double one = 1;
    lapack->dsyrk("L", "N", (int *)&r->columns, (int *)&r->pairs, &one, (double *)r->rows,
                  (int *)&r->columns, &one, normal + (ptrdiff_t)r->scenes * (side + 1), &side);
    for (ptrdiff_t i = 0; i < r->pairs; i++) {
        const ptrdiff_t early = r->early[i], late = r->late[i];
        const double amplitude = r->amplitude[i];
        if (early >= 0)
            add_scene(r, i, early, -amplitude, normal);
        if (late >= 0)
            add_scene(r, i, late, amplitude, normal);
        if (early >= 0 && late >= 0) {
            const ptrdiff_t low = early < late ? early : late, high = early + late - low;
            normal[low * side + high] -= amplitude * amplitude;
        }
    }
}
