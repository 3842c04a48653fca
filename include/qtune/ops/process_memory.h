// What the libraries below keep in memory for themselves.
#pragma once

namespace qtune {

/// Keeps LibTorch's caches of compiled matrix products and malloc's stock of freed blocks small. Packed batches differ
/// in their number of rows, so nearly every one brings new products: LibTorch would keep the last 1,024 of each kind,
/// which is a gigabyte after some hundred batches, to save about 5 % of the time. Called first in main(), before any
/// product. What the user has set in the environment (LRU_CACHE_CAPACITY, ONEDNN_PRIMITIVE_CACHE_CAPACITY,
/// MALLOC_MMAP_THRESHOLD_) stays.
void limit_library_memory();

}  // namespace qtune
