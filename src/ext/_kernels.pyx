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


def core_sums(const double[:, ::1] p, double x, double y, double sigma_x, double sigma_y,
              double disc, double ring_low, double ring_high):
    """Sum over a scatter (2, n) near a centre; see ``hmk_core.h``.

    Return the points in the disc and in the ring, the sums, the sums of squares.
    """
    cdef double[2] centre = [x, y]
    cdef double[2] sigma = [sigma_x, sigma_y]
    cdef double[2] ring = [ring_low, ring_high]
    cdef hmk.hmk_core_sums s
    with nogil:
        s = hmk.hmk_core(&p[0, 0], &p[1, 0], p.shape[1], centre, sigma, disc, ring)
    return s.disc, s.ring, s.sum[0], s.sum[1], s.square[0], s.square[1]


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


def median_test(const float[:, ::1] u, const float[:, ::1] v, const float[:, ::1] noise_u,
                const float[:, ::1] noise_v, int least, float limit,
                uint8_t[:, ::1] outlier, Py_ssize_t first, Py_ssize_t last):
    """Judge rows ``first`` to ``last - 1``; see ``hmk_outliers.h``. Return a status."""
    cdef hmk.hmk_status status
    with nogil:
        status = hmk.hmk_median_test(&u[0, 0], &v[0, 0], &noise_u[0, 0], &noise_v[0, 0],
                                     u.shape[0], u.shape[1], least, limit, first, last,
                                     &outlier[0, 0])
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
    """Count the vectors that hang together; see ``hmk_outliers.h``. Return a status."""
    cdef hmk.hmk_status status
    with nogil:
        status = hmk.hmk_clump_sizes(&u[0, 0], &v[0, 0], u.shape[0], u.shape[1], limit,
                                     &parent[0, 0], &size[0, 0])
    return <int>status


def add_strain(const float[:, ::1] x, float reach, float[:, ::1] sigma):
    """Widen ``sigma`` in place by the strain; see ``hmk_outliers.h``."""
    with nogil:
        hmk.hmk_add_strain(&x[0, 0], x.shape[0], x.shape[1], reach, &sigma[0, 0])


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
