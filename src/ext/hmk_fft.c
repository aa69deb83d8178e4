#include "hmk_fft.h"

#include <pthread.h>
#include <stdlib.h>

#include "hmk_memory.h"

enum { ESTIMATE = 1u << 6 }; /* FFTW_ESTIMATE: the plan, and so the bits, never vary */

#ifdef HMK_LINK_FFTW
void *fftwf_plan_guru_split_dft(int, const hmk_fft_dim *, int, const hmk_fft_dim *, float *,
                                float *, float *, float *, unsigned);
void fftwf_execute_split_dft(const void *, float *, float *, float *, float *);

static hmk_fft_functions fft = {fftwf_plan_guru_split_dft, fftwf_execute_split_dft};
#else
static hmk_fft_functions fft;
#endif

typedef struct {
    int n, lanes, pitch;
    void *plan;
} cached_plan;

enum { MAX_PLANS = 256 };

static pthread_mutex_t planner = PTHREAD_MUTEX_INITIALIZER;
static cached_plan plans[MAX_PLANS];
static int plan_count;

int hmk_fft_linked(void)
{
#ifdef HMK_LINK_FFTW
    return 1;
#else
    return 0;
#endif
}

hmk_status hmk_fft_bind(const hmk_fft_functions *functions)
{
    if (!functions->plan_guru_split || !functions->execute_split)
        return HMK_NO_FFT;
    if (hmk_fft_linked())
        return HMK_OK;
    pthread_mutex_lock(&planner);
    fft = *functions;
    pthread_mutex_unlock(&planner);
    return HMK_OK;
}

int hmk_fft_ready(void)
{
    return fft.plan_guru_split != NULL;
}

/* Plan one size; the lock is held. */
static hmk_status make_plan(int n, int lanes, int pitch, void **plan)
{
    size_t count = (size_t)n * (size_t)pitch;
    float *re = hmk_alloc(2 * count * sizeof *re);
    if (!re)
        return HMK_NO_MEMORY;
    float *im = re + count;
    hmk_fft_dim dims[2] = {{n, pitch, pitch}, {n, lanes, lanes}};
    hmk_fft_dim loop = {lanes, 1, 1};
    *plan = fft.plan_guru_split(2, dims, 1, &loop, re, im, re, im, ESTIMATE);
    hmk_free(re);
    return *plan ? HMK_OK : HMK_NO_PLAN;
}

hmk_status hmk_fft_plan(int n, int lanes, int pitch, const void **plan)
{
    hmk_status status = HMK_OK;
    pthread_mutex_lock(&planner);
    if (!hmk_fft_ready()) {
        status = HMK_NO_FFT;
        goto done;
    }
    for (int i = 0; i < plan_count; i++)
        if (plans[i].n == n && plans[i].lanes == lanes && plans[i].pitch == pitch) {
            *plan = plans[i].plan;
            goto done;
        }
    if (plan_count == MAX_PLANS) {
        status = HMK_NO_PLAN;
        goto done;
    }
    void *made = NULL;
    status = make_plan(n, lanes, pitch, &made);
    if (status == HMK_OK) {
        plans[plan_count++] = (cached_plan){n, lanes, pitch, made};
        *plan = made;
    }
done:
    pthread_mutex_unlock(&planner);
    return status;
}

void hmk_fft_run(const void *plan, float *re, float *im)
{
    fft.execute_split(plan, re, im, re, im);
}
