// Unpacking of 16 weight rows into a panel, with 256-bit vectors, for every set that has them: a panel is used for many
// tokens, so its unpacking is a small share. `PanelDot` of the including file's set says which bytes it wants.
#pragma once

namespace gemlet::kernels {
namespace {

constexpr int64_t kPanelBlock = 8 * kPanelRows * 4;  // bytes of a block of 32 for 16 rows

template <class F, int J>
void unpack_block(const uint8_t* const* g, uint8_t* q) {
  __m256i v[8];
  for (int r = 0; r < 8; ++r) v[r] = PanelDot::template panel_bytes<F>(F::template u<J>(g[r]));
  transpose8(v);
  for (int i = 0; i < 8; ++i)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + J * kPanelBlock + i * kPanelRows * 4), v[i]);
}

// Lanes are blocks in `rows`, rows in the panel.
inline void store_transposed(__m256i* rows, void* out, int64_t stride) {
  transpose8(rows);
  for (int j = 0; j < 8; ++j)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(static_cast<int32_t*>(out) + j * stride), rows[j]);
}

// Eight rows, one group of eight blocks.
template <class F>
void unpack_group(const uint8_t* const* g, const Panel& to) {
  uint8_t* const q = to.q;
  unpack_block<F, 0>(g, q), unpack_block<F, 1>(g, q), unpack_block<F, 2>(g, q), unpack_block<F, 3>(g, q);
  unpack_block<F, 4>(g, q), unpack_block<F, 5>(g, q), unpack_block<F, 6>(g, q), unpack_block<F, 7>(g, q);
  __m256i rows[8];
  for (int r = 0; r < 8; ++r) rows[r] = _mm256_castps_si256(F::template scales<8>(g[r]));
  store_transposed(rows, to.scale, kPanelRows);
  if constexpr (F::kHasMin) {
    for (int r = 0; r < 8; ++r) rows[r] = _mm256_castps_si256(F::mins(g[r]));
    store_transposed(rows, to.min, kPanelRows);
  }
  if constexpr (F::kHasHalves) {
    __m256i second[8];
    for (int r = 0; r < 8; ++r) {
      __m256i s[2];
      F::halves(g[r], s);
      rows[r] = PanelDot::half_scale(s[0]), second[r] = PanelDot::half_scale(s[1]);
    }
    store_transposed(rows, to.halves, 2 * kPanelRows);
    store_transposed(second, to.halves + kPanelRows, 2 * kPanelRows);
  }
}

template <class F>
void unpack(const uint8_t* w, size_t row_bytes, int64_t rows, int64_t blocks, const Panel& panel) {
  constexpr size_t kBlockBytes = F::kGroupBytes / 8;
  uint8_t padded[8][F::kGroupBytes + 32] = {};  // the rows' last blocks, padded with zero blocks
  for (int half = 0; half < 2; ++half) {
    for (int64_t group = 0; group * 8 < blocks; ++group) {
      const int64_t left = blocks - group * 8;
      const uint8_t* g[8];
      for (int64_t i = 0; i < 8; ++i) {
        const int64_t r = half * 8 + i < rows ? half * 8 + i : rows - 1;
        g[i] = w + static_cast<size_t>(r) * row_bytes + static_cast<size_t>(group) * F::kGroupBytes;
        if (left < 8) {
          std::memcpy(padded[i], g[i], static_cast<size_t>(left) * kBlockBytes);
          g[i] = padded[i];
        }
      }
      const int64_t at = group * 8 * kPanelRows + half * 8;
      unpack_group<F>(
          g, {panel.q + group * 8 * kPanelBlock + half * 32, panel.scale + at, F::kHasMin ? panel.min + at : nullptr,
              F::kHasHalves ? panel.halves + at + group * 8 * kPanelRows : nullptr});
    }
  }
}

}  // namespace
}  // namespace gemlet::kernels
