/* The prior covariance of the months, and what a change of the prior's numbers does to it.
 * Equations in docs/method.md, "Months"; the same prior within months is in month_kernel.py. */
#ifndef HMK_MONTH_PRIOR_H
#define HMK_MONTH_PRIOR_H

#include <stddef.h>

enum {
    HMK_PARTS = 8,         /* of a month, over which the season is averaged */
    HMK_YEAR = 12 * HMK_PARTS,
    HMK_SEASON_STEPS = 24, /* of the season's clock in a year */
    HMK_NUMBERS = 6,       /* season, shape, memory, event, duration, noise */
    HMK_BURST = 3          /* size, time of year, width */
};

/* Amplitudes in m/yr, times in years; names as in month_kernel.Hyperparameters. */
typedef struct {
    double level, season, shape, memory, event, duration, noise;
    double burst, burst_at, burst_width; /* burst 0: none */
    const double *season_pace; /* (HMK_SEASON_STEPS,) log pace of the clocks, ... */
    const double *event_pace;  /* (n,); NULL: it goes evenly */
} hmk_prior;

/* Where slopes are written to, all the caller's. */
typedef struct {
    double *number; /* (HMK_NUMBERS,) along the numbers' logarithms */
    double *season; /* (HMK_SEASON_STEPS,) along the clocks' log paces ... */
    double *event;  /* (n,) */
    double *burst;  /* (HMK_BURST,) along its log size, time and log width; 0 without a burst */
} hmk_slopes; /* NULL, the last three, where not wanted */

/* A prior at the months. `work` is the caller's, of hmk_month_prior_work(n) doubles. */
typedef struct {
    const hmk_prior *prior;
    int n, first; /* months; the first one's month of the year, 0 ... 11 */
    double season[12][12], by_shape[12][12]; /* (m/yr)^2; slope along log shape */
    double sine[HMK_YEAR], cosine[HMK_YEAR]; /* of pi x the season's phase, by part */
    double phase[HMK_YEAR], gain[HMK_YEAR];
    double most;                   /* largest gain */
    double pace[HMK_SEASON_STEPS]; /* of the season's clock, as a share of the year */
    double *year;        /* (HMK_YEAR, HMK_YEAR), lower half: the season, of variance 1 */
    double *kept, *aged; /* (n,) by lag: what is left of the season; along log memory */
    double *clock;       /* (n,) what the event's clock shows, years */
    double *fall;        /* (n,) by lag: exp(-x) of the event where its clock goes evenly, ... */
    double *clock_fall;  /* (n, n), lower half by columns, where not; else NULL */
} hmk_months;

ptrdiff_t hmk_month_prior_work(int n);

/* Prepare the prior at n months; `months` keeps pointers to `prior` and `work`. */
void hmk_month_prior(hmk_months *months, const hmk_prior *prior, int n, int first,
                     double *work);

/* Write the lower half of the covariance (n, n), by columns; what is above stays. */
void hmk_month_covariance(const hmk_months *months, double *covariance);

/* Slopes of a function of the covariance. `pull` (n, n), by columns, of which the lower half
 * is read: the function's slopes along the covariance's elements. All slopes but that along
 * the noise are set. */
void hmk_month_slopes(const hmk_months *months, const double *pull, const hmk_slopes *slopes);

#endif
