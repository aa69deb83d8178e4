#include "hmk_correlate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hmk_memory.h"
#include "hmk_nodes.h"

/* A node has this many relocations to come to rest. */
enum { MAX_RELOCATIONS = 8 };

/* Where the taper hides more of a move than this, too much is left of a long one to rest there. */
static const float PINNED_LITTLE = 0.05f;

/* A guess that the fit moves further than this, in pixels, was none. */
static const float TRUSTED_GUESS = 0.75f;

/* fmaxf of numbers, without a call. */
static inline float larger(float a, float b)
{
    return a > b ? a : b;
}

/* ---- what a pass means for its node: the next pass, perhaps the same one again ----------- */

static pass refuse(node *at, hmk_quality why)
{
    at->quality = (uint8_t)why;
    return DONE;
}

/* Move the secondary window; again = the pass that looks there. */
static pass relocate(const job *j, node *at, int row, int col, pass again)
{
    at->row += row, at->col += col;
    if (!within_reach(j, at))
        return refuse(at, HMK_NODE_OUT_OF_REACH);
    if (++at->tries > MAX_RELOCATIONS)
        return refuse(at, HMK_NODE_UNSETTLED);
    return again;
}

/* A rival of this share of the peak is looked at where it stands. The surface alone does not
 * show how good it is: the tapers overlap less there. */
static const float WORTH_A_LOOK = 0.3f;

/* The windows stand on the rival now: is it as good as the first, better, or nothing? */
static pass compare_rival(const job *j, node *at, const hmk_peak *peak, int l)
{
    const float most = j->opt->max_second;
    const int rests = abs(peak->row[l]) <= 1 && abs(peak->col[l]) <= 1;
    const float height = rests ? peak->peak[l] : 0.0f;
    if (height * most > at->first_height)
        return fine_pass(j); /* clearly better: stay */
    /* Two chance peaks are alike too: only a match that is one can be ambiguous. */
    if (height >= most * at->first_height && at->known)
        return refuse(at, HMK_NODE_AMBIGUOUS);
    at->row = at->first_row, at->col = at->first_col;
    return fine_pass(j);
}

/* Windows this near to the peak show what they would show on it: the fine one goes on. */
enum { NEAR_PEAK = 2 };

static pass after_peak(const job *j, ptrdiff_t i, const hmk_peak *peak, int l)
{
    node *at = &j->nodes[i];
    /* A coarse window reaches beyond the fine one: half the data will do to find the way. */
    if (!hmk_node_usable(j, i, j->coarse.n, 0.5f * j->opt->min_valid, &peak->patch, l)) {
        if (!at->rival)
            return DONE;
        at->quality = HMK_GOOD; /* nothing to see at the rival */
        at->row = at->first_row, at->col = at->first_col;
        return fine_pass(j);
    }
    if (at->rival)
        return compare_rival(j, at, peak, l);
    int row = peak->row[l], col = peak->col[l];
    at->known = peak->evidence[l] >= j->opt->min_evidence;
    node there = *at;
    there.row += peak->second_row[l], there.col += peak->second_col[l];
    if (abs(row) > NEAR_PEAK || abs(col) > NEAR_PEAK)
        return relocate(j, at, row, col, PEAK);
    at->row += row, at->col += col;
    if (!within_reach(j, at))
        return refuse(at, HMK_NODE_OUT_OF_REACH);
    if (peak->second[l] >= WORTH_A_LOOK * peak->peak[l] && within_reach(j, &there)) {
        at->rival = 1;
        at->first_row = at->row, at->first_col = at->col;
        at->first_height = peak->peak[l];
        at->row = there.row, at->col = there.col;
        return PEAK;
    }
    return fine_pass(j);
}

static pass search_instead(node *at)
{
    at->row = at->col = at->guessed = at->known = 0;
    at->part_row = at->part_col = 0;
    return PEAK;
}

static pass after_look(const job *j, ptrdiff_t i, const hmk_fit *fit, int l)
{
    node *at = &j->nodes[i];
    if (!hmk_node_usable(j, i, j->fine.n, j->opt->min_valid, &fit->patch, l))
        return DONE;
    int row = (int)rintf(fit->row[l]), col = (int)rintf(fit->col[l]);
    if (row || col)
        return relocate(j, at, row, col, LOOK);
    at->part_row = fit->row[l] * j->opt->unpin;
    at->part_col = fit->col[l] * j->opt->unpin;
    return FIT;
}

/* Evidence that a node needs. Unrelated images reach the higher threshold by chance only after
 * a search over thousands of places; where the place is known, chance has few tries left. Small
 * windows have few bins and cannot reach either: they are asked for most of what they can. */
static float enough(const job *j, const node *at)
{
    const int top = j->fine.n / 2 - 2;
    const float bins = 2.0f * (float)top * (float)(top + 1);
    const float most = sqrtf(2.0f * bins) / (at->holes ? j->holed : j->last).inflation;
    float asked = at->known ? j->opt->known_evidence : j->opt->min_evidence;
    return asked < 0.75f * most ? asked : 0.75f * most;
}

static pass after_fit(const job *j, ptrdiff_t i, const hmk_fit *fit, int l)
{
    node *at = &j->nodes[i];
    const hmk_options *o = j->opt;
    const hmk_result *out = &j->result;
    if (!hmk_node_usable(j, i, j->fine.n, o->min_valid, &fit->patch, l))
        return DONE;
    const float move_row = fit->row[l] - at->part_row, move_col = fit->col[l] - at->part_col;
    const float moved = larger(fabsf(move_row), fabsf(move_col));
    if (at->guessed && at->tries == 0 && o->coarse &&
        !(moved < TRUSTED_GUESS && fit->evidence[l] >= o->guess_evidence))
        return search_instead(at);
    at->part_row += move_row * o->unpin;
    at->part_col += move_col * o->unpin;
    if (!o->rewindow && moved > 0.5f) { /* the taper stays: look again a whole pixel on */
        int row = (int)rintf(fit->row[l]), col = (int)rintf(fit->col[l]);
        at->part_row = at->part_col = 0;
        return relocate(j, at, row, col, FIT);
    }
    /* Some 2 % of a move are left, where the taper pins otherwise than `unpin` has it: little
     * beside the node's own error where the move is of its order. */
    const float scale2 = o->sigma_scale * o->sigma_scale;
    const float sigmas = o->settled_sigmas * fminf(1.0f, PINNED_LITTLE / fit->pinned[l]);
    const float noise2 = sigmas * sigmas * scale2;
    const float least2 = o->settled * o->settled;
    const int rests = move_row * move_row < larger(least2, noise2 * fit->var_row[l]) &&
                      move_col * move_col < larger(least2, noise2 * fit->var_col[l]);
    if (!rests && at->tries + 1 < o->rewindow) {
        /* The taper reaches half a pixel beyond the window, no further. */
        int row = (int)rintf(at->part_row * 0.8f), col = (int)rintf(at->part_col * 0.8f);
        at->part_row -= (float)row, at->part_col -= (float)col;
        return relocate(j, at, row, col, FIT);
    }
    const float floor2 = o->sigma_floor * o->sigma_floor;
    out->sigma_row[i] = sqrtf(floor2 + scale2 * fit->var_row[l]);
    out->sigma_col[i] = sqrtf(floor2 + scale2 * fit->var_col[l]);
    out->snr[i] = fit->snr[l];
    out->coherence[i] = fit->coherence[l];
    out->evidence[i] = fit->evidence[l];
    if (moved > 0.5f || !isfinite(out->sigma_row[i]) || !isfinite(out->sigma_col[i]))
        return refuse(at, HMK_NODE_UNSETTLED); /* no summit to speak of */
    if (!(fit->evidence[l] >= enough(j, at)))
        return refuse(at, HMK_NODE_INCOHERENT);
    return DONE;
}

/* ---- queues: full batches, of nodes side by side as far as there are ----------------------- */

/* Let lane l, which is idle, do as the first one does; `response` has so many numbers of a lane. */
static void repeat_first(hmk_batch *batch, float *response, int numbers, int lanes, int l)
{
    batch->reference[l] = batch->reference[0], batch->secondary[l] = batch->secondary[0];
    batch->shift_row[l] = batch->shift_row[0], batch->shift_col[l] = batch->shift_col[0];
    for (int i = 0; response && i < numbers * lanes; i += lanes)
        response[i + l] = response[i];
}

/* Take the nodes whose turn it is through a pass, in their order, and again those that need it once
 * more: neighbours stay side by side, which the kernel reads faster. */
static void run_queue(job *j, ptrdiff_t count, pass which, int holes)
{
    const int lanes = j->kernels->lanes;
    const int moved = which == FIT && j->move.windows && !holes;
    const hmk_window *win = which == PEAK   ? &j->coarse
                            : which == LOOK ? &j->fine
                            : holes         ? &j->holed
                                            : &j->last;
    hmk_batch batch = {.stride = moved ? win->n : j->images->cols,
                       .response = moved ? j->move.response : NULL,
                       .holes = holes};
    union {
        hmk_peak peak;
        hmk_fit fit;
    } out;
    ptrdiff_t left = 0;
    for (ptrdiff_t i = 0; i < count; i++)
        if (j->nodes[i].next == which && (moved || j->nodes[i].holes == holes)) {
            j->nodes[i].tries = 0;
            j->queue[left++] = i;
        }
    while (left > 0) {
        ptrdiff_t again = 0;
        for (ptrdiff_t next = 0; next < left;) {
            ptrdiff_t held[HMK_MAX_LANES];
            int busy = 0;
            while (busy < lanes && next < left) {
                const ptrdiff_t i = j->queue[next++];
                aim(j, win->n, i, &batch, busy);
                const int seen = !moved || hmk_node_move(j, i, &batch, busy);
                if (moved)
                    j->nodes[i].holes = !seen; /* if so, its turn comes with those that have some */
                if (seen)
                    held[busy++] = i;
            }
            if (!busy)
                break;
            for (int l = busy; l < lanes; l++)
                repeat_first(&batch, moved ? j->move.response : NULL, 3 * win->n, lanes, l);
            if (which == PEAK)
                j->kernels->peak(win, &batch, j->scratch, &out.peak);
            else
                j->kernels->fit(win, &batch, which == FIT, j->scratch, &out.fit);
            for (int l = 0; l < busy; l++) {
                node *at = &j->nodes[held[l]];
                at->next = which == PEAK   ? after_peak(j, held[l], &out.peak, l)
                           : which == LOOK ? after_look(j, held[l], &out.fit, l)
                                           : after_fit(j, held[l], &out.fit, l);
                if (at->next == which)
                    j->queue[again++] = held[l]; /* behind what has been read */
            }
        }
        left = again;
    }
}

/* Nodes with holes apart from those without: one among them slows its whole batch. */
static void run_pass(job *j, ptrdiff_t count, pass which)
{
    run_queue(j, count, which, 0);
    run_queue(j, count, which, 1);
}

/* Memory for the interpolated windows of a batch, one piece that begins at `windows`. */
static hmk_status make_room(moving *move, int n, int lanes)
{
    const size_t side = (size_t)n, windows = 2 * (size_t)lanes * side * side;
    const size_t response = 3 * side * (size_t)lanes, between = (side + HMK_TAPS - 1) * side;
    const size_t filter = side / 2 * (HMK_WAVE + 1);
    move->windows = hmk_alloc((windows + response + between + filter) * sizeof(float));
    if (!move->windows)
        return HMK_NO_MEMORY;
    move->response = move->windows + windows;
    move->between = move->response + response;
    hmk_filter_of(n, move->between + between, &move->filter);
    return HMK_OK;
}

static hmk_result part_of(const hmk_result *r, ptrdiff_t first)
{
    return (hmk_result){r->drow + first,      r->dcol + first,      r->sigma_row + first,
                        r->sigma_col + first, r->snr + first,       r->coherence + first,
                        r->evidence + first,  r->quality + first};
}

hmk_status hmk_correlate(const hmk_kernels *kernels, const hmk_images *images,
                         const hmk_options *options, const int32_t *row, const int32_t *col,
                         const float *guess_row, const float *guess_col, ptrdiff_t first,
                         ptrdiff_t last, const hmk_result *result)
{
    ptrdiff_t count = last - first;
    job j = {.kernels = kernels, .images = images, .opt = options,
             .row = row, .col = col, .first = first, .result = part_of(result, first)};
    hmk_status status;
    if (options->coarse) {
        status = hmk_window_of(&j, options->coarse, options->coarse_beta, HMK_WEIGHT_HALF, 0,
                           &j.coarse);
        if (status)
            goto done;
    }
    status = hmk_window_of(&j, options->fine, options->fine_beta, options->weight, 0, &j.fine);
    if (status)
        goto done;
    status = hmk_window_of(&j, options->fine, options->last_beta, options->weight, options->robust,
                       &j.last);
    if (status)
        goto done;
    j.fine.steps = 3; /* from up to half a pixel off */
    j.last.steps = options->rewindow ? 1 : 3; /* a new window follows */
    j.last.gain = options->gain;
    j.holed = j.last;
    if (options->moved) {
        status = hmk_window_of(&j, options->fine, options->holed_beta, options->weight,
                               options->robust, &j.holed);
        if (status)
            goto done;
        j.holed.steps = j.last.steps, j.holed.gain = j.last.gain;
        j.holed.pinned = options->holed_pinned;
    }
    status = options->reach < 0 ? HMK_BAD_OPTION : hmk_nodes_fit(&j, count) ? HMK_OK : HMK_BAD_NODE;
    if (status || count <= 0)
        goto done;

    size_t floats = kernels->scratch(options->fine);
    if (options->coarse && kernels->scratch(options->coarse) > floats)
        floats = kernels->scratch(options->coarse);
    j.scratch = hmk_alloc(floats * sizeof *j.scratch);
    j.nodes = calloc((size_t)count, sizeof *j.nodes);
    j.queue = calloc((size_t)count, sizeof *j.queue);
    status = j.scratch && j.nodes && j.queue ? HMK_OK : HMK_NO_MEMORY;
    if (!status && options->moved)
        status = make_room(&j.move, options->fine, kernels->lanes);
    if (status)
        goto done;

    for (ptrdiff_t i = 0; i < count; i++) {
        j.result.sigma_row[i] = j.result.sigma_col[i] = NAN;
        j.result.snr[i] = j.result.coherence[i] = j.result.evidence[i] = NAN;
        hmk_node_start(&j, &j.nodes[i], guess_row[first + i], guess_col[first + i]);
        j.nodes[i].holes = hmk_node_sees_holes(&j, i, j.nodes[i].next == PEAK ? options->coarse
                                                                     : options->fine);
        if (j.nodes[i].holes && hmk_node_hopeless(&j, i))
            j.nodes[i].next = DONE;
    }
    run_pass(&j, count, FIT);  /* where a guess is there */
    run_pass(&j, count, PEAK); /* where none is, or it was refused */
    run_pass(&j, count, LOOK);
    run_pass(&j, count, FIT);
    for (ptrdiff_t i = 0; i < count; i++) {
        const node *at = &j.nodes[i];
        int good = at->quality == HMK_GOOD;
        j.result.drow[i] = good ? (float)at->row + at->part_row : NAN;
        j.result.dcol[i] = good ? (float)at->col + at->part_col : NAN;
        j.result.quality[i] = at->quality;
    }
done:
    hmk_free(j.move.windows);
    hmk_free(j.scratch);
    free(j.nodes);
    free(j.queue);
    return status;
}
