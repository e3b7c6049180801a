// Pictures as arrays of 8-bit RGB: the size that a budget of tokens allows, and the resize to it. Knows no file formats
// and no model; what a patch is, others say.
#pragma once

#include <cstdint>

#include "core/parallel.h"

namespace gemlet::media {

struct ImageSize {
  int64_t height = 0, width = 0;
};

// (height, width, 3), a row `stride` bytes after the last.
template <class Byte>
struct Pixels {
  Byte* data = nullptr;
  ImageSize size;
  int64_t stride = 0;
};

inline constexpr int64_t kBudgets[] = {70, 140, 280, 560, 1120};  // tokens of one picture

// The largest size of whole squares of `side` pixels that has at most `tokens` of them and about the same shape; small
// pictures grow. Throws BadArgument for an empty picture or a budget that is none.
ImageSize target_size(ImageSize from, int64_t tokens, int64_t side);
// The smallest budget whose size is no smaller than the picture, or the largest there is.
int64_t smallest_budget(ImageSize from, int64_t side);

// Bicubic, with the kernel widened by the factor where the picture shrinks: bit for bit what torchvision's resize of 8-bit
// pictures computes (16-bit weights, the width first, rounded to 8 bits in between). Rows are worked on in bands: beside the
// two pictures it needs some hundred rows of memory a thread.
void resize(const Team& team, const Pixels<const uint8_t>& from, const Pixels<uint8_t>& to);

}  // namespace gemlet::media
