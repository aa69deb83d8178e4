#include "hmk_month_prior.h"

#include <math.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

ptrdiff_t hmk_month_prior_work(int n)
{
    return HMK_YEAR * HMK_YEAR + 4 * (ptrdiff_t)n + (ptrdiff_t)n * n;
}

/* Read the season's clock, as a share of the year, at the centres of the year's parts. */
static void read_phase(hmk_months *m)
{
    enum { REPEAT = HMK_YEAR / HMK_SEASON_STEPS };
    double whole = 0, passed = 0;
    for (int s = 0; s < HMK_SEASON_STEPS; s++) {
        m->pace[s] = m->prior->season_pace ? exp(m->prior->season_pace[s]) : 1.0;
        whole += REPEAT * m->pace[s];
    }
    for (int i = 0; i < HMK_YEAR; i++) {
        const double pace = m->pace[i / REPEAT];
        m->phase[i] = (passed + pace / 2) / whole;
        passed += pace;
    }
    for (int s = 0; s < HMK_SEASON_STEPS; s++)
        m->pace[s] /= whole;
    for (int i = 0; i < HMK_YEAR; i++)
        m->sine[i] = sin(PI * m->phase[i]), m->cosine[i] = cos(PI * m->phase[i]);
}

/* The burst at part i of the year: its size, and slopes of log gain. */
static double burst(const hmk_prior *h, int i, double slope[HMK_BURST])
{
    const double turn = 2 * PI * ((i + 0.5) / HMK_YEAR - h->burst_at);
    const double width = 2 * PI * h->burst_width, apart = (1 - cos(turn)) / (width * width);
    const double bump = h->burst * exp(-apart), share = bump / (1 + bump);
    slope[0] = share;
    slope[1] = share * 2 * PI * sin(turn) / (width * width);
    slope[2] = share * 2 * apart;
    return bump;
}

static void read_gain(hmk_months *m)
{
    double unused[HMK_BURST];
    m->most = 1;
    for (int i = 0; i < HMK_YEAR; i++) {
        m->gain[i] = m->prior->burst ? 1 + burst(m->prior, i, unused) : 1;
        m->most = fmax(m->most, m->gain[i]);
    }
}

/* The season between part i of the year and those up to it, and 2 sin^2(pi D) / shape^2. A
 * clock that goes evenly knows lags alone: `by_lag` has them, and NULL stands for any other. */
static void season_row(const hmk_months *m, int i, const double *by_lag, double *year,
                       double *apart)
{
    const double scale = 2 / (m->prior->shape * m->prior->shape);
    for (int j = 0; j <= i; j++) {
        const double s = m->sine[i] * m->cosine[j] - m->cosine[i] * m->sine[j];
        apart[j] = scale * s * s;
    }
    for (int j = 0; j <= i; j++)
        year[j] = by_lag ? by_lag[i - j] : exp(-apart[j]);
    for (int j = 0; j <= i; j++)
        year[j] *= m->gain[i] * m->gain[j];
}

/* Average the season over the parts of each two months. Sums run along the rows of a month
 * first: side by side they do not wait for each other. */
static void season_means(hmk_months *m)
{
    const double share = m->prior->season * m->prior->season / (HMK_PARTS * HMK_PARTS);
    double by_lag[HMK_YEAR], apart[HMK_YEAR];
    const int even = !m->prior->season_pace;
    for (int i = 0; even && i < HMK_YEAR; i++) {
        const double s = sin(PI * i / HMK_YEAR) / m->prior->shape;
        by_lag[i] = exp(-2 * s * s);
    }
    for (int a = 0; a < 12; a++) {
        double sum[HMK_YEAR] = {0}, bent[HMK_YEAR] = {0};
        for (int i = a * HMK_PARTS; i < (a + 1) * HMK_PARTS; i++) {
            double *year = m->year + i * HMK_YEAR;
            season_row(m, i, even ? by_lag : NULL, year, apart);
            for (int j = 0; j < i; j++)
                sum[j] += year[j], bent[j] += apart[j] * year[j];
            sum[i] += year[i] / 2; /* of the month itself half of the square is summed */
        }
        for (int b = 0; b <= a; b++) {
            double season = 0, by_shape = 0;
            for (int j = b * HMK_PARTS; j < (b + 1) * HMK_PARTS; j++)
                season += sum[j], by_shape += bent[j];
            const double times = b == a ? 2 * share : share;
            m->season[a][b] = m->season[b][a] = times * season;
            m->by_shape[a][b] = m->by_shape[b][a] = times * 2 * by_shape;
        }
    }
}

void hmk_month_prior(hmk_months *m, const hmk_prior *prior, int n, int first, double *work)
{
    m->prior = prior, m->n = n, m->first = first;
    m->year = work, work += HMK_YEAR * HMK_YEAR;
    m->kept = work, work += n;
    m->aged = work, work += n;
    m->fall = work, work += n;
    m->clock = work, work += n;
    m->clock_fall = prior->event_pace ? work : NULL;
    read_phase(m);
    read_gain(m);
    season_means(m);
    const double per_memory = sqrt(3) / prior->memory, rate = sqrt(3) / prior->duration;
    double passed = 0;
    for (int i = 0; i < n; i++) {
        const double x = per_memory * i / 12, fall = exp(-x);
        const double pace = (prior->event_pace ? exp(prior->event_pace[i]) : 1) / 12;
        m->kept[i] = (1 + x) * fall, m->aged[i] = x * x * fall;
        m->fall[i] = exp(-rate * i / 12);
        m->clock[i] = passed + pace / 2;
        passed += pace;
    }
    if (m->clock_fall)
        for (int j = 0; j < n; j++)
            for (int i = j; i < n; i++)
                m->clock_fall[(ptrdiff_t)j * n + i] = exp(-rate * (m->clock[i] - m->clock[j]));
}

/* exp(-x) of the event between month j and those from it on. */
static inline const double *falls(const hmk_months *m, int j)
{
    return m->clock_fall ? m->clock_fall + (ptrdiff_t)j * (m->n + 1) : m->fall;
}

void hmk_month_covariance(const hmk_months *m, double *covariance)
{
    const hmk_prior *h = m->prior;
    const double event = h->event * h->event, level = h->level * h->level;
    const double rate = sqrt(3) / h->duration;
    /* The second keeps the factorisation going where level and season are far apart. */
    const double nugget = 1e-6 * (m->most * m->most * h->season * h->season + event);
    for (int j = 0; j < m->n; j++) {
        double *column = covariance + (ptrdiff_t)j * (m->n + 1);
        const double *fall = falls(m, j), *season = m->season[(m->first + j) % 12];
        for (int i = 0, calendar = (m->first + j) % 12; i < m->n - j; i++) {
            const double x = rate * (m->clock[j + i] - m->clock[j]);
            column[i] = season[calendar] * m->kept[i] + event * (1 + x) * fall[i] + level;
            calendar = calendar == 11 ? 0 : calendar + 1;
        }
        column[0] += nugget + 1e-12 * level;
    }
}

/* Slopes along the season's clock and the burst, from those along the season between months. */
static void season_slopes(const hmk_months *m, double by_month[12][12],
                          const hmk_slopes *slopes)
{
    const hmk_prior *h = m->prior;
    double by_phase[HMK_YEAR] = {0}, by_gain[HMK_YEAR] = {0};
    for (int i = 0; i < HMK_YEAR; i++) {
        const double *year = m->year + i * HMK_YEAR;
        by_gain[i] += by_month[i / HMK_PARTS][i / HMK_PARTS] * year[i];
        for (int j = 0; j < i; j++) {
            const double pull = by_month[i / HMK_PARTS][j / HMK_PARTS] * year[j];
            const double s = m->sine[i] * m->cosine[j] - m->cosine[i] * m->sine[j];
            const double c = m->cosine[i] * m->cosine[j] + m->sine[i] * m->sine[j];
            by_phase[i] += pull * 2 * s * c, by_phase[j] -= pull * 2 * s * c;
            by_gain[i] += pull, by_gain[j] += pull;
        }
    }
    const double share = h->season * h->season / (HMK_PARTS * HMK_PARTS);
    const double turn = -4 * PI / (h->shape * h->shape) * share;
    enum { REPEAT = HMK_YEAR / HMK_SEASON_STEPS };
    double shown = 0, later = 0;
    for (int i = 0; i < HMK_YEAR; i++)
        shown += REPEAT * m->phase[i] * by_phase[i];
    for (int s = HMK_SEASON_STEPS - 1; s >= 0; s--) {
        double passed = 0;
        for (int i = (s + 1) * REPEAT - 1; i >= s * REPEAT; i--) {
            passed += later + by_phase[i] / 2;
            later += by_phase[i];
        }
        slopes->season[s] = turn * m->pace[s] * (passed - shown);
    }
    memset(slopes->burst, 0, HMK_BURST * sizeof *slopes->burst);
    for (int i = 0; h->burst && i < HMK_YEAR; i++) {
        double slope[HMK_BURST];
        burst(h, i, slope);
        for (int k = 0; k < HMK_BURST; k++)
            slopes->burst[k] += 2 * share * by_gain[i] * slope[k];
    }
}

/* Slopes along the event's clock: a month's pace moves its own centre by half, all later ones
 * by the whole. */
static void clock_slopes(const hmk_months *m, const double *pull, double *slopes)
{
    const double per_year = m->prior->event / m->prior->duration;
    memset(slopes, 0, (size_t)m->n * sizeof *slopes);
    for (int j = 0; j < m->n; j++) {
        const double *column = pull + (ptrdiff_t)j * (m->n + 1), *fall = falls(m, j);
        for (int i = 1; i < m->n - j; i++) {
            const double turn = column[i] * fall[i] * (m->clock[j + i] - m->clock[j]);
            slopes[j + i] += turn, slopes[j] -= turn;
        }
    }
    double later = 0;
    for (int i = m->n - 1; i >= 0; i--) {
        const double own = -6 * per_year * per_year * slopes[i];
        const double pace = (m->prior->event_pace ? exp(m->prior->event_pace[i]) : 1) / 12;
        slopes[i] = (later + own / 2) * pace;
        later += own;
    }
}

void hmk_month_slopes(const hmk_months *m, const double *pull, const hmk_slopes *slopes)
{
    const hmk_prior *h = m->prior;
    const double rate = sqrt(3) / h->duration, event = h->event * h->event;
    double by_month[12][12] = {{0}}, by_age[12][12] = {{0}}, by_event = 0, by_duration = 0;
    for (int j = 0; j < m->n; j++) {
        const int month = (m->first + j) % 12;
        const double *column = pull + (ptrdiff_t)j * (m->n + 1), *fall = falls(m, j);
        for (int i = 0, calendar = month; i < m->n - j; i++) {
            const double x = rate * (m->clock[j + i] - m->clock[j]);
            const double both = i ? 2 * column[i] : column[i]; /* above the diagonal, too */
            by_month[month][calendar] += both * m->kept[i];
            by_age[month][calendar] += both * m->aged[i];
            by_event += both * (1 + x) * fall[i];
            by_duration += both * x * x * fall[i];
            calendar = calendar == 11 ? 0 : calendar + 1;
        }
    }
    double *number = slopes->number;
    memset(number, 0, (HMK_NUMBERS - 1) * sizeof *number);
    for (int a = 0; a < 12; a++)
        for (int b = 0; b < 12; b++) {
            number[0] += 2 * by_month[a][b] * m->season[a][b];
            number[1] += by_month[a][b] * m->by_shape[a][b];
            number[2] += by_age[a][b] * m->season[a][b];
        }
    number[3] = 2 * event * by_event;
    number[4] = event * by_duration;
    if (!slopes->season)
        return;
    for (int a = 0; a < 12; a++)
        for (int b = 0; b <= a; b++)
            by_month[a][b] = by_month[b][a] = (by_month[a][b] + by_month[b][a]) / 2;
    season_slopes(m, by_month, slopes);
    clock_slopes(m, pull, slopes->event);
}
