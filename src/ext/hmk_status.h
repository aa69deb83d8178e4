/* Every outcome a kernel can have.
 *
 * `hmk_status` is what a function returns to its caller: something is wrong with the call or
 * the machine, and nothing was measured. `hmk_quality` is what a node gets: the call was
 * right, and this is what the ground allowed. Python mirrors both (errors and Quality); tests
 * walk them up to the end markers, so a new one goes just before its marker.
 */
#ifndef HMK_STATUS_H
#define HMK_STATUS_H

typedef enum {
    HMK_OK = 0,
    HMK_NO_MEMORY,   /* an allocation failed */
    HMK_BAD_WINDOW,  /* a window is odd, below 8 or above HMK_MAX_WINDOW */
    HMK_BAD_OPTION,  /* another option is out of its range */
    HMK_NO_FFT,      /* FFTW is neither linked nor bound */
    HMK_NO_PLAN,     /* FFTW refused to plan this size */
    HMK_BAD_NODE,    /* a node's window, at its largest offset, leaves the padded image */
    HMK_STATUS_END
} hmk_status;

typedef enum {
    HMK_GOOD = 0,
    HMK_NODE_NO_DATA,
    HMK_NODE_NO_TEXTURE,
    HMK_NODE_SATURATED,
    HMK_NODE_OUT_OF_REACH,
    HMK_NODE_UNSETTLED,
    HMK_NODE_INCOHERENT,
    HMK_NODE_AMBIGUOUS,
    HMK_QUALITY_END
} hmk_quality;

#endif
