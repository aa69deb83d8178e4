/* FFTW, single precision: where its functions come from, and its plans.
 *
 * The functions are either linked (HMK_LINK_FFTW) or handed over once, as addresses, by
 * whoever opened the library (`hmk_fft_bind`). No FFTW header is needed in either case: the
 * two prototypes in hmk_fft.c are its stable ABI.
 *
 * Thread safety: only `hmk_fft_run` may be called from several threads at once. FFTW's planner
 * is not thread-safe, so whatever plans takes one lock inside this file.
 */
#ifndef HMK_FFT_H
#define HMK_FFT_H

#include "hmk_status.h"

typedef struct {
    int n, is, os; /* length, input stride, output stride (fftwf_iodim) */
} hmk_fft_dim;

typedef struct {
    void *(*plan_guru_split)(int rank, const hmk_fft_dim *dims, int loops,
                             const hmk_fft_dim *loop_dims, float *ri, float *ii, float *ro,
                             float *io, unsigned flags);
    void (*execute_split)(const void *plan, float *ri, float *ii, float *ro, float *io);
} hmk_fft_functions;

/* 1 if FFTW was linked at build time. */
int hmk_fft_linked(void);

/* Hand over the functions. Ignored when linked. Both must be non-null. */
hmk_status hmk_fft_bind(const hmk_fft_functions *functions);

/* 1 when transforms can be planned. */
int hmk_fft_ready(void);

/* A plan for `lanes` interleaved forward 2-D transforms of n x n complex values, in place,
 * real and imaginary parts in separate arrays: element (i, j) of lane l stands at
 * i * pitch + j * lanes + l. Plans are made once per (n, lanes, pitch), kept for the life of
 * the process, owned by this file, and never destroyed while in use.
 * The inverse is the same plan with the two arrays exchanged (and no 1/n^2). */
hmk_status hmk_fft_plan(int n, int lanes, int pitch, const void **plan);

/* Run a plan on other arrays laid out in the same way, aligned to 64 bytes. Any thread. */
void hmk_fft_run(const void *plan, float *re, float *im);

#endif
