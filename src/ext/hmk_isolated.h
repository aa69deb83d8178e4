/* Single invalid pixels: dead detectors, hot pixels, specks of a mask. */
#ifndef HMK_ISOLATED_H
#define HMK_ISOLATED_H

#include <stddef.h>

#include "hmk_status.h"

/* Interpolate, in place, every pixel of an image (rows x cols) that is not finite while at least
 * three of its four nearest and six of its eight nearest neighbours are. What has just been
 * interpolated does not count as a neighbour, so larger holes stay as they are. */
hmk_status hmk_fill_isolated(float *image, ptrdiff_t rows, ptrdiff_t cols);

#endif
