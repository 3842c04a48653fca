// Stands in for libcudart.so.13 below LibTorch's caching allocator: hands out addresses and counts the bytes behind
// them. Nothing can be computed on it. Built by ../gpu_memory.py.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>

namespace {

constexpr size_t kTotalBytes = size_t{140} << 30, kGranularity = size_t{2} << 20;

size_t used_bytes = 0;
unsigned long long next_address = 1ULL << 40, next_handle = 1;
std::map<unsigned long long, size_t> bytes_of;  // by address or handle: addresses are larger

unsigned long long reserve_addresses(size_t size) {
  const unsigned long long address = next_address;
  next_address += size + kGranularity;
  return address;
}

bool take(unsigned long long key, size_t size) {
  if (used_bytes + size > kTotalBytes) return false;
  used_bytes += size;
  bytes_of[key] = size;
  return true;
}

void give_back(unsigned long long key) {
  const auto found = bytes_of.find(key);
  if (found == bytes_of.end()) std::abort();
  used_bytes -= found->second;
  bytes_of.erase(found);
}

// What growing segments need of the driver.
CUresult address_reserve(CUdeviceptr* p, size_t size, size_t, CUdeviceptr, unsigned long long) {
  *p = reserve_addresses(size);
  return CUDA_SUCCESS;
}
CUresult create(CUmemGenericAllocationHandle* h, size_t size, const CUmemAllocationProp*, unsigned long long) {
  *h = next_handle++;
  return take(*h, size) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult release(CUmemGenericAllocationHandle h) {
  give_back(h);
  return CUDA_SUCCESS;
}
CUresult granularity(size_t* size, const CUmemAllocationProp*, int) {
  *size = kGranularity;
  return CUDA_SUCCESS;
}
CUresult device_attribute(int* value, int, int) {
  *value = 1;
  return CUDA_SUCCESS;
}
CUresult error_string(CUresult, const char** text) {
  *text = "an error of the stand-in";
  return CUDA_SUCCESS;
}
CUresult nothing(...) { return CUDA_SUCCESS; }

template <class F>
void* as_pointer(F* function) {
  return reinterpret_cast<void*>(function);
}

[[noreturn]] void unexpected(const char* name) {
  std::fprintf(stderr, "%s: the stand-in has no such function\n", name);
  std::abort();
}

CUresult unexpected_driver_call(...) { unexpected("driver"); }

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** p, size_t size) {
  size = (size + kGranularity - 1) / kGranularity * kGranularity;
  const unsigned long long address = reserve_addresses(size);
  *p = reinterpret_cast<void*>(address);
  return take(address, size) ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* p) {
  if (p != nullptr) give_back(reinterpret_cast<unsigned long long>(p));
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = kTotalBytes - used_bytes;
  *total = kTotalBytes;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = cudaDeviceProp{};
  p->totalGlobalMem = kTotalBytes;
  p->major = 9;
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t, cudaStreamCaptureStatus* status, unsigned long long*, cudaGraph_t*,
                                     const cudaGraphNode_t**, const cudaGraphEdgeData**, size_t*) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -1;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}
const char* cudaGetErrorName(cudaError_t) { return "cudaError"; }
const char* cudaGetErrorString(cudaError_t) { return "an error of the stand-in"; }

// Nothing runs, so everything is done.
#define QTUNE_SUCCEEDS(name, ...) \
  cudaError_t name(__VA_ARGS__) { return cudaSuccess; }
QTUNE_SUCCEEDS(cudaSetDevice, int)
QTUNE_SUCCEEDS(cudaDeviceSynchronize)
QTUNE_SUCCEEDS(cudaDeviceEnablePeerAccess, int, unsigned)
QTUNE_SUCCEEDS(cudaEventCreateWithFlags, cudaEvent_t*, unsigned)
QTUNE_SUCCEEDS(cudaEventDestroy, cudaEvent_t)
QTUNE_SUCCEEDS(cudaEventQuery, cudaEvent_t)
QTUNE_SUCCEEDS(cudaEventRecord, cudaEvent_t, cudaStream_t)
QTUNE_SUCCEEDS(cudaEventSynchronize, cudaEvent_t)
QTUNE_SUCCEEDS(cudaGetLastError)
QTUNE_SUCCEEDS(cudaStreamCreateWithPriority, cudaStream_t*, unsigned, int)
QTUNE_SUCCEEDS(cudaStreamQuery, cudaStream_t)
QTUNE_SUCCEEDS(cudaStreamSynchronize, cudaStream_t)
QTUNE_SUCCEEDS(cudaStreamWaitEvent, cudaStream_t, cudaEvent_t, unsigned)
QTUNE_SUCCEEDS(cudaThreadExchangeStreamCaptureMode, cudaStreamCaptureMode*)

// The loader wants them; the allocator as it is used here never calls them.
#define QTUNE_UNEXPECTED(name, ...) \
  cudaError_t name(__VA_ARGS__) { unexpected(#name); }
QTUNE_UNEXPECTED(cudaDeviceGetDefaultMemPool, cudaMemPool_t*, int)
QTUNE_UNEXPECTED(cudaEventElapsedTime, float*, cudaEvent_t, cudaEvent_t)
QTUNE_UNEXPECTED(cudaFreeAsync, void*, cudaStream_t)
QTUNE_UNEXPECTED(cudaGraphNodeGetDependencies, cudaGraphNode_t, cudaGraphNode_t*, cudaGraphEdgeData*, size_t*)
QTUNE_UNEXPECTED(cudaIpcCloseMemHandle, void*)
QTUNE_UNEXPECTED(cudaIpcGetMemHandle, cudaIpcMemHandle_t*, void*)
QTUNE_UNEXPECTED(cudaIpcOpenMemHandle, void**, cudaIpcMemHandle_t, unsigned)
QTUNE_UNEXPECTED(cudaMallocAsync, void**, size_t, cudaStream_t)
QTUNE_UNEXPECTED(cudaMemPoolGetAttribute, cudaMemPool_t, cudaMemPoolAttr, void*)
QTUNE_UNEXPECTED(cudaMemPoolSetAccess, cudaMemPool_t, const cudaMemAccessDesc*, size_t)
QTUNE_UNEXPECTED(cudaMemPoolSetAttribute, cudaMemPool_t, cudaMemPoolAttr, void*)
QTUNE_UNEXPECTED(cudaMemPoolTrimTo, cudaMemPool_t, size_t)
QTUNE_UNEXPECTED(cudaMemcpy, void*, const void*, size_t, cudaMemcpyKind)
QTUNE_UNEXPECTED(cudaMemcpyAsync, void*, const void*, size_t, cudaMemcpyKind, cudaStream_t)
QTUNE_UNEXPECTED(cudaMemcpyPeerAsync, void*, int, const void*, int, size_t, cudaStream_t)

cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  const struct {
    const char* name;
    void* function;
  } known[] = {{"cuMemAddressReserve", as_pointer(address_reserve)},
               {"cuMemCreate", as_pointer(create)},
               {"cuMemRelease", as_pointer(release)},
               {"cuMemGetAllocationGranularity", as_pointer(granularity)},
               {"cuDeviceGetAttribute", as_pointer(device_attribute)},
               {"cuGetErrorString", as_pointer(error_string)},
               {"cuMemAddressFree", as_pointer(nothing)},
               {"cuMemMap", as_pointer(nothing)},
               {"cuMemUnmap", as_pointer(nothing)},
               {"cuMemSetAccess", as_pointer(nothing)},
               {"cuDevicePrimaryCtxGetState", as_pointer(nothing)}};
  if (result != nullptr) *result = cudaDriverEntryPointSuccess;
  const auto* found =
      std::find_if(std::begin(known), std::end(known), [&](const auto& k) { return std::strcmp(k.name, name) == 0; });
  *function = found == std::end(known) ? as_pointer(unexpected_driver_call) : found->function;
  return cudaSuccess;
}

}  // extern "C"
