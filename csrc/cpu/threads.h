// OpenMP's functions, also where it is left out: then there is one thread.
#pragma once

#if defined(_OPENMP)
#include <omp.h>
#else
static inline int omp_get_thread_num() { return 0; }
#endif
