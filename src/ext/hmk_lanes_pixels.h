/* Pixels of every type as windows are cut from them: standardised, in single precision.
 *
 * Plain loops without branches, of which the compiler makes vectors of the instruction set at
 * hand. No product is added to anything, so all instruction sets give the same bits. */
#ifndef HMK_LANES_PIXELS_H
#define HMK_LANES_PIXELS_H

#include <math.h>
#include <stdint.h>

#include "hmk_lanes.h"

/* `real`: single precision holds what has 16 bits; of other integers and of doubles the mean is
 * taken away in double precision. */
#define STANDARDISE(type, real)                                                                  \
    static int standardise_##type(const void *pixels, const uint8_t *valid, ptrdiff_t count,     \
                                  double mean, float scale, double saturated, float *to)         \
    {                                                                                            \
        const type *from = pixels;                                                               \
        const real middle = (real)mean, full = (real)saturated;                                  \
        int unusable = 0;                                                                        \
        for (ptrdiff_t i = 0; i < count; i++) {                                                  \
            const real pixel = (real)from[i];                                                    \
            const float value = (float)(pixel - middle) * scale;                                 \
            to[i] = pixel == full ? INFINITY : value + (value - value);                          \
            unusable |= to[i] - to[i] != 0;                                                      \
        }                                                                                        \
        if (valid)                                                                               \
            for (ptrdiff_t i = 0; i < count; i++) {                                              \
                to[i] = valid[i] ? to[i] : NAN;                                                  \
                unusable |= !valid[i];                                                           \
            }                                                                                    \
        return unusable;                                                                         \
    }

STANDARDISE(uint8_t, float)
STANDARDISE(int8_t, float)
STANDARDISE(uint16_t, float)
STANDARDISE(int16_t, float)
STANDARDISE(uint32_t, double)
STANDARDISE(int32_t, double)
STANDARDISE(float, float)
STANDARDISE(double, double)
#undef STANDARDISE

#define STANDARDISE_ALL                                                                          \
    {                                                                                            \
        [HMK_UINT8] = standardise_uint8_t, [HMK_INT8] = standardise_int8_t,                      \
        [HMK_UINT16] = standardise_uint16_t, [HMK_INT16] = standardise_int16_t,                  \
        [HMK_UINT32] = standardise_uint32_t, [HMK_INT32] = standardise_int32_t,                  \
        [HMK_FLOAT] = standardise_float, [HMK_DOUBLE] = standardise_double,                      \
    }

#endif
