/* Coherence by wave number, of which tiles learn what noise has drowned. */
#include <math.h>
#include <stdlib.h>

#include "hmk_memory.h"
#include "hmk_nodes.h"

static void add_bands(const job *j, const hmk_bands *found, int l, int bands, float *coherent,
                      float *power_a, float *power_b)
{
    const hmk_patch *patch = &found->patch;
    const float least = fminf(patch->valid_reference[l], patch->valid_secondary[l]);
    const int seen = least >= j->opt->min_valid && patch->texture[l] != 0;
    for (int b = 0; b < bands; b++) {
        coherent[b] = seen ? found->coherent[b][l] : 0;
        power_a[b] = seen ? found->power_a[b][l] : 0;
        power_b[b] = seen ? found->power_b[b][l] : 0;
    }
}

hmk_status hmk_coherence(const hmk_kernels *kernels, const hmk_images *images,
                         const hmk_options *options, const int32_t *row, const int32_t *col,
                         const float *guess_row, const float *guess_col, ptrdiff_t count,
                         int bands, float *coherent, float *power_a, float *power_b)
{
    job j = {.kernels = kernels, .images = images, .opt = options, .row = row, .col = col};
    const int n = options->fine, lanes = kernels->lanes;
    hmk_bands *found = NULL;
    hmk_status status =
        hmk_window_of(&j, n, options->last_beta, HMK_WEIGHT_HALF, 0, &j.last);
    if (status)
        goto done;
    j.last.steps = 3;
    j.last.gain = options->gain;
    status = bands < 0 || bands > HMK_MAX_BANDS ? HMK_BAD_OPTION
             : hmk_nodes_fit(&j, count)             ? HMK_OK
                                                : HMK_BAD_NODE;
    if (status || count <= 0)
        goto done;
    j.scratch = hmk_alloc(kernels->scratch(n) * sizeof *j.scratch);
    j.nodes = calloc((size_t)count, sizeof *j.nodes);
    found = hmk_alloc(sizeof *found);
    status = j.scratch && j.nodes && found ? HMK_OK : HMK_NO_MEMORY;
    if (status)
        goto done;
    for (ptrdiff_t i = 0; i < count; i++) {
        hmk_node_start(&j, &j.nodes[i], guess_row[i], guess_col[i]);
        if (!within_reach(&j, &j.nodes[i]))
            j.nodes[i].row = j.nodes[i].col = 0;
    }
    hmk_batch batch = {.stride = images->cols};
    for (ptrdiff_t i = 0; i < count; i += lanes) {
        const int used = count - i < lanes ? (int)(count - i) : lanes;
        for (int l = 0; l < lanes; l++)
            aim(&j, n, i + (l < used ? l : 0), &batch, l);
        kernels->bands(&j.last, &batch, j.scratch, found);
        for (int l = 0; l < used; l++)
            add_bands(&j, found, l, bands, coherent + (i + l) * bands,
                      power_a + (i + l) * bands, power_b + (i + l) * bands);
    }
done:
    hmk_free(found);
    hmk_free(j.scratch);
    free(j.nodes);
    return status;
}
