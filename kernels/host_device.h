// For row algorithms that CPU ops share with kernels: no CUDA header is needed.
#pragma once

#ifdef __CUDACC__
#define QTUNE_HD __host__ __device__ inline
#else
#define QTUNE_HD inline
#endif
