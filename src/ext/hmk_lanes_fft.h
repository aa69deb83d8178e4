/* Fourier transforms of 16, 32 and 64 points, one per lane, for hmk_lanes.c.
 *
 * A line of N = A x B points is done in two rounds (Cooley-Tukey, decimation in time): A-point
 * transforms over the points B apart, twiddle factors, B-point transforms. Everything between
 * load and store of a round stays in registers.
 */
#ifndef HMK_LANES_FFT_H
#define HMK_LANES_FFT_H

#include "hmk_vec.h"

/* cos(2 pi m / 64); sin(2 pi m / 64) = cos(2 pi (m + 48) / 64). */
static const float cosine_64[64] = {
    1.0f, 0.995184727f, 0.98078528f, 0.956940336f, 0.923879533f, 0.881921264f,
    0.831469612f, 0.773010453f, 0.707106781f, 0.634393284f, 0.555570233f, 0.471396737f,
    0.382683432f, 0.290284677f, 0.195090322f, 0.09801714f, 0.0f, -0.09801714f,
    -0.195090322f, -0.290284677f, -0.382683432f, -0.471396737f, -0.555570233f, -0.634393284f,
    -0.707106781f, -0.773010453f, -0.831469612f, -0.881921264f, -0.923879533f, -0.956940336f,
    -0.98078528f, -0.995184727f, -1.0f, -0.995184727f, -0.98078528f, -0.956940336f,
    -0.923879533f, -0.881921264f, -0.831469612f, -0.773010453f, -0.707106781f, -0.634393284f,
    -0.555570233f, -0.471396737f, -0.382683432f, -0.290284677f, -0.195090322f, -0.09801714f,
    -0.0f, 0.09801714f, 0.195090322f, 0.290284677f, 0.382683432f, 0.471396737f,
    0.555570233f, 0.634393284f, 0.707106781f, 0.773010453f, 0.831469612f, 0.881921264f,
    0.923879533f, 0.956940336f, 0.98078528f, 0.995184727f,
};

#define INLINE static inline __attribute__((always_inline))

/* In-place transforms of vec registers, outputs in natural order. */
INLINE void dft2(vec *re, vec *im)
{
    vec a = re[0], b = im[0];
    re[0] = a + re[1], im[0] = b + im[1];
    re[1] = a - re[1], im[1] = b - im[1];
}

INLINE void dft4(vec *re, vec *im)
{
    vec ar = re[0] + re[2], ai = im[0] + im[2], br = re[0] - re[2], bi = im[0] - im[2];
    vec cr = re[1] + re[3], ci = im[1] + im[3], dr = re[1] - re[3], di = im[1] - im[3];
    re[0] = ar + cr, im[0] = ai + ci, re[2] = ar - cr, im[2] = ai - ci;
    re[1] = br + di, im[1] = bi - dr, re[3] = br - di, im[3] = bi + dr; /* -i (d) */
}

INLINE void dft8(vec *re, vec *im)
{
    const float h = 0.707106781f;
    vec er[4] = {re[0], re[2], re[4], re[6]}, ei[4] = {im[0], im[2], im[4], im[6]};
    vec or[4] = {re[1], re[3], re[5], re[7]}, oi[4] = {im[1], im[3], im[5], im[7]};
    dft4(er, ei);
    dft4(or, oi);
    vec t1r = h * (or[1] + oi[1]), t1i = h * (oi[1] - or[1]); /* (1 - i)/sqrt 2 */
    vec t2r = oi[2], t2i = -or[2];                            /* -i */
    vec t3r = h * (oi[3] - or[3]), t3i = -h * (oi[3] + or[3]);
    re[0] = er[0] + or[0], im[0] = ei[0] + oi[0], re[4] = er[0] - or[0], im[4] = ei[0] - oi[0];
    re[1] = er[1] + t1r, im[1] = ei[1] + t1i, re[5] = er[1] - t1r, im[5] = ei[1] - t1i;
    re[2] = er[2] + t2r, im[2] = ei[2] + t2i, re[6] = er[2] - t2r, im[6] = ei[2] - t2i;
    re[3] = er[3] + t3r, im[3] = ei[3] + t3i, re[7] = er[3] - t3r, im[7] = ei[3] - t3i;
}

INLINE void dft(int n, vec *re, vec *im)
{
    if (n == 8)
        dft8(re, im);
    else if (n == 4)
        dft4(re, im);
    else
        dft2(re, im);
}

/* Gives point `at` of a line. */
typedef void (*fetch_function)(void *from, int at, vec *re, vec *im);

/* One line of A x B points, fetched one by one, to another, `out` floats apart; all are fetched
 * before the first is written. Rolled out, the twiddle factors are constants. */
INLINE void line(int a, int b, fetch_function fetch, void *from, float *to_re,
                 float *to_im, size_t out)
{
    const int n = a * b, turn = 64 / n;
    float half_re[64 * HMK_LANES] __attribute__((aligned(64)));
    float half_im[64 * HMK_LANES] __attribute__((aligned(64)));
#pragma GCC unroll 8
    for (int j = 0; j < b; j++) {
        vec x[8], y[8];
#pragma GCC unroll 8
        for (int i = 0; i < a; i++)
            fetch(from, i * b + j, &x[i], &y[i]);
        dft(a, x, y);
#pragma GCC unroll 8
        for (int i = 0; i < a; i++) {
            float c = cosine_64[i * j * turn], s = cosine_64[(i * j * turn + 48) % 64];
            vec u = x[i] * c + y[i] * s, v = y[i] * c - x[i] * s;
            store(half_re + (i * b + j) * HMK_LANES, i && j ? u : x[i]);
            store(half_im + (i * b + j) * HMK_LANES, i && j ? v : y[i]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < a; i++) {
        vec x[8], y[8];
        for (int j = 0; j < b; j++) {
            x[j] = load(half_re + (i * b + j) * HMK_LANES);
            y[j] = load(half_im + (i * b + j) * HMK_LANES);
        }
        dft(b, x, y);
        for (int j = 0; j < b; j++) {
            store(to_re + (size_t)(i + a * j) * out, x[j]);
            store(to_im + (size_t)(i + a * j) * out, y[j]);
        }
    }
}

INLINE void line_of(int n, fetch_function fetch, void *from, float *to_re, float *to_im,
                    size_t out)
{
    if (n == 16)
        line(4, 4, fetch, from, to_re, to_im, out);
    else if (n == 32)
        line(4, 8, fetch, from, to_re, to_im, out);
    else
        line(8, 8, fetch, from, to_re, to_im, out);
}

/* A line in memory, its points `stride` floats apart. */
typedef struct {
    const float *re, *im;
    size_t stride;
} points;

INLINE void fetch_point(void *from, int at, vec *re, vec *im)
{
    const points *p = from;
    *re = load(p->re + (size_t)at * p->stride);
    *im = load(p->im + (size_t)at * p->stride);
}

static void line_16(const float *re, const float *im, size_t stride, float *to_re, float *to_im,
                    size_t out)
{
    line(4, 4, fetch_point, &(points){re, im, stride}, to_re, to_im, out);
}

static void line_32(const float *re, const float *im, size_t stride, float *to_re, float *to_im,
                    size_t out)
{
    line(4, 8, fetch_point, &(points){re, im, stride}, to_re, to_im, out);
}

static void line_64(const float *re, const float *im, size_t stride, float *to_re, float *to_im,
                    size_t out)
{
    line(8, 8, fetch_point, &(points){re, im, stride}, to_re, to_im, out);
}

typedef void (*line_function)(const float *, const float *, size_t, float *, float *, size_t);

static inline line_function stored_line(int n)
{
    return n == 16 ? line_16 : n == 32 ? line_32 : line_64;
}

static inline int has_line(int n)
{
    return n == 16 || n == 32 || n == 64;
}

#endif
