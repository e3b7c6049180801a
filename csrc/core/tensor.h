// Arrays without ownership (Rows) and the aligned, grow-only memory behind them (Buffer).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace gemlet {

// rows x cols, row r at data + r * stride.
template <class T>
struct Rows {
  T* data = nullptr;
  int64_t rows = 0, cols = 0, stride = 0;

  Rows() = default;
  Rows(T* d, int64_t r, int64_t c) : data(d), rows(r), cols(c), stride(c) {}
  Rows(T* d, int64_t r, int64_t c, int64_t s) : data(d), rows(r), cols(c), stride(s) {}
  operator Rows<const T>() const { return {data, rows, cols, stride}; }  // NOLINT: a view may lose its write access

  T* row(int64_t r) const { return data + r * stride; }
};

// Memory for n elements, 64-byte aligned, uninitialised; grows, never shrinks. Throws std::bad_alloc.
template <class T>
class Buffer {
 public:
  T* reserve(int64_t n) {
    if (n > size_) {
      const size_t bytes = (static_cast<size_t>(n) * sizeof(T) + 63) / 64 * 64;
      void* fresh = std::aligned_alloc(64, bytes);
      if (fresh == nullptr) throw std::bad_alloc();
      memory_.reset(static_cast<T*>(fresh));
      size_ = n;
    }
    return memory_.get();
  }
  Rows<T> rows(int64_t r, int64_t c) { return Rows<T>(reserve(r * c), r, c); }
  T* data() const { return memory_.get(); }
  size_t bytes() const { return static_cast<size_t>(size_) * sizeof(T); }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> memory_;
  int64_t size_ = 0;
};

}  // namespace gemlet
