// Sound at 16 kHz as the log-mel frames that Whisper hears: 30 seconds, 25 ms under a Hann window, every 10 ms, 80 or 128
// bands (Radford et al. 2022, 2.2). Knows no file formats and no model.
#pragma once

#include <cstdint>
#include <vector>

#include "core/parallel.h"

namespace gemlet::media {

inline constexpr int64_t kWhisperSamples = 480000;  // 30 s at 16 kHz
inline constexpr int64_t kWhisperFrames = 3000, kWhisperHop = 160, kWhisperWindow = 400;

// The tables of one number of bands; read-only once made, so that threads may share it.
class WhisperMel {
 public:
  explicit WhisperMel(int64_t bands);
  int64_t bands() const { return bands_; }
  // frames (3000, bands) <- (log10 of the bands' energies, at most 8 below the greatest, + 4) / 4. samples: at most 30 s,
  // silence after them. All in double.
  void frames(const Team& team, const float* samples, int64_t count, float* frames) const;

 private:
  static constexpr int kPoints = 400, kHalf = kPoints / 2, kTogether = 4;  // frames that are transformed together
  struct Stage {
    int radix, parts, stride;      // of what is left, `parts` times `radix` points lie `stride` apart
    std::vector<double> cos, sin;  // (parts, radix) of 2 pi p j / (parts radix)
  };
  struct Band {
    int first = 0, count = 0, weights = 0;  // bins [first, first + count), from weights_[weights] on
  };
  struct Scratch;
  void energies(const float* samples, int64_t count, int64_t first, Scratch& s) const;
  void group(const float* samples, int64_t count, int64_t first, Scratch& s, float* frames) const;

  int64_t bands_;
  std::vector<double> window_, cos_, sin_;  // of 2 pi k / 400
  std::vector<Stage> stages_;
  std::vector<Band> filters_;
  std::vector<double> weights_;
};

}  // namespace gemlet::media
