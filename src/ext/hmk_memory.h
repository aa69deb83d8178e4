/* Memory aligned for the widest vector. */
#ifndef HMK_MEMORY_H
#define HMK_MEMORY_H

#include <stddef.h>
#include <stdlib.h>

enum { HMK_ALIGN = 64 };

/* `bytes` of uninitialised memory, aligned to HMK_ALIGN; NULL when there is none. */
static inline void *hmk_alloc(size_t bytes)
{
    size_t rounded = (bytes + HMK_ALIGN - 1) / HMK_ALIGN * HMK_ALIGN;
    return rounded < bytes ? NULL : aligned_alloc(HMK_ALIGN, rounded ? rounded : HMK_ALIGN);
}

static inline void hmk_free(void *memory)
{
    free(memory);
}

#endif
