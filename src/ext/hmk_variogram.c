#include "hmk_variogram.h"

#include <math.h>

/* For vectors `stride` of them apart. */
static double mean_square(const double *field, ptrdiff_t rows, ptrdiff_t cols,
                          ptrdiff_t row_length, ptrdiff_t stride, ptrdiff_t least)
{
    double sum = 0;
    ptrdiff_t count = 0;
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t c = 0; c < cols; c++) {
            const double *a = field + 2 * (r * row_length + c), *b = a + 2 * stride;
            const double du = b[0] - a[0], dv = b[1] - a[1], square = du * du + dv * dv;
            const int known = isfinite(square);
            sum += known ? square : 0.0;
            count += known;
        }
    return count >= least ? sum / (double)count : NAN;
}

void hmk_variogram(const double *field, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t longest,
                   ptrdiff_t least, double *out)
{
    for (ptrdiff_t lag = 1; lag <= longest; lag++) {
        out[lag - 1] = mean_square(field, rows - lag, cols, cols, lag * cols, least);
        out[longest + lag - 1] = mean_square(field, rows, cols - lag, cols, lag, least);
    }
}
