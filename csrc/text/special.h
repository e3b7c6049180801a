// Finds special pieces (control, user-defined) written out in raw text: leftmost first, and the longest at each place.
// Knows nothing of merging; the text between two matches is the tokenizer's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace gemlet::text {

class SpecialMatcher {
 public:
  struct Match {
    size_t begin = 0, size = 0;  // size 0: no match, and begin is the end of the text
    int32_t id = -1;
  };

  // `pieces` must outlive the matcher; `ids`: which of them are special, each once. Empty pieces are left out.
  SpecialMatcher(const std::vector<std::string_view>& pieces, std::vector<int32_t> ids);

  Match next(std::string_view text, size_t begin) const;
  bool empty() const { return sorted_.empty(); }

 private:
  std::string_view piece(size_t rank) const { return pieces_[static_cast<size_t>(sorted_[rank])]; }
  bool may_start(uint8_t first, uint8_t second) const {
    return (pairs_[(first << 2U) | (second >> 6U)] >> (second & 63U) & 1U) != 0;
  }
  Match longest_at(std::string_view text, size_t begin) const;

  const std::string_view* pieces_;
  std::vector<int32_t> sorted_;         // ids by the bytes of their pieces
  std::array<uint32_t, 257> first_{};   // where in sorted_ the pieces with this first byte begin
  std::array<uint64_t, 1024> pairs_{};  // bit (first byte, second byte): a piece may begin so
  std::array<bool, 256> alone_{};       // this byte by itself is a piece
};

}  // namespace gemlet::text
