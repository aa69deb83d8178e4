# cython: language_level=3, boundscheck=False, wraparound=False
"""The seam between Python and C: typed views in, status out, the GIL released.

Decides nothing: shapes, defaults and ranges are settled by the callers in ``hmavel``.
"""

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int8_t, int16_t, int32_t, uint8_t, uint16_t, uint32_t, uintptr_t

cimport hmk


ctypedef fused pixel:
    uint8_t
    int8_t
    uint16_t
    int16_t
    uint32_t
    int32_t
    float
    double


def standardise(const pixel[:, :] image, const uint8_t[:, :] valid, double mean,
                double spread, double saturated, float[:, ::1] out,
                Py_ssize_t out_row, Py_ssize_t out_col, instruction_set=None):
    """Write (image - mean) / spread into ``out`` from (out_row, out_col) on.

    Not finite or not ``valid`` (None: all are) becomes NaN, ``saturated`` infinity. Return
    whether there were such pixels. The pixels of each row lie side by side.
    """
    cdef hmk.hmk_pixel which
    if pixel is uint8_t:
        which = hmk.HMK_UINT8
    elif pixel is int8_t:
        which = hmk.HMK_INT8
    elif pixel is uint16_t:
        which = hmk.HMK_UINT16
    elif pixel is int16_t:
        which = hmk.HMK_INT16
    elif pixel is uint32_t:
        which = hmk.HMK_UINT32
    elif pixel is int32_t:
        which = hmk.HMK_INT32
    elif pixel is float:
        which = hmk.HMK_FLOAT
    else:
        which = hmk.HMK_DOUBLE
    cdef hmk.hmk_standardise *row = kernels_of(instruction_set).standardise[<int>which]
    cdef Py_ssize_t i, cols = image.shape[1]
    cdef bint unusable = False
    cdef float scale = <float>(1.0 / spread)
    cdef const uint8_t *mask = NULL
    if not cols:
        return False
    with nogil:
        for i in range(image.shape[0]):
            if valid is not None:
                mask = &valid[i, 0]
            unusable |= row(&image[i, 0], mask, cols, mean, scale, saturated,
                            &out[out_row + i, out_col])
    return unusable


def fill_isolated(float[:, ::1] image):
    """Interpolate single invalid pixels in place; see ``hmk_isolated.h``. Return a status."""
    cdef hmk.hmk_status status
    with nogil:
        status = hmk.hmk_fill_isolated(&image[0, 0], image.shape[0], image.shape[1])
    return <int>status


def middle(const double[::1] x, double[::1] scratch):
    """Return the median and the median distance to it; see ``hmk_middle.h``."""
    cdef double median, deviation
    with nogil:
        hmk.hmk_middle(&x[0], x.shape[0], &scratch[0], &median, &deviation)
    return median, deviation


def core(const double[:, ::1] p, double[::1] scratch, double disc, double ring_low,
         double ring_high, double deviation, double within, const double[::1] moment,
         const double[::1] sigma):
    """Measure the core of a scatter (2, n); see ``hmk_core.h``.

    Return the centre, sigma (two each) and the share.
    """
    cdef hmk.hmk_core_options opt
    opt.disc, opt.deviation, opt.within = disc, deviation, within
    opt.ring[0], opt.ring[1] = ring_low, ring_high
    opt.moment, opt.sigma, opt.entries = &moment[0], &sigma[0], moment.shape[0]
    cdef hmk.hmk_core_result found
    with nogil:
        found = hmk.hmk_core(&p[0, 0], &p[1, 0], p.shape[1], &opt, &scratch[0])
    return found.centre[0], found.centre[1], found.sigma[0], found.sigma[1], found.share


def robust_fit(const double[:, ::1] x, const double[:, ::1] y, const double[::1] sigma,
               double cutoff, double pull, double resting, int rounds,
               double[:, ::1] residual, double[:, ::1] beta, double[::1] weight,
               double[:, ::1] inverse):
    """Improve a fit in place; see ``hmk_robust.h``. Return whether any node has a weight."""
    cdef hmk.hmk_robust_model model
    model.x, model.y, model.sigma = &x[0, 0], &y[0, 0], &sigma[0]
    model.count, model.terms = x.shape[0], <int>x.shape[1]
    model.cutoff, model.pull = cutoff, pull
    cdef bint found
    with nogil:
        found = hmk.hmk_robust_fit(&model, resting, rounds, &residual[0, 0], &beta[0, 0],
                                   &weight[0], &inverse[0, 0])
    return found


def variogram(const double[:, :, ::1] field, Py_ssize_t least, double[:, ::1] out):
    """Fill ``out`` (2, lags), along rows and columns; see ``hmk_variogram.h``."""
    with nogil:
        hmk.hmk_variogram(&field[0, 0, 0], field.shape[0], field.shape[1], out.shape[1], least,
                          &out[0, 0])


def base(const double[:, ::1] gram, const double[:, ::1] moment, const ptrdiff_t[::1] column,
         const double[::1] prior, const double[::1] kappa, double[:, :, ::1] inverse,
         double[:, ::1] beta):
    """Solve for a shape's coefficients; see ``hmk_base``. Return its log evidence."""
    cdef double log_evidence
    with nogil:
        log_evidence = hmk.hmk_base(&gram[0, 0], &moment[0, 0], <int>gram.shape[0], &column[0],
                                    <int>column.shape[0], &prior[0], &kappa[0],
                                    &inverse[0, 0, 0], &beta[0, 0])
    return log_evidence


cdef hmk.hmk_ground ground_of(const double[:, ::1] x, const double[::1] mass,
                              const double[:, :, ::1] stiff, const double[::1] kappa) noexcept:
    cdef hmk.hmk_ground ground
    ground.bins, ground.k = x.shape[0], <int>x.shape[1]
    ground.x, ground.mass, ground.stiff, ground.kappa = (
        &x[0, 0], &mass[0], &stiff[0, 0, 0], &kappa[0])
    return ground


def information(const double[:, ::1] x, const double[::1] mass,
                const double[:, :, ::1] stiff, const double[::1] kappa,
                const ptrdiff_t[:, ::1] at, double[:, :, :, ::1] out):
    """Fill ``out`` (2, m, n, n) with the information on steps; see ``hmk_seams.h``."""
    cdef hmk.hmk_ground ground = ground_of(x, mass, stiff, kappa)
    cdef Py_ssize_t i
    cdef int c
    if not at.shape[1]:
        return
    with nogil:
        for c in range(2):
            for i in range(at.shape[0]):
                hmk.hmk_step_information(&ground, c, &at[i, 0], <int>at.shape[1],
                                         &out[c, i, 0, 0])


def steps(const double[:, ::1] x, const double[::1] mass, const double[:, :, ::1] stiff,
          const double[::1] kappa, const double[:, ::1] pull, const ptrdiff_t[:, ::1] at,
          const double[:, :, ::1] precision, double least, double[::1] scratch,
          double[:, ::1] log):
    """Fill ``log`` (priors, m) with the evidence of steps; see ``hmk_seams.h``."""
    cdef hmk.hmk_ground ground = ground_of(x, mass, stiff, kappa)
    with nogil:
        hmk.hmk_steps(&ground, &pull[0, 0], &at[0, 0], at.shape[0], <int>at.shape[1],
                      &precision[0, 0, 0], <int>precision.shape[0], least, &scratch[0],
                      &log[0, 0])


def step_sizes(const double[:, ::1] x, const double[::1] mass, const double[:, :, ::1] stiff,
               const double[::1] kappa, const double[:, ::1] pull,
               const ptrdiff_t[:, ::1] at, const double[:, ::1] root,
               const double[::1] share, double[::1] scratch, double[:, ::1] jumps):
    """Add mean steps to ``jumps`` (bins, 2); see ``hmk_seams.h``."""
    cdef hmk.hmk_ground ground = ground_of(x, mass, stiff, kappa)
    with nogil:
        hmk.hmk_step_sizes(&ground, &pull[0, 0], &at[0, 0], at.shape[0], <int>at.shape[1],
                           &root[0, 0], &share[0], &scratch[0], &jumps[0, 0])


def pairs(const double[:, :, ::1] info, const double[:, ::1] pull, double own,
          double[::1] log):
    """Fill ``log`` with the evidence of all pairs of combs; see ``hmk_seams.h``."""
    if not log.shape[0]:
        return
    with nogil:
        hmk.hmk_pairs(&info[0, 0, 0], &pull[0, 0], info.shape[1], own, &log[0])


def pair_sizes(const double[:, :, ::1] info, const double[:, ::1] pull, double own,
               const double[::1] share, double[:, ::1] size):
    """Fill ``size`` (m, 2) with the mean amplitudes of combs; see ``hmk_seams.h``."""
    cdef const double *shares = &share[0] if share.shape[0] else NULL
    with nogil:
        hmk.hmk_pair_sizes(&info[0, 0, 0], &pull[0, 0], info.shape[1], own, shares,
                           &size[0, 0])


def beyond(const double[:, ::1] value, const double[::1] weight, const ptrdiff_t[::1] bins,
           double[:, ::1] out):
    """Fill ``out`` (bins, k) with sums beyond each bin; see ``hmk_seams.h``."""
    with nogil:
        hmk.hmk_beyond(&value[0, 0], &weight[0], &bins[0], value.shape[0], value.shape[1],
                       out.shape[0], &out[0, 0])


def taps():
    """Return how many pixels along either axis interpolation makes a value of."""
    return <int>hmk.HMK_TAPS


def status_count():
    """Number of kernel statuses, the end marker not counted."""
    return <int>hmk.HMK_STATUS_END


def quality_count():
    """Number of qualities that the kernel can give a node."""
    return <int>hmk.HMK_QUALITY_END


def fftw_linked():
    """Whether FFTW was linked when the extension was built."""
    return bool(hmk.hmk_fft_linked())


def fftw_ready():
    """Whether transforms can be planned."""
    return bool(hmk.hmk_fft_ready())


def bind_fftw(uintptr_t plan_guru_split_dft, uintptr_t execute_split_dft):
    """Take FFTW's functions by their addresses; return a status."""
    cdef hmk.hmk_fft_functions functions
    functions.plan_guru_split = <void *>plan_guru_split_dft
    functions.execute_split = <void *>execute_split_dft
    return <int>hmk.hmk_fft_bind(&functions)


def instruction_sets():
    """Return {name: lanes} of the builds that this processor runs, the widest first."""
    names = {}
    cdef int i = 0
    while hmk.hmk_kernel_list[i] != NULL:
        if hmk.hmk_kernel_list[i].supported():
            names[hmk.hmk_kernel_list[i].name.decode()] = hmk.hmk_kernel_list[i].lanes
        i += 1
    return names


cdef int read_options(dict options, const float[::1] gain, hmk.hmk_options *opt) except -1:
    """Fill in the C record; ``gain`` must outlive it."""
    opt[0].coarse = options["coarse"]
    opt[0].fine = options["fine"]
    opt[0].half_row = options["half_row"]
    opt[0].half_col = options["half_col"]
    opt[0].reach = options["reach"]
    opt[0].coarse_beta = options["coarse_beta"]
    opt[0].fine_beta = options["fine_beta"]
    opt[0].last_beta = options["last_beta"]
    opt[0].moved = options["moved"]
    opt[0].holed_beta = options["holed_beta"]
    opt[0].holed_pinned = options["holed_pinned"]
    opt[0].weight = options["weight"]
    opt[0].robust = options["robust"]
    opt[0].pinned = options["pinned"]
    opt[0].rewindow = options["rewindow"]
    opt[0].settled = options["settled"]
    opt[0].settled_sigmas = options["settled_sigmas"]
    opt[0].min_valid = options["min_valid"]
    opt[0].min_evidence = options["min_evidence"]
    opt[0].known_evidence = options["known_evidence"]
    opt[0].guess_evidence = options["guess_evidence"]
    opt[0].unpin = options["unpin"]
    opt[0].max_second = options["max_second"]
    opt[0].sigma_scale = options["sigma_scale"]
    opt[0].sigma_floor = options["sigma_floor"]
    opt[0].fftw_only = options["fftw_only"]
    opt[0].gain = NULL if gain is None else &gain[0]
    return 0


cdef const hmk.hmk_kernels *kernels_of(instruction_set) except NULL:
    cdef bytes name = b"" if instruction_set is None else instruction_set.encode()
    cdef const hmk.hmk_kernels *kernels = hmk.hmk_kernels_for(
        NULL if instruction_set is None else <const char *>name)
    if kernels == NULL:
        raise ValueError(f"correlate: expected an instruction set of {instruction_sets()}, "
                         f"got {instruction_set!r}; leave it to the program (None)")
    return kernels


def correlate(const float[:, ::1] reference, const float[:, ::1] secondary,
              const int32_t[::1] row, const int32_t[::1] col,
              const float[::1] guess_row, const float[::1] guess_col, dict options,
              float[:, ::1] out, uint8_t[::1] quality,
              Py_ssize_t first, Py_ssize_t last, instruction_set=None,
              const float[::1] gain=None):
    """Correlate nodes ``first`` to ``last - 1``; see ``hmk_correlate.h``. Return a status.

    ``out`` has one row per result: drow, dcol, sigma_row, sigma_col, snr, coherence, evidence.
    """
    cdef hmk.hmk_images images
    images.reference, images.secondary = &reference[0, 0], &secondary[0, 0]
    images.rows, images.cols = reference.shape[0], reference.shape[1]
    cdef hmk.hmk_options opt
    read_options(options, gain, &opt)
    cdef hmk.hmk_result result
    result.drow, result.dcol = &out[0, 0], &out[1, 0]
    result.sigma_row, result.sigma_col = &out[2, 0], &out[3, 0]
    result.snr, result.coherence, result.evidence = &out[4, 0], &out[5, 0], &out[6, 0]
    result.quality = &quality[0]
    cdef const hmk.hmk_kernels *kernels = kernels_of(instruction_set)
    cdef hmk.hmk_status status
    with nogil:
        status = hmk.hmk_correlate(kernels, &images, &opt, &row[0], &col[0],
                                   &guess_row[0], &guess_col[0], first, last, &result)
    return <int>status


def coherence(const float[:, ::1] reference, const float[:, ::1] secondary,
              const int32_t[::1] row, const int32_t[::1] col,
              const float[::1] guess_row, const float[::1] guess_col, dict options,
              float[:, :, ::1] out, instruction_set=None, const float[::1] gain=None):
    """Sum the nodes' spectra over rings of wave numbers; see ``hmk_coherence``. Return a status.

    ``out`` is (3, nodes, bands): coherent part, power of the reference, of the secondary.
    """
    cdef hmk.hmk_images images
    images.reference, images.secondary = &reference[0, 0], &secondary[0, 0]
    images.rows, images.cols = reference.shape[0], reference.shape[1]
    cdef hmk.hmk_options opt
    read_options(options, gain, &opt)
    cdef const hmk.hmk_kernels *kernels = kernels_of(instruction_set)
    cdef hmk.hmk_status status
    with nogil:
        status = hmk.hmk_coherence(kernels, &images, &opt, &row[0], &col[0], &guess_row[0],
                                   &guess_col[0], row.shape[0], <int>out.shape[2],
                                   &out[0, 0, 0], &out[1, 0, 0], &out[2, 0, 0])
    return <int>status


def median_test(const float[:, ::1] u, const float[:, ::1] v, const float[:, ::1] sigma_u,
                const float[:, ::1] sigma_v, int least, float floor, float limit,
                uint8_t[:, ::1] outlier, Py_ssize_t first, Py_ssize_t last):
    """Judge rows ``first`` to ``last - 1``; see ``hmk_outliers.h``. Return a status."""
    cdef hmk.hmk_status status
    with nogil:
        status = hmk.hmk_median_test(&u[0, 0], &v[0, 0], &sigma_u[0, 0], &sigma_v[0, 0],
                                     u.shape[0], u.shape[1], least, floor, limit, first,
                                     last, &outlier[0, 0])
    return <int>status


def neighbour_median(const float[:, ::1] u, const float[:, ::1] v,
                     const uint8_t[:, ::1] wanted, int least, float spread,
                     float[:, ::1] mid_u, float[:, ::1] mid_v,
                     Py_ssize_t first, Py_ssize_t last):
    """Fill rows ``first`` to ``last - 1``; see ``hmk_outliers.h``. Return a status."""
    cdef hmk.hmk_status status
    with nogil:
        status = hmk.hmk_neighbour_median(&u[0, 0], &v[0, 0], &wanted[0, 0], u.shape[0],
                                          u.shape[1], least, spread, first, last,
                                          &mid_u[0, 0], &mid_v[0, 0])
    return <int>status


def bend(const float[:, ::1] u, const float[:, ::1] v, float limit,
         float[:, ::1] far_u, float[:, ::1] far_v, Py_ssize_t first, Py_ssize_t last):
    """Fill rows ``first`` to ``last - 1``; see ``hmk_outliers.h``. Return a status."""
    cdef hmk.hmk_status status
    with nogil:
        status = hmk.hmk_bend(&u[0, 0], &v[0, 0], u.shape[0], u.shape[1], limit,
                              first, last, &far_u[0, 0], &far_v[0, 0])
    return <int>status


def clump_sizes(const float[:, ::1] u, const float[:, ::1] v, float limit,
                int32_t[:, ::1] parent, int32_t[:, ::1] size):
    """Count the vectors that hang together; see ``hmk_clumps.h``. Return a status."""
    cdef hmk.hmk_status status
    with nogil:
        status = hmk.hmk_clump_sizes(&u[0, 0], &v[0, 0], u.shape[0], u.shape[1], limit,
                                     &parent[0, 0], &size[0, 0])
    return <int>status


def add_strain(const float[:, ::1] x, float reach, float[:, ::1] sigma, Py_ssize_t first,
               Py_ssize_t last):
    """Widen rows ``first`` to ``last - 1`` of ``sigma`` in place; see ``hmk_outliers.h``."""
    with nogil:
        hmk.hmk_add_strain(&x[0, 0], x.shape[0], x.shape[1], reach, first, last, &sigma[0, 0])


cdef hmk.hmk_lapack routines


cdef void *address(dict published, str name) except NULL:
    """Where a routine is; integers of another size would be read wrongly."""
    cdef object capsule = published[name]
    cdef const char *signature = PyCapsule_GetName(capsule)
    if b" int *" not in <bytes>signature:
        raise ImportError(f"SciPy's {name}: expected integers of C, got {signature.decode()}")
    return PyCapsule_GetPointer(capsule, signature)


def bind_lapack(dict blas, dict lapack):
    """Take the routines from what SciPy's ``cython_blas`` and ``cython_lapack`` publish."""
    routines.dtrmm, routines.dtrsm = address(blas, "dtrmm"), address(blas, "dtrsm")
    routines.dtrmv, routines.dtrsv = address(blas, "dtrmv"), address(blas, "dtrsv")
    routines.dsymv, routines.dsyrk = address(blas, "dsymv"), address(blas, "dsyrk")
    routines.dpotrf = address(lapack, "dpotrf")


def evidence_work(int n, Py_ssize_t cells):
    """Return how many numbers of memory ``evidence`` wants."""
    return hmk.hmk_evidence_work(n, cells)


def evidence(const double[:, :, ::1] normal, const double[::1] log_det,
             const double[::1] count, int first, tuple numbers,
             const double[::1] season_pace, const double[::1] event_pace,
             double[::1] work, double[::1] misfit, double[::1] slopes=None):
    """Evaluate the evidence, after ``bind_lapack``; see ``hmk_evidence.h``.

    ``numbers`` as in ``hmk_prior``; None for a clock that goes evenly. ``slopes`` as in
    ``hmk_slopes``, one after the other, or the first alone. Return 0 or the bad pivot's row.
    """
    cdef int n = <int>normal.shape[1] - 1, pivot
    cdef hmk.hmk_information known
    known.cells, known.normal = normal.shape[0], &normal[0, 0, 0]
    known.log_det, known.count = &log_det[0], &count[0]
    cdef hmk.hmk_prior prior
    (prior.level, prior.season, prior.shape, prior.memory, prior.event, prior.duration,
     prior.noise, prior.burst, prior.burst_at, prior.burst_width) = numbers
    prior.season_pace = NULL if season_pace is None else &season_pace[0]
    prior.event_pace = NULL if event_pace is None else &event_pace[0]
    cdef hmk.hmk_slopes along
    along.season = along.event = along.burst = NULL
    if slopes is not None:
        along.number = &slopes[0]
        if slopes.shape[0] > hmk.HMK_NUMBERS:
            along.season = along.number + hmk.HMK_NUMBERS
            along.event = along.season + hmk.HMK_SEASON_STEPS
            along.burst = along.event + n
    with nogil:
        pivot = hmk.hmk_evidence(&routines, &prior, n, first, &known, &work[0], &misfit[0],
                                 NULL if slopes is None else &along)
    return pivot


def add_products(const double[:, ::1] rows, const double[::1] amplitude,
                 const ptrdiff_t[::1] early, const ptrdiff_t[::1] late,
                 double[::1, :] normal):
    """Add to the lower half of ``normal``, after ``bind_lapack``; see ``hmk_normal.h``."""
    cdef hmk.hmk_pair_rows pairs
    pairs.pairs, pairs.columns = <int>rows.shape[0], <int>rows.shape[1]
    pairs.scenes = <int>normal.shape[0] - pairs.columns
    pairs.rows, pairs.amplitude = &rows[0, 0], &amplitude[0]
    pairs.early, pairs.late = &early[0], &late[0]
    with nogil:
        hmk.hmk_add_products(&routines, &pairs, &normal[0, 0])
