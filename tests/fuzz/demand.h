// What the targets of the file readers share: a claim that must hold, and reading every byte of what was accepted.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string_view>

inline void demand(bool holds) {
  if (!holds) std::abort();
}

// Every byte is read, so that the sanitizers see a view that leaves the file.
inline uint64_t sum_of(std::string_view text) {
  uint64_t sum = 0;
  for (const char c : text) sum += static_cast<unsigned char>(c);
  return sum;
}

// So that no read is optimised away.
inline void keep(uint64_t sum) {
  volatile uint64_t kept = sum;
  (void)kept;
}
