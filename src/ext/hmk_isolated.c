#include "hmk_isolated.h"

#include <stdint.h>
#include <string.h>

#include "hmk_memory.h"

/* Validity of a row with one invalid pixel at either end, so that every pixel has eight
 * neighbours; returns whether any pixel is invalid. */
static int validity(const float *row, ptrdiff_t cols, uint8_t *ok)
{
    uint8_t all = 1;
    for (ptrdiff_t j = 0; j < cols; j++) {
        ok[j + 1] = row[j] - row[j] == 0;
        all &= ok[j + 1];
    }
    return !all;
}

typedef struct {
    int count;
    float sum;
} neighbours;

static inline void add(neighbours *n, const float *row, const uint8_t *ok, ptrdiff_t j)
{
    if (ok[j + 1])
        n->count++, n->sum += row[j];
}

/* What takes the place of pixel j of the middle row: itself where it is not isolated. The
 * stencil of all eight neighbours misses (1 - cos k_row)(1 - cos k_col) of a wave: nothing of one
 * that runs along either axis, a quarter of one of 6 pixels along both, all of one of 4. */
static float value(const float *const row[3], uint8_t *const ok[3], ptrdiff_t j)
{
    neighbours side = {0, 0}, corner = {0, 0};
    add(&side, row[0], ok[0], j), add(&side, row[2], ok[2], j);
    add(&side, row[1], ok[1], j - 1), add(&side, row[1], ok[1], j + 1);
    for (int r = 0; r <= 2; r += 2)
        add(&corner, row[r], ok[r], j - 1), add(&corner, row[r], ok[r], j + 1);
    if (side.count < 3 || side.count + corner.count < 6)
        return row[1][j];
    if (side.count == 4 && corner.count == 4)
        return 0.5f * side.sum - 0.25f * corner.sum;
    return side.sum / (float)side.count;
}

hmk_status hmk_fill_isolated(float *image, ptrdiff_t rows, ptrdiff_t cols)
{
    const size_t width = (size_t)cols + 2;
    uint8_t *lines = hmk_alloc(3 * width), *ok[3];
    if (!lines)
        return HMK_NO_MEMORY;
    memset(lines, 0, 3 * width);
    for (int r = 0; r < 3; r++)
        ok[r] = lines + (size_t)r * width;
    int next_holes = rows > 0 ? validity(image, cols, ok[2]) : 0;
    for (ptrdiff_t i = 0; i < rows; i++) {
        uint8_t *spare = ok[0];
        ok[0] = ok[1], ok[1] = ok[2], ok[2] = spare;
        const int holes = next_holes;
        if (i + 1 < rows)
            next_holes = validity(image + (i + 1) * cols, cols, ok[2]);
        else
            memset(ok[2], 0, width);
        if (!holes)
            continue;
        float *here = image + i * cols;
        const float *const row[3] = {i > 0 ? here - cols : here, here,
                                     i + 1 < rows ? here + cols : here};
        for (ptrdiff_t j = 0; j < cols; j++) /* one beside it at least must be valid */
            if (!ok[1][j + 1] && (ok[1][j] | ok[1][j + 2]))
                here[j] = value(row, ok, j);
    }
    hmk_free(lines);
    return HMK_OK;
}
