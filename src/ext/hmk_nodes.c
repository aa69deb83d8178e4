#include "hmk_nodes.h"

#include <math.h>

#include "hmk_fft.h"

hmk_status hmk_window_of(const job *j, int n, float beta, int weight, int robust,
                         hmk_window *win)
{
    const hmk_options *o = j->opt;
    if (n < HMK_MIN_WINDOW || n > HMK_MAX_WINDOW || n % 2)
        return HMK_BAD_WINDOW;
    if (!(beta > 0 && beta <= 0.5f) || weight < 0 || weight >= HMK_WEIGHT_END || robust < 0)
        return HMK_BAD_OPTION;
    *win = (hmk_window){.n = n,
                        .beta = beta,
                        .centre_row = 0.5f * (float)(n - o->half_row),
                        .centre_col = 0.5f * (float)(n - o->half_col),
                        .inflation = (1 - 93.0f / 64 * beta) /
                                     ((1 - 1.25f * beta) * (1 - 1.25f * beta)),
                        .pinned = o->pinned,
                        .weight = (hmk_weight)weight,
                        .robust = robust,
                        .fft = NULL};
    if (!o->fftw_only && j->kernels->own_fft(n))
        return HMK_OK;
    int lanes = j->kernels->lanes;
    return hmk_fft_plan(n, lanes, (n + 1) * lanes, &win->fft);
}

int hmk_nodes_fit(const job *j, ptrdiff_t count)
{
    int n = j->coarse.n > j->fine.n ? j->coarse.n : j->fine.n;
    if (j->opt->moved && j->fine.n + HMK_TAPS > n)
        n = j->fine.n + HMK_TAPS;
    ptrdiff_t far = n / 2 + j->opt->reach + 2;
    for (ptrdiff_t i = j->first; i < j->first + count; i++)
        if (j->row[i] < far || j->row[i] + far > j->images->rows || j->col[i] < far ||
            j->col[i] + far > j->images->cols)
            return 0;
    return 1;
}

void hmk_node_start(const job *j, node *at, float guess_row, float guess_col)
{
    at->guessed = isfinite(guess_row) && isfinite(guess_col) &&
                  fabsf(guess_row) <= (float)j->opt->reach &&
                  fabsf(guess_col) <= (float)j->opt->reach;
    at->known = at->guessed;
    at->next = at->guessed ? FIT : j->opt->coarse ? PEAK : fine_pass(j);
    if (at->guessed) {
        at->row = (int)rintf(guess_row), at->col = (int)rintf(guess_col);
        at->part_row = guess_row - (float)at->row, at->part_col = guess_col - (float)at->col;
    }
}

int hmk_node_sees_holes(const job *j, ptrdiff_t i, int n)
{
    enum { LOOKS = 5 };
    const node *at = &j->nodes[i];
    const ptrdiff_t cols = j->images->cols;
    const ptrdiff_t r = j->row[j->first + i] - n / 2, c = j->col[j->first + i] - n / 2;
    float sum = 0;
    for (int y = 0; y < LOOKS; y++)
        for (int x = 0; x < LOOKS; x++) {
            const ptrdiff_t row = r + y * (n - 1) / (LOOKS - 1);
            const ptrdiff_t col = c + x * (n - 1) / (LOOKS - 1);
            const float a = j->images->reference[row * cols + col];
            const float b = j->images->secondary[(row + at->row) * cols + col + at->col];
            sum += (a - a) + (b - b);
        }
    return sum != 0;
}

int hmk_node_hopeless(const job *j, ptrdiff_t i)
{
    const int n = j->fine.n;
    const ptrdiff_t cols = j->images->cols;
    const float *a = j->images->reference + (j->row[j->first + i] - n / 2) * cols +
                     j->col[j->first + i] - n / 2;
    int seen = 0, full = 0;
    for (int y = 0; y < n; y++, a += cols)
        for (int x = 0; x < n; x++) {
            seen += a[x] - a[x] == 0;
            full += a[x] == INFINITY;
        }
    const float least = j->opt->min_valid * (float)(n * n) - 0.5f;
    if ((float)seen >= least)
        return 0;
    j->nodes[i].quality =
        full && (float)(seen + full) >= least ? HMK_NODE_SATURATED : HMK_NODE_NO_DATA;
    return 1;
}

int hmk_node_usable(const job *j, ptrdiff_t i, int n, float min_valid, const hmk_patch *patch,
                  int l)
{
    node *at = &j->nodes[i];
    if (patch->valid_reference[l] < min_valid || patch->valid_secondary[l] < min_valid ||
        patch->valid_both[l] < 0.5f * min_valid) {
        ptrdiff_t r = j->row[j->first + i] - n / 2, c = j->col[j->first + i] - n / 2;
        const float *a = j->images->reference, *b = j->images->secondary;
        ptrdiff_t cols = j->images->cols;
        long full = 0;
        for (int y = 0; y < n; y++)
            for (int x = 0; x < n; x++) {
                full += isinf(a[(r + y) * cols + c + x]) != 0;
                full += isinf(b[(r + y + at->row) * cols + c + x + at->col]) != 0;
            }
        /* Would it have passed with those pixels? Then they are the reason. */
        float share = (float)full / (float)(n * n);
        float least = fminf(patch->valid_reference[l], patch->valid_secondary[l]);
        at->quality = share > 0 && least + share >= min_valid ? HMK_NODE_SATURATED
                                                              : HMK_NODE_NO_DATA;
        return 0;
    }
    if (patch->texture[l] == 0) {
        at->quality = HMK_NODE_NO_TEXTURE;
        return 0;
    }
    return 1;
}

int hmk_node_move(const job *j, ptrdiff_t i, hmk_batch *batch, int l)
{
    const node *at = &j->nodes[i];
    const int n = j->last.n, lanes = j->kernels->lanes;
    const ptrdiff_t stride = j->images->cols;
    const hmk_filter *filter = &j->move.filter;
    const float part[2] = {at->part_row, at->part_col};
    float tap[2][HMK_TAPS], *response = j->move.response + l;
    int whole[2];
    for (int axis = 0; axis < 2; axis++) {
        if (!(part[axis] >= -1 && part[axis] < 2)) /* no fit leads there; not a number neither */
            return 0;
        whole[axis] = (int)floorf(part[axis]);
        hmk_taps(filter, part[axis] - (float)whole[axis], tap[axis]);
        hmk_response(filter, tap[axis], whole[axis], lanes, response);
        response += 3 * (n / 2) * lanes;
    }
    float *const a = j->move.windows + 2 * l * n * n, *const b = a + n * n;
    const ptrdiff_t before = HMK_BEFORE * (stride + 1), on = whole[0] * stride + whole[1];
    const float *from_a = batch->reference[l] - before, *from_b = batch->secondary[l] - before + on;
    batch->reference[l] = a, batch->secondary[l] = b;
    return j->kernels->move(from_a, stride, n, filter->centred, filter->centred, j->move.between,
                            a) &&
           j->kernels->move(from_b, stride, n, tap[0], tap[1], j->move.between, b);
}
