// Sizes as transformers' Gemma 4 image processor chooses them, and the resize that it asks torchvision for.
#include "media/image.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <vector>

#include "core/error.h"

namespace gemlet::media {
namespace {

constexpr int64_t kBandRows = 48;
constexpr int64_t kColours = 3;

// What each output position takes from the input: `width` weights from `first` on, of which `count` are in use.
struct Taps {
  std::vector<int64_t> first, count;
  std::vector<int16_t> weights;
  int64_t width = 0;
  int precision = 0;  // a weight of 1 is 1 << precision
  const int16_t* at(int64_t i) const { return weights.data() + i * width; }
};

// Keys' cubic convolution with a = -0.5.
double cubic(double x) {
  constexpr double kA = -0.5;
  x = std::fabs(x);
  if (x < 1) return ((kA + 2) * x - (kA + 3)) * x * x + 1;
  return x < 2 ? ((kA * x - 5 * kA) * x + 8 * kA) * x - 4 * kA : 0;
}

Taps taps_for(int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out), widened = std::max(scale, 1.0);
  const double support = 2 * widened;
  Taps taps;
  taps.width = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  std::vector<double> exact(static_cast<size_t>(out * taps.width));
  double largest = 0;
  for (int64_t i = 0; i < out; ++i) {
    const double center = scale * (static_cast<double>(i) + 0.5);
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
    const int64_t end = std::min(in, static_cast<int64_t>(center + support + 0.5));
    const int64_t count = std::clamp<int64_t>(end - first, 0, taps.width);
    double* w = exact.data() + i * taps.width;
    double total = 0;
    for (int64_t j = 0; j < count; ++j)
      total += w[j] = cubic((static_cast<double>(j + first) - center + 0.5) * (1 / widened));
    for (int64_t j = 0; total != 0 && j < count; ++j) largest = std::max(largest, w[j] /= total);
    taps.first.push_back(first), taps.count.push_back(count);
  }
  while (taps.precision < 22 && static_cast<int>(0.5 + largest * (2 << taps.precision)) < 1 << 15) ++taps.precision;
  taps.weights.reserve(exact.size());
  for (const double w : exact) {
    const double v = w * (1 << taps.precision);
    taps.weights.push_back(static_cast<int16_t>(static_cast<int>(v < 0 ? v - 0.5 : v + 0.5)));
  }
  return taps;
}

uint8_t rounded(int32_t sum, int precision) { return static_cast<uint8_t>(std::clamp(sum >> precision, 0, 255)); }

void resize_row(const Taps& taps, const uint8_t* in, int64_t width, uint8_t* out) {
  const int32_t half = 1 << (taps.precision - 1);
  for (int64_t x = 0; x < width; ++x) {
    const uint8_t* p = in + taps.first[static_cast<size_t>(x)] * kColours;
    const int16_t* w = taps.at(x);
    int32_t red = half, green = half, blue = half;
    for (int64_t j = 0; j < taps.count[static_cast<size_t>(x)]; ++j, p += kColours)
      red += w[j] * p[0], green += w[j] * p[1], blue += w[j] * p[2];
    out[x * kColours] = rounded(red, taps.precision), out[x * kColours + 1] = rounded(green, taps.precision);
    out[x * kColours + 2] = rounded(blue, taps.precision);
  }
}

// One worker's part: rows of the input at the output's width, and sums of one output row.
struct Scratch {
  std::vector<uint8_t> rows;
  std::vector<int32_t> sums;
};

// Output rows [first, end).
void resize_band(const Pixels<const uint8_t>& from, const Pixels<uint8_t>& to, const Taps& across, const Taps& down,
                 int64_t first, int64_t end, Scratch& scratch) {
  const bool across_too = from.size.width != to.size.width, down_too = from.size.height != to.size.height;
  const int64_t bytes = to.size.width * kColours;
  const auto input_first = [&](int64_t y) { return down_too ? down.first[static_cast<size_t>(y)] : y; };
  const auto input_count = [&](int64_t y) { return down_too ? down.count[static_cast<size_t>(y)] : 1; };
  const int64_t low = input_first(first), high = input_first(end - 1) + input_count(end - 1);
  const uint8_t* rows = from.data + low * from.stride;
  int64_t stride = from.stride;
  if (across_too) {
    scratch.rows.resize(static_cast<size_t>((high - low) * bytes));
    for (int64_t r = low; r < high; ++r)
      resize_row(across, from.data + r * from.stride, to.size.width, scratch.rows.data() + (r - low) * bytes);
    rows = scratch.rows.data(), stride = bytes;
  }
  for (int64_t y = first; y < end; ++y) {
    uint8_t* out = to.data + y * to.stride;
    const uint8_t* in = rows + (input_first(y) - low) * stride;
    if (!down_too) {
      std::memcpy(out, in, static_cast<size_t>(bytes));
      continue;
    }
    scratch.sums.assign(static_cast<size_t>(bytes), 1 << (down.precision - 1));
    int32_t* sums = scratch.sums.data();
    for (int64_t j = 0; j < input_count(y); ++j, in += stride) {
      const int32_t w = down.at(y)[j];
      for (int64_t i = 0; i < bytes; ++i) sums[i] += w * in[i];
    }
    for (int64_t i = 0; i < bytes; ++i) out[i] = rounded(sums[i], down.precision);
  }
}

void check_size(ImageSize size) {
  if (size.height < 1 || size.width < 1)
    throw BadArgument(cat("image: expected at least one pixel each way, got ", size.width, " x ", size.height));
}

}  // namespace

ImageSize target_size(ImageSize from, int64_t tokens, int64_t side) {
  check_size(from);
  if (std::find(std::begin(kBudgets), std::end(kBudgets), tokens) == std::end(kBudgets))
    throw BadArgument(cat("image_tokens: expected 70, 140, 280, 560 or 1120, got ", tokens));
  const auto height = static_cast<double>(from.height), width = static_cast<double>(from.width);
  const auto one = static_cast<double>(side);
  const double factor = std::sqrt(static_cast<double>(tokens * side * side) / (height * width));
  ImageSize to{static_cast<int64_t>(std::floor(factor * height / one)) * side,
               static_cast<int64_t>(std::floor(factor * width / one)) * side};
  if (to.height == 0) {
    to = {side, std::min(from.width / from.height, tokens) * side};
  } else if (to.width == 0) {
    to = {std::min(from.height / from.width, tokens) * side, side};
  }
  return to;
}

int64_t smallest_budget(ImageSize from, int64_t side) {
  for (const int64_t tokens : kBudgets) {
    const ImageSize to = target_size(from, tokens, side);
    if (to.height >= from.height && to.width >= from.width) return tokens;
  }
  return std::end(kBudgets)[-1];
}

void resize(const Team& team, const Pixels<const uint8_t>& from, const Pixels<uint8_t>& to) {
  check_size(from.size), check_size(to.size);
  const Taps across = taps_for(from.size.width, to.size.width), down = taps_for(from.size.height, to.size.height);
  std::vector<Scratch> scratch(static_cast<size_t>(team.threads()));
  team.run((to.size.height + kBandRows - 1) / kBandRows, [&](int64_t band, int worker) {
    const int64_t first = band * kBandRows, end = std::min(to.size.height, first + kBandRows);
    resize_band(from, to, across, down, first, end, scratch[static_cast<size_t>(worker)]);
  });
}

}  // namespace gemlet::media
