"""The C headers, declared once."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, uint8_t


cdef extern from "hmk_status.h" nogil:
    ctypedef enum hmk_status:
        HMK_OK
        HMK_STATUS_END

    enum:
        HMK_QUALITY_END


cdef extern from "hmk_fft.h" nogil:
    ctypedef struct hmk_fft_functions:
        void *plan_guru_split
        void *execute_split

    int hmk_fft_linked()
    int hmk_fft_ready()
    hmk_status hmk_fft_bind(const hmk_fft_functions *functions)


cdef extern from "hmk_lanes.h" nogil:
    ctypedef enum hmk_pixel:
        HMK_UINT8
        HMK_INT8
        HMK_UINT16
        HMK_INT16
        HMK_UINT32
        HMK_INT32
        HMK_FLOAT
        HMK_DOUBLE

    ctypedef int hmk_standardise(const void *pixels, const uint8_t *valid, ptrdiff_t count,
                                 double mean, float scale, double saturated, float *to)

    ctypedef struct hmk_kernels:
        const char *name
        int lanes
        int (*supported)()
        int (*own_fft)(int n)
        hmk_standardise **standardise

    const hmk_kernels *const hmk_kernel_list[]
    const hmk_kernels *hmk_kernels_for(const char *name)


cdef extern from "hmk_correlate.h" nogil:
    ctypedef struct hmk_images:
        const float *reference
        const float *secondary
        ptrdiff_t rows
        ptrdiff_t cols

    ctypedef struct hmk_options:
        int coarse
        int fine
        int half_row
        int half_col
        int reach
        float coarse_beta
        float fine_beta
        float last_beta
        int moved
        float holed_beta
        float holed_pinned
        int weight
        int robust
        float pinned
        int rewindow
        float settled
        float settled_sigmas
        float min_valid
        float min_evidence
        float known_evidence
        float guess_evidence
        float unpin
        float max_second
        float sigma_scale
        float sigma_floor
        int fftw_only
        const float *gain

    ctypedef struct hmk_result:
        float *drow
        float *dcol
        float *sigma_row
        float *sigma_col
        float *snr
        float *coherence
        float *evidence
        uint8_t *quality

    hmk_status hmk_correlate(const hmk_kernels *kernels, const hmk_images *images,
                             const hmk_options *options, const int32_t *row,
                             const int32_t *col, const float *guess_row,
                             const float *guess_col, ptrdiff_t first, ptrdiff_t last,
                             const hmk_result *result)
    hmk_status hmk_coherence(const hmk_kernels *kernels, const hmk_images *images,
                             const hmk_options *options, const int32_t *row,
                             const int32_t *col, const float *guess_row,
                             const float *guess_col, ptrdiff_t count, int bands,
                             float *coherent, float *power_a, float *power_b)


cdef extern from "hmk_isolated.h" nogil:
    hmk_status hmk_fill_isolated(float *image, ptrdiff_t rows, ptrdiff_t cols)


cdef extern from "hmk_middle.h" nogil:
    void hmk_middle(const double *x, ptrdiff_t count, double *scratch, double *middle,
                    double *deviation)


cdef extern from "hmk_core.h" nogil:
    ctypedef struct hmk_core_options:
        double disc
        double ring[2]
        double deviation
        double within
        const double *moment
        const double *sigma
        ptrdiff_t entries

    ctypedef struct hmk_core_result:
        double centre[2]
        double sigma[2]
        double share

    hmk_core_result hmk_core(const double *x, const double *y, ptrdiff_t count,
                             const hmk_core_options *opt, double *scratch)


cdef extern from "hmk_robust.h" nogil:
    ctypedef struct hmk_robust_model:
        const double *x
        const double *y
        ptrdiff_t count
        int terms
        const double *sigma
        double cutoff
        double pull

    int hmk_robust_fit(const hmk_robust_model *model, double resting, int rounds,
                       double *residual, double *beta, double *weight, double *inverse)


cdef extern from "hmk_variogram.h" nogil:
    void hmk_variogram(const double *field, ptrdiff_t rows, ptrdiff_t cols,
                       ptrdiff_t longest, ptrdiff_t least, double *out)


cdef extern from "hmk_seams.h" nogil:
    ctypedef struct hmk_ground:
        ptrdiff_t bins
        int k
        const double *x
        const double *mass
        const double *stiff
        const double *kappa

    double hmk_base(const double *gram, const double *moment, int all, const ptrdiff_t *column,
                    int k, const double *prior, const double *kappa, double *inverse,
                    double *beta)
    void hmk_step_information(const hmk_ground *ground, int c, const ptrdiff_t *at, int n,
                              double *info)
    void hmk_steps(const hmk_ground *ground, const double *pull, const ptrdiff_t *at,
                   ptrdiff_t m, int n, const double *precision, int priors, double least,
                   double *scratch, double *log)
    void hmk_step_sizes(const hmk_ground *ground, const double *pull, const ptrdiff_t *at,
                        ptrdiff_t m, int n, const double *root, const double *share,
                        double *scratch, double *jumps)
    void hmk_pairs(const double *info, const double *pull, ptrdiff_t m, double own,
                   double *log)
    void hmk_pair_sizes(const double *info, const double *pull, ptrdiff_t m, double own,
                        const double *share, double *size)
    void hmk_beyond(const double *value, const double *weight, const ptrdiff_t *bin,
                    ptrdiff_t count, ptrdiff_t k, ptrdiff_t bins, double *out)


cdef extern from "hmk_moved.h" nogil:
    enum:
        HMK_TAPS


cdef extern from "hmk_outliers.h" nogil:
    hmk_status hmk_median_test(const float *u, const float *v, const float *sigma_u,
                               const float *sigma_v, ptrdiff_t rows, ptrdiff_t cols,
                               int least, float floor, float limit, ptrdiff_t first,
                               ptrdiff_t last, uint8_t *outlier)
    hmk_status hmk_neighbour_median(const float *u, const float *v, const uint8_t *wanted,
                                    ptrdiff_t rows, ptrdiff_t cols, int least, float spread,
                                    ptrdiff_t first, ptrdiff_t last, float *mid_u,
                                    float *mid_v)
    hmk_status hmk_bend(const float *u, const float *v, ptrdiff_t rows, ptrdiff_t cols,
                        float limit, ptrdiff_t first, ptrdiff_t last, float *far_u,
                        float *far_v)
    void hmk_add_strain(const float *x, ptrdiff_t rows, ptrdiff_t cols, float reach,
                        ptrdiff_t first, ptrdiff_t last, float *sigma)


cdef extern from "hmk_clumps.h" nogil:
    hmk_status hmk_clump_sizes(const float *u, const float *v, ptrdiff_t rows, ptrdiff_t cols,
                               float limit, int32_t *parent, int32_t *size)


cdef extern from "hmk_lapack.h" nogil:
    ctypedef struct hmk_lapack:
        void *dtrmm
        void *dtrsm
        void *dtrmv
        void *dtrsv
        void *dsymv
        void *dsyrk
        void *dpotrf


cdef extern from "hmk_month_prior.h" nogil:
    enum:
        HMK_SEASON_STEPS
        HMK_NUMBERS

    ctypedef struct hmk_prior:
        double level
        double season
        double shape
        double memory
        double event
        double duration
        double noise
        double burst
        double burst_at
        double burst_width
        const double *season_pace
        const double *event_pace

    ctypedef struct hmk_slopes:
        double *number
        double *season
        double *event
        double *burst


cdef extern from "hmk_evidence.h" nogil:
    ctypedef struct hmk_information:
        ptrdiff_t cells
        const double *normal
        const double *log_det
        const double *count
    ptrdiff_t hmk_evidence_work(int n, ptrdiff_t cells)
    int hmk_evidence(const hmk_lapack *lapack, const hmk_prior *prior, int n, int first,
                     const hmk_information *known, double *work, double *misfit,
                     const hmk_slopes *slopes)


cdef extern from "hmk_normal.h" nogil:
    ctypedef struct hmk_pair_rows:
        int pairs
        int scenes
        int columns
        const double *rows
        const double *amplitude
        const ptrdiff_t *early
        const ptrdiff_t *late
    void hmk_add_products(const hmk_lapack *lapack, const hmk_pair_rows *rows, double *normal)
