// Writing keys and values into pages: floats row by row, or blocks of bytes in the order of kernels/attend/byte_page.h.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "codec/half.h"
#include "kernels/attend/byte_page.h"
#include "ops/ops.h"

namespace gemlet::ops {
namespace {

using kernels::BytePlace;
using kernels::kBlock;

// To the nearest whole number, halves to the even one, as nearbyint; exact below 2^22, and no call.
float nearest(float v) {
  constexpr float kShift = 12582912.0F;  // 1.5 * 2^23: above it floats have no fraction
  return (v + kShift) - kShift;
}

// x (32) -> bytes x / scale, the scale rounded to binary16 first, so that the bytes fit the scale that is stored.
void store_block(const float* x, const BytePlace& place, uint8_t* head) {
  float most = 0;
  bool finite = true;
  for (int i = 0; i < kBlock; ++i) {
    finite = finite && std::isfinite(x[i]);
    most = std::max(most, std::fabs(x[i]));
  }
  uint16_t bits = codec::float_to_half(most / 127.0F);
  const float scale = codec::half_to_float(bits);
  finite = finite && std::isfinite(scale);
  if (!finite) bits = 0x7E00;  // NaN
  std::memcpy(head + place.scale, &bits, 2);
  const float to_integer = finite && scale > 0 ? 1.0F / scale : 0;
  for (int i = 0; i < kBlock; ++i) {
    const float q = to_integer > 0 ? std::clamp(nearest(x[i] * to_integer), -127.0F, 127.0F) : 0;
    head[place.of(i)] = static_cast<uint8_t>(static_cast<int8_t>(q));
  }
}

template <class Place>
void store(const kernels::Table& kernels, const KvPages& kv, const float* row, int64_t slot, uint8_t* head,
           const Place& place) {
  if (kv.type == KvType::F16) {
    kernels.narrow_f16(row, kv.used, reinterpret_cast<uint16_t*>(head) + slot * kv.channels);
  } else if (kv.type == KvType::F32) {
    std::memcpy(reinterpret_cast<float*>(head) + slot * kv.channels, row, static_cast<size_t>(kv.used) * sizeof(float));
  } else {
    const int64_t blocks = kv.channels / kBlock;
    for (int64_t b = 0; b < blocks; ++b) {
      float x[kBlock] = {};
      std::copy(row + b * kBlock, row + std::min(kv.used, (b + 1) * kBlock), x);
      store_block(x, place(slot, b, blocks), head);
    }
  }
}

}  // namespace

int64_t stored_channels(KvType type, int64_t used) {
  const int64_t multiple = type == KvType::Q8_0 ? kBlock : 8;
  return (used + multiple - 1) / multiple * multiple;
}

size_t head_bytes(KvType type, int64_t channels) {
  const auto elements = static_cast<size_t>(kernels::kPageKeys * channels);
  if (type == KvType::Q8_0) return elements / kBlock * (kBlock + 2);
  return elements * (type == KvType::F16 ? 2 : 4);
}

void store_key(const kernels::Table& kernels, const KvPages& kv, const float* row, int64_t slot, uint8_t* head) {
  store(kernels, kv, row, slot, head, kernels::key_place);
}

void store_value(const kernels::Table& kernels, const KvPages& kv, const float* row, int64_t slot, uint8_t* head) {
  store(kernels, kv, row, slot, head, [](int64_t j, int64_t block, int64_t) { return kernels::value_place(j, block); });
}

void load_key(const kernels::Table& kernels, const KvPages& kv, const uint8_t* head, int64_t slot, float* row) {
  if (kv.type == KvType::F16) {
    kernels.widen_f16(reinterpret_cast<const uint16_t*>(head) + slot * kv.channels, kv.used, row);
  } else if (kv.type == KvType::F32) {
    std::memcpy(row, reinterpret_cast<const float*>(head) + slot * kv.channels,
                static_cast<size_t>(kv.used) * sizeof(float));
  } else {
    for (int64_t c = 0; c < kv.used; ++c) {
      const BytePlace place = kernels::key_place(slot, c / kBlock, kv.channels / kBlock);
      uint16_t scale = 0;
      std::memcpy(&scale, head + place.scale, 2);
      row[c] = codec::half_to_float(scale) * static_cast<float>(static_cast<int8_t>(head[place.of(c % kBlock)]));
    }
  }
}

}  // namespace gemlet::ops
