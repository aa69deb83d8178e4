#include "hmk_moved.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

/* A sinc of this share of Nyquist's frequency in Kaiser's window. Near Nyquist no short filter
 * interpolates, and a taper mixes what lies there into the bins below; both windows leave it out, so
 * that it does not matter. Of 12 taps these do best on white noise of 1 % (docs/method.md). */
#define CUT 0.85f
#define BETA 4.5f

/* Bins of which the filters leave less are left out: they hold mostly what the taper mixes in. The
 * bins of windows of 48 px and less all have more. */
#define LEAST_KEPT 0.15f

/* I0(2 sqrt(t)) = sum of t^m / (m!)^2, for t up to BETA^2 / 4. */
static inline float bessel(float t)
{
    float sum = 1;
    for (int m = 12; m > 0; m--)
        sum = 1 + sum * t * (1.0f / (float)(m * m));
    return sum;
}

void hmk_taps(const hmk_filter *filter, float part, float *tap)
{
    const float turn = (float)PI * CUT * part, s = sinf(turn), c = cosf(turn);
    float sum = 0;
    for (int t = 0; t < HMK_TAPS; t++) {
        const float x = part - (float)(t - HMK_BEFORE), u = x * (2.0f / HMK_TAPS);
        const float wave = s * filter->cosine[t] - c * filter->sine[t];
        const float sinc = fabsf(x) < 1e-4f ? 1.0f : wave / ((float)PI * CUT * x);
        const float inside = 1 - u * u;
        tap[t] = inside > 0 ? sinc * bessel(0.25f * BETA * BETA * inside) : 0;
        sum += tap[t];
    }
    for (int t = 0; t < HMK_TAPS; t++)
        tap[t] /= sum;
}

/* Wave numbers k = 0 ... n/2 - 1 after the taps, which stand `on` pixels from the first of the table. */
static void after_taps(const hmk_filter *filter, const float *tap, int on, float *restrict re,
                       float *restrict im)
{
    const int half = filter->n / 2;
    for (int k = 0; k < half; k++)
        re[k] = im[k] = 0;
    for (int t = 0; t < HMK_TAPS; t++) {
        const float *x = filter->waves + 2 * half * (t + on), *y = x + half;
        for (int k = 0; k < half; k++)
            re[k] += tap[t] * x[k], im[k] += tap[t] * y[k];
    }
}

void hmk_filter_of(int n, float *room, hmk_filter *filter)
{
    const int half = n / 2;
    filter->n = n, filter->waves = room, filter->kept = room + half * HMK_WAVE;
    for (int t = 0; t < HMK_TAPS; t++) {
        const double turn = PI * CUT * (t - HMK_BEFORE);
        filter->sine[t] = (float)sin(turn), filter->cosine[t] = (float)cos(turn);
    }
    hmk_taps(filter, 0, filter->centred);
    for (int t = 0; t < HMK_TAPS + 2; t++, room += 2 * half)
        for (int k = 0; k < half; k++) {
            const double turn = 2 * PI * k / n * (t - HMK_BEFORE - 1);
            room[k] = (float)cos(turn), room[half + k] = (float)sin(turn);
        }
    float re[HMK_MOST_WAVES], im[HMK_MOST_WAVES];
    after_taps(filter, filter->centred, 1, re, im);
    for (int k = 0; k < half; k++)
        filter->kept[k] = sqrtf(re[k] * re[k] + im[k] * im[k]);
}

void hmk_response(const hmk_filter *filter, const float *tap, int whole, int apart, float *response)
{
    const int half = filter->n / 2, part = half * apart;
    float re[HMK_MOST_WAVES], im[HMK_MOST_WAVES], inverse[HMK_MOST_WAVES];
    after_taps(filter, tap, 1 + whole, re, im);
    for (int k = 0; k < half; k++)
        inverse[k] = 1 / sqrtf(re[k] * re[k] + im[k] * im[k] + 1e-30f);
    for (int k = 0; k < half; k++, response += apart) {
        response[0] = re[k] * inverse[k], response[part] = im[k] * inverse[k];
        const float kept = filter->kept[k] / inverse[k];
        response[2 * part] = kept < LEAST_KEPT ? 0 : 1 / kept;
    }
}
