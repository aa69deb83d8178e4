/* A vector of HMK_LANES floats in the compiler's own vector extension (GCC, Clang), so that
 * one source serves every instruction set; no intrinsics. Results of one instruction set do
 * not depend on the maker of the processor: roots start from the bits of the number, not from
 * the processor's approximation. */
#ifndef HMK_VEC_H
#define HMK_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef M_PI
#define M_PI 3.14159265358979323846
#endif

typedef float vec __attribute__((vector_size(4 * HMK_LANES)));
typedef int32_t mask __attribute__((vector_size(4 * HMK_LANES))); /* 0 or -1, or integers */

static inline vec load(const float *p)
{
    vec v;
    memcpy(&v, __builtin_assume_aligned(p, 4 * HMK_LANES), sizeof v);
    return v;
}

static inline void store(float *p, vec v)
{
    memcpy(__builtin_assume_aligned(p, 4 * HMK_LANES), &v, sizeof v);
}

static inline vec load_anywhere(const float *p) /* of any alignment */
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store_anywhere(float *p, vec v)
{
    memcpy(p, &v, sizeof v);
}

static inline vec splat(float x)
{
    return x - (vec){0};
}

static inline vec only(mask m, vec a) /* a where m, else 0 */
{
    return (vec)((mask)a & m);
}

static inline vec either(mask m, vec a, vec b)
{
    return (vec)(((mask)a & m) | ((mask)b & ~m));
}

static inline vec vabs(vec a)
{
    return (vec)((mask)a & 0x7fffffff);
}

static inline int none(mask m) /* true in no lane */
{
    int any = 0;
    for (int l = 0; l < HMK_LANES; l++)
        any |= m[l];
    return !any;
}

static inline vec vsign(vec size, vec sign) /* size with the sign of `sign` */
{
    return (vec)(((mask)size & 0x7fffffff) | ((mask)sign & (int32_t)0x80000000));
}

static inline vec vmax(vec a, vec b)
{
    return either(a > b, a, b);
}

static inline vec vmin(vec a, vec b)
{
    return either(a < b, a, b);
}

static inline mask vfinite(vec a)
{
    return a - a == 0;
}

/* x^-1/4, x > 0, to 1e-7: a first guess from the exponent, then a step of Newton's whose numbers
 * are fitted to that guess, and one of third order. */
static inline vec inv_fourth_root(vec x)
{
    vec y = (vec)(0x4f53957a - ((mask)x >> 2));
    vec square = y * y;
    y = y * (1.280908f - (0.28123422f * x) * square * square);
    square = y * y;
    vec left = 1.0f - x * square * square;
    return y + y * (left * (0.25f + left * 0.15625f));
}

static inline vec vrsqrt(vec x)
{
    vec y = inv_fourth_root(x);
    return y * y;
}

static inline vec vroot(vec x) /* square root, x >= 0 */
{
    return x * vrsqrt(vmax(x, splat(1e-30f)));
}

/* cos(pi u), sin(pi u) for |u| <= 1/2; errors below 3e-7. */
static inline vec cos_pi(vec u)
{
    const float p2 = (float)(M_PI * M_PI);
    vec t = u * u * p2;
    return 1.0f + t * (-1.0f / 2 +
                       t * (1.0f / 24 +
                            t * (-1.0f / 720 + t * (1.0f / 40320 - t * (1.0f / 3628800)))));
}

static inline vec sin_pi(vec u)
{
    const float p = (float)M_PI, p2 = (float)(M_PI * M_PI);
    vec t = u * u * p2;
    return u * p *
           (1.0f + t * (-1.0f / 6 +
                        t * (1.0f / 120 +
                             t * (-1.0f / 5040 + t * (1.0f / 362880 - t * (1.0f / 39916800))))));
}

/* Transpose HMK_LANES x HMK_LANES numbers: lane l of v[j] becomes from[l][at + j].
 * Reading half a vec from either of two rows spares the exchange of the largest blocks; each
 * stage then exchanges the off-diagonal blocks of one size. */
#if HMK_LANES == 4
#define BOTH 0, 1, 2, 3
#define LOW_1 0, 4, 2, 6
#define HIGH_1 1, 5, 3, 7
#elif HMK_LANES == 8
#define BOTH 0, 1, 2, 3, 4, 5, 6, 7
#define LOW_1 0, 8, 2, 10, 4, 12, 6, 14
#define HIGH_1 1, 9, 3, 11, 5, 13, 7, 15
#define LOW_2 0, 1, 8, 9, 4, 5, 12, 13
#define HIGH_2 2, 3, 10, 11, 6, 7, 14, 15
#elif HMK_LANES == 16
#define BOTH 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#define LOW_1 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define HIGH_1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
#define LOW_2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGH_2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LOW_4 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define HIGH_4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#endif

#define EXCHANGE(size)                                                             \
    for (int i = 0; i < HMK_LANES; i++)                                            \
        if (!(i & size)) {                                                         \
            vec a = v[i], b = v[i + size];                                         \
            v[i] = __builtin_shufflevector(a, b, LOW_##size);                      \
            v[i + size] = __builtin_shufflevector(a, b, HIGH_##size);              \
        }

typedef float half_vec __attribute__((vector_size(2 * HMK_LANES)));

static inline vec load_halves(const float *low, const float *high)
{
    half_vec a, b;
    memcpy(&a, low, sizeof a);
    memcpy(&b, high, sizeof b);
    return __builtin_shufflevector(a, b, BOTH);
}

/* All stages but the first, which reading does. */
#define EXCHANGE_ALL EXCHANGE(1) EXCHANGE_2 EXCHANGE_4
#if HMK_LANES >= 8
#define EXCHANGE_2 EXCHANGE(2)
#else
#define EXCHANGE_2
#endif
#if HMK_LANES >= 16
#define EXCHANGE_4 EXCHANGE(4)
#else
#define EXCHANGE_4
#endif

static inline __attribute__((always_inline)) void transposed(const float *const *from,
                                                             ptrdiff_t at, vec *v)
{
    enum { HALF = HMK_LANES / 2 };
    for (int l = 0; l < HALF; l++) {
        v[l] = load_halves(from[l] + at, from[l + HALF] + at);
        v[l + HALF] = load_halves(from[l] + at + HALF, from[l + HALF] + at + HALF);
    }
    EXCHANGE_ALL
}

/* The same of places `step` apart: lane l of v[j] becomes from[l * step + j]. */
static inline __attribute__((always_inline)) void transposed_steps(const float *from,
                                                                   ptrdiff_t step, vec *v)
{
    enum { HALF = HMK_LANES / 2 };
#pragma GCC unroll 16
    for (int l = 0; l < HALF; l++) {
        v[l] = load_halves(from + l * step, from + (l + HALF) * step);
        v[l + HALF] = load_halves(from + l * step + HALF, from + (l + HALF) * step + HALF);
    }
    EXCHANGE_ALL
}

typedef float quad __attribute__((vector_size(16)));

/* Transpose 4 x 4 numbers in place. */
static inline __attribute__((always_inline)) void transpose_quads(quad *v)
{
    const quad a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5);
    const quad b = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
    const quad c = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
    const quad d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
    v[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    v[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    v[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    v[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

static inline void transpose_in(const float *const *from, ptrdiff_t at, float *to)
{
    vec v[HMK_LANES];
    transposed(from, at, v);
    for (int j = 0; j < HMK_LANES; j++)
        store(to + j * HMK_LANES, v[j]);
}

#endif
