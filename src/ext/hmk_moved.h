/* The filter that interpolates a window to any part of a pixel, and what it does to waves. */
#ifndef HMK_MOVED_H
#define HMK_MOVED_H

enum {
    HMK_TAPS = 12,                 /* pixels that a value is made of, along either axis */
    HMK_BEFORE = HMK_TAPS / 2 - 1, /* of them, those before the pixel at or before its place */
    HMK_WAVE = 2 * (HMK_TAPS + 2), /* floats of a wave number in hmk_filter */
    HMK_MOST_WAVES = 128           /* half of the largest window */
};

/* What all windows of side n share. */
typedef struct {
    int n;
    float sine[HMK_TAPS], cosine[HMK_TAPS]; /* of pi CUT times the place of a tap */
    float centred[HMK_TAPS];                /* the taps at part 0 */
    float *waves; /* (HMK_TAPS + 2, 2, n/2): exp(i omega_k m) from one pixel before the taps on */
    float *kept;  /* (n/2): amplitude that the centred taps leave of a wave */
} hmk_filter;

/* Fill in a filter for windows of side n; `room` is n/2 * (HMK_WAVE + 1) floats that it keeps. */
void hmk_filter_of(int n, float *room, hmk_filter *filter);

/* The taps (HMK_TAPS) that interpolate at `part` of a pixel, 0 <= part < 1, beyond the pixel of tap
 * HMK_BEFORE. Their sum is 1; waves shorter than some 2.3 px are left out. */
void hmk_taps(const hmk_filter *filter, float part, float *tap);

/* What the taps, applied `whole` pixels on (-1, 0 or 1), do to the wave numbers k = 0 ... n/2 - 1: to
 * their phase, as unit phasors (n/2 real, then n/2 imaginary parts), and n/2 factors that make up for
 * what they and the centred taps take of an amplitude, 0 where they take nearly all. Two numbers lie
 * `apart` floats apart. */
void hmk_response(const hmk_filter *filter, const float *tap, int whole, int apart, float *response);

#endif
