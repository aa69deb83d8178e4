/* Which builds of the kernels there are, and which of them this processor runs. */
#include <string.h>

#include "hmk_lanes.h"

#define BUILD(isa) extern const hmk_kernels hmk_kernels_##isa;
#if defined(__x86_64__) || defined(__i386__)
BUILD(sse2)
BUILD(avx2)
BUILD(avx512)
int hmk_supported_sse2(void);
int hmk_supported_avx2(void);
int hmk_supported_avx512(void);
int hmk_supported_sse2(void)
{
    return __builtin_cpu_supports("sse2") != 0;
}
int hmk_supported_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
int hmk_supported_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}
const hmk_kernels *const hmk_kernel_list[] = {&hmk_kernels_avx512, &hmk_kernels_avx2,
                                              &hmk_kernels_sse2, NULL};
#else
BUILD(generic)
int hmk_supported_generic(void);
int hmk_supported_generic(void)
{
    return 1;
}
const hmk_kernels *const hmk_kernel_list[] = {&hmk_kernels_generic, NULL};
#endif

const hmk_kernels *hmk_kernels_for(const char *name)
{
    for (const hmk_kernels *const *k = hmk_kernel_list; *k; k++)
        if ((!name || !strcmp(name, (*k)->name)) && (*k)->supported())
            return *k;
    return NULL;
}
