// Shared memory of the block that runs now. Kernels reach it through SharedPtr and its element proxies, so that each
// access can be held against what the block did before: written at all, inside its array, no race.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <tuple>
#include <type_traits>
#include <vector>

#include "simt/block.h"

namespace qtune::simt {

enum class Access { kRead, kWrite, kAtomic };

/// An array in shared memory, as declared.
struct SharedRegion {
  const char* name = "";
  size_t begin = 0, bytes = 0;
};

class SharedMemory {
 public:
  /// Forgets all contents. The first `dynamic_bytes` are the launch's dynamic shared memory.
  void start_block(size_t dynamic_bytes);
  void pass_barrier() { ++epoch_; }
  bool holds(const void* address) const { return address >= bytes_.data() && address < bytes_.data() + bytes_.size(); }

  /// The array declared at this line; made by the first thread that comes by.
  const SharedRegion* declare(const char* name, size_t bytes, Location at);
  const SharedRegion* dynamic(const char* name);

  /// Checks an access to bytes [offset, offset + bytes) of the region and returns where they lie.
  unsigned char* access(const SharedRegion& region, int64_t offset, size_t bytes, Access kind, Location at);

 private:
  struct Event {
    uint64_t epoch = 0;  // 0: never. Counts barriers and blocks.
    Location at;
    uint32_t clock = 0;
    uint16_t thread = 0;
    bool atomic = false;
  };
  /// Last accesses of one byte. Of the readers: the last one, the last one of another lane of its warp, the last one of
  /// another warp; so a writer of any thread finds a reader that is not itself.
  struct Byte {
    Event writer, reader, lane_reader, warp_reader;
  };

  void check_race(const Byte& byte, const Event& now, Access kind, const SharedRegion& region, size_t offset) const;
  bool conflicts(const Event& before, const Event& now) const;
  static void remember_read(Byte& byte, const Event& now);

  std::vector<unsigned char> bytes_;
  std::vector<Byte> history_;
  std::map<std::tuple<const char*, int, const char*, size_t>, SharedRegion> arrays_;
  SharedRegion dynamic_;
  size_t used_ = 0;
  uint64_t epoch_ = 1, first_epoch_ = 1;
};

SharedMemory& shared_memory();

/// An index, with the line it is written on.
struct SharedIndex {
  int64_t value;
  Location at;
  template <class I, class = std::enable_if_t<std::is_integral_v<I>>>
  SharedIndex(I i, const char* file = __builtin_FILE(), int line = __builtin_LINE())  // NOLINT: implicit by design
      : value(static_cast<int64_t>(i)), at{file, line} {}
};

template <class T>
class SharedPtr;

/// One element: reads where a T is wanted, writes when assigned to.
template <class T>
class SharedRef {
 public:
  SharedRef(const SharedRegion* region, int64_t offset, Location at) : region_(region), offset_(offset), at_(at) {}
  SharedRef(const SharedRef&) = default;

  operator T() const { return read(); }  // NOLINT: implicit by design
  SharedRef& operator=(const T& value) {
    std::memcpy(shared_memory().access(*region_, offset_, sizeof(T), Access::kWrite, at_), &value, sizeof(T));
    return *this;
  }
  SharedRef& operator=(const SharedRef& other) { return *this = other.read(); }
  template <class U>
  SharedRef& operator+=(const U& value) {
    return *this = static_cast<T>(read() + value);
  }
  template <class U>
  SharedRef& operator-=(const U& value) {
    return *this = static_cast<T>(read() - value);
  }
  template <class U>
  SharedRef& operator*=(const U& value) {
    return *this = static_cast<T>(read() * value);
  }
  template <class U>
  SharedRef& operator|=(const U& value) {
    return *this = static_cast<T>(read() | value);
  }
  SharedPtr<T> operator&() const { return SharedPtr<T>(region_, offset_, at_); }

 private:
  T read() const {
    T value;
    std::memcpy(static_cast<void*>(&value), shared_memory().access(*region_, offset_, sizeof(T), Access::kRead, at_),
                sizeof(T));
    return value;
  }

  const SharedRegion* region_;
  int64_t offset_;
  Location at_;
};

/// T* into shared memory; stays inside the array it was made from.
template <class T>
class SharedPtr {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  SharedPtr() = default;
  SharedPtr(const SharedRegion* region, int64_t offset, Location at = {}) : region_(region), offset_(offset), at_(at) {}

  SharedRef<T> operator[](SharedIndex i) const { return {region_, offset_ + i.value * kSize, i.at}; }
  SharedRef<T> operator*() const { return {region_, offset_, at_}; }
  SharedPtr operator+(SharedIndex i) const { return {region_, offset_ + i.value * kSize, i.at}; }
  SharedPtr operator-(SharedIndex i) const { return {region_, offset_ - i.value * kSize, i.at}; }
  SharedPtr& operator+=(SharedIndex i) { return *this = *this + i; }

  template <class U>
  SharedPtr<U> as() const {
    return SharedPtr<U>(region_, offset_, at_);
  }
  int64_t byte_offset() const { return static_cast<int64_t>(region_->begin) + offset_; }
  Location at() const { return at_; }

  /// For atomics: the element itself, after the checks.
  T* atomic_access(Location at) const {
    return reinterpret_cast<T*>(shared_memory().access(*region_, offset_, sizeof(T), Access::kAtomic, at));
  }

 private:
  static constexpr int64_t kSize = sizeof(T);

  const SharedRegion* region_ = nullptr;
  int64_t offset_ = 0;  // bytes from the region's begin; may lie outside until it is accessed
  Location at_;
};

template <class T>
SharedPtr<T> shared_array(const char* name, size_t count, const char* file, int line) {
  return {shared_memory().declare(name, count * sizeof(T), {file, line}), 0, {file, line}};
}

template <class T>
SharedPtr<T> dynamic_shared_array(const char* name) {
  return {shared_memory().dynamic(name), 0};
}

}  // namespace qtune::simt
