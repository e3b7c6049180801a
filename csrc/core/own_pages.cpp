// Private anonymous mappings; the system makes one of neighbours, so many small ones are no burden.
#include "core/own_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace gemlet {

std::shared_ptr<std::byte> own_pages(size_t bytes) {
  const size_t size = std::max(bytes, size_t{1});
  void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  return {static_cast<std::byte*>(mapped), [size](std::byte* p) { ::munmap(p, size); }};
}

}  // namespace gemlet
