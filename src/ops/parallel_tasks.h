// Tasks of unequal size over LibTorch's number of threads, each thread with buffers of its own.
#pragma once

#include <ATen/Parallel.h>

#include <cstdint>
#include <exception>

namespace qtune {

/// body(task, buffers) for each task from 0 to count - 1, in any order. What a task throws is thrown here when all have
/// ended (no exception may leave a parallel region: the process would abort without a word).
template <class Buffers, class Body>
void run_tasks(int64_t count, const Body& body) {
  std::exception_ptr fault;
#pragma omp parallel num_threads(at::get_num_threads())
  {
    Buffers buffers;
#pragma omp for schedule(dynamic, 1)
    for (int64_t task = 0; task < count; ++task) {
      try {
        body(task, buffers);
      } catch (...) {
#pragma omp critical
        fault = std::current_exception();
      }
    }
  }
  if (fault) std::rethrow_exception(fault);
}

}  // namespace qtune
