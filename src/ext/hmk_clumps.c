#include "hmk_clumps.h"

#include <math.h>

/* Nodes of a row that are compared together: compilers make vectors of it. */
enum { PIECE = 64 };

/* A run is a longest sequence of nodes of a row in which each hangs together with the next. Its first
 * node stands for it: nodes that are none point at the first of theirs and never elsewhere, so that
 * only runs are joined, of which a field without jumps has one a row. While runs are joined `size`
 * holds the nodes of the run at its first, and 0 elsewhere. */

static int32_t run_of(const int32_t *parent, const int32_t *size, int32_t at)
{
    return size[at] ? at : parent[at];
}

/* Root of a run in the forest of clumps, halving the path on the way. */
static int32_t root_of(int32_t *parent, int32_t run)
{
    while (parent[run] != run) {
        parent[run] = parent[parent[run]];
        run = parent[run];
    }
    return run;
}

static void join(int32_t *parent, int32_t a, int32_t b)
{
    a = root_of(parent, a), b = root_of(parent, b);
    /* The smaller index leads, so that the forest does not depend on the order of joins. */
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
}

/* Whether `count` nodes, up to PIECE, hang together with those `away` from them; NaN does not. */
static void together(const float *u, const float *v, ptrdiff_t away, float square, ptrdiff_t count,
                     uint8_t *yes)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        const float du = u[i + away] - u[i], dv = v[i + away] - v[i];
        yes[i] = du * du + dv * dv <= square;
    }
}

static void find_runs(const float *u, const float *v, int32_t row, int32_t cols, float square,
                      int32_t *parent, int32_t *size)
{
    int32_t run = row;
    for (int32_t begin = 0; begin < cols; begin += PIECE) {
        const int32_t count = cols - begin < PIECE ? cols - begin : PIECE;
        uint8_t yes[PIECE] = {0};
        const int32_t from = begin ? 0 : 1;
        together(u + row + begin + from, v + row + begin + from, -1, square, count - from,
                 yes + from);
        for (int32_t i = 0; i < count; i++) {
            const int32_t at = row + begin + i;
            size[at] = 0;
            if (!yes[i])
                run = at;
            parent[at] = run;
            size[run] += !isnan(u[at]) && !isnan(v[at]);
        }
    }
}

/* Join the runs of a row with those of the next. */
static void join_rows(const float *u, const float *v, int32_t row, int32_t cols, float square,
                      int32_t *parent, const int32_t *size)
{
    int32_t last_a = -1, last_b = -1;
    for (int32_t begin = 0; begin < cols; begin += PIECE) {
        const int32_t count = cols - begin < PIECE ? cols - begin : PIECE;
        for (int32_t dc = -1; dc <= 1; dc++) {
            const int32_t from = begin + dc < 0 ? 1 : 0;
            const int32_t end = begin + count + dc > cols ? count - 1 : count;
            uint8_t yes[PIECE];
            together(u + row + begin + from, v + row + begin + from, cols + dc, square, end - from,
                     yes + from);
            for (int32_t i = from; i < end; i++) {
                if (!yes[i])
                    continue;
                const int32_t at = row + begin + i;
                const int32_t a = run_of(parent, size, at);
                const int32_t b = run_of(parent, size, at + cols + dc);
                if (a != last_a || b != last_b)
                    join(parent, a, b);
                last_a = a, last_b = b;
            }
        }
    }
}

hmk_status hmk_clump_sizes(const float *u, const float *v, ptrdiff_t rows, ptrdiff_t cols,
                           float limit, int32_t *parent, int32_t *size)
{
    if (rows * cols > INT32_MAX || !(limit >= 0))
        return HMK_BAD_OPTION;
    const int32_t count = (int32_t)(rows * cols), side = (int32_t)cols;
    const float square = limit * limit;
    for (int32_t row = 0; row < count; row += side) {
        find_runs(u, v, row, side, square, parent, size);
        if (row)
            join_rows(u, v, row - side, side, square, parent, size);
    }
    for (int32_t i = 0; i < count; i++)
        if (size[i] && parent[i] != i)
            size[root_of(parent, i)] += size[i];
    /* Backwards: a root comes before all that hang together with it. */
    int32_t run = -1, all = 0;
    for (int32_t i = count - 1; i >= 0; i--) {
        const int32_t mine = run_of(parent, size, i);
        if (mine != run)
            run = mine, all = size[root_of(parent, run)];
        size[i] = all;
    }
    return HMK_OK;
}
