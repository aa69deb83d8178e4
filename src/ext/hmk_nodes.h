/* The nodes of a call on their way, for hmk_correlate.c and hmk_coherence.c. */
#ifndef HMK_NODES_H
#define HMK_NODES_H

#include <stdlib.h>

#include "hmk_correlate.h"
#include "hmk_moved.h"

/* What a node needs next. */
typedef enum { PEAK, LOOK, FIT, DONE } pass;

/* A node on its way: the offset of its secondary window, and what is left of a pixel. */
typedef struct {
    int row, col;            /* whole-pixel offset */
    float part_row, part_col; /* sub-pixel estimate on top of it */
    int first_row, first_col; /* while a rival is tried: where the first peak came to rest */
    float first_height;
    int tries;
    int rival;   /* a rival is being tried */
    int guessed; /* the offset is a guess that the look may refuse */
    int known;   /* neighbours or the coarse window vouch for the offset */
    int holes;   /* some of its pixels are seen to be invalid: masks cost time */
    pass next;
    uint8_t quality;
} node;

/* Where interpolated windows of a batch go; no windows: none are made. */
typedef struct {
    hmk_filter filter;
    float *windows;  /* (lanes, 2, n, n): reference and secondary */
    float *between;  /* scratch of hmk_kernels.move */
    float *response; /* of hmk_batch */
} moving;

typedef struct {
    const hmk_kernels *kernels;
    const hmk_images *images;
    const hmk_options *opt;
    const int32_t *row, *col;
    ptrdiff_t first;
    hmk_window coarse, fine, last;
    hmk_window holed; /* the last passes of nodes with holes */
    moving move;
    float *scratch;
    node *nodes;
    ptrdiff_t *queue; /* of as many */
    hmk_result result; /* of node `first` onwards */
} job;

/* Point lane l at the two windows of node i. */
static inline void aim(const job *j, int n, ptrdiff_t i, hmk_batch *batch, int l)
{
    const node *at = &j->nodes[i];
    ptrdiff_t r = j->row[j->first + i] - n / 2, c = j->col[j->first + i] - n / 2;
    ptrdiff_t cols = j->images->cols;
    batch->reference[l] = j->images->reference + r * cols + c;
    batch->secondary[l] = j->images->secondary + (r + at->row) * cols + c + at->col;
    batch->shift_row[l] = at->part_row;
    batch->shift_col[l] = at->part_col;
}

/* Let lane l, which is aimed at node i, look at the secondary interpolated to where the node stands, and
 * at the reference through the same filter. Returns 0 where a pixel misses or all are alike. */
int hmk_node_move(const job *j, ptrdiff_t i, hmk_batch *batch, int l);

static inline int within_reach(const job *j, const node *at)
{
    return abs(at->row) <= j->opt->reach && abs(at->col) <= j->opt->reach;
}

/* Where the place is known to a pixel or so: the first look, unless there is one pass only. */
static inline pass fine_pass(const job *j)
{
    return j->opt->rewindow ? LOOK : FIT;
}

/* What the nodes of a call share about windows of side n; a plan where the kernels have no
 * transform of that size. */
hmk_status hmk_window_of(const job *j, int n, float beta, int weight, int robust,
                         hmk_window *win);

/* Does every window of nodes `first` ... `first + count - 1` lie in the images, wherever the
 * search may go? */
int hmk_nodes_fit(const job *j, ptrdiff_t count);

/* Put a node where its match is expected, NaN = nowhere, and say what it needs next. */
void hmk_node_start(const job *j, node *at, float guess_row, float guess_col);

/* Does one of a few pixels of node i's windows of side n miss? Small holes are overlooked. */
int hmk_node_sees_holes(const job *j, ptrdiff_t i, int n);

/* Too little of node i's own fine window of the reference is there? It stays where it is,
 * wherever a search would go: no need to search. Sets the quality. */
int hmk_node_hopeless(const job *j, ptrdiff_t i);

/* Data and texture enough in lane l? Sets the quality if not. Saturated pixels are +inf. */
int hmk_node_usable(const job *j, ptrdiff_t i, int n, float min_valid, const hmk_patch *patch,
                    int l);

#endif
