/* The routines of BLAS and LAPACK that kernels use, by their addresses: whoever calls a kernel
 * takes them from the library that SciPy uses, so that none is linked. Arguments are those of
 * Fortran; matrices lie by columns. Any thread may call them. */
#ifndef HMK_LAPACK_H
#define HMK_LAPACK_H

typedef void hmk_triangle(char *side, char *uplo, char *trans, char *diag, int *m, int *n,
                          double *alpha, double *a, int *lda, double *b, int *ldb);
typedef void hmk_triangle_vector(char *uplo, char *trans, char *diag, int *n, double *a,
                                 int *lda, double *x, int *incx);

typedef struct {
    hmk_triangle *dtrmm, *dtrsm;
    hmk_triangle_vector *dtrmv, *dtrsv;
    void (*dsymv)(char *uplo, int *n, double *alpha, double *a, int *lda, double *x, int *incx,
                  double *beta, double *y, int *incy);
    void (*dsyrk)(char *uplo, char *trans, int *n, int *k, double *alpha, double *a, int *lda,
                  double *beta, double *c, int *ldc);
    void (*dpotrf)(char *uplo, int *n, double *a, int *lda, int *info);
} hmk_lapack;

#endif
