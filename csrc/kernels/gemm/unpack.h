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
inline void store_transposed(const __m256* rows, float* out, int64_t stride) {
  __m256i v[8];
  for (int r = 0; r < 8; ++r) v[r] = _mm256_castps_si256(rows[r]);
  transpose8(v);
  for (int j = 0; j < 8; ++j) _mm256_storeu_ps(out + j * stride, _mm256_castsi256_ps(v[j]));
}

// Eight rows, one group of eight blocks.
template <class F>
void unpack_group(const uint8_t* const* g, uint8_t* q, float* scale, float* min) {
  unpack_block<F, 0>(g, q), unpack_block<F, 1>(g, q), unpack_block<F, 2>(g, q), unpack_block<F, 3>(g, q);
  unpack_block<F, 4>(g, q), unpack_block<F, 5>(g, q), unpack_block<F, 6>(g, q), unpack_block<F, 7>(g, q);
  __m256 scales[F::kScales][8], mins[8];
  for (int r = 0; r < 8; ++r) {
    __m256 s[2];
    F::scales(g[r], s);
    for (int k = 0; k < F::kScales; ++k) scales[k][r] = s[k];
    if (F::kHasMin) mins[r] = F::mins(g[r]);
  }
  for (int k = 0; k < F::kScales; ++k)
    store_transposed(scales[k], scale + k * kPanelRows, int64_t{F::kScales} * kPanelRows);
  if (F::kHasMin) store_transposed(mins, min, kPanelRows);
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
      unpack_group<F>(g, panel.q + group * 8 * kPanelBlock + half * 32,
                      panel.scale + group * 8 * F::kScales * kPanelRows + half * 8,
                      F::kHasMin ? panel.min + group * 8 * kPanelRows + half * 8 : nullptr);
    }
  }
}

}  // namespace
}  // namespace gemlet::kernels
