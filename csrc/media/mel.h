// Sound at 16 kHz as log-mel frames, as Gemma 4 hears it: 20 ms under a Hann window, every 10 ms, 128 bands. Knows no file
// formats and no model.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/parallel.h"

namespace gemlet::media {

inline constexpr int64_t kSoundRate = 16000;  // samples a second
inline constexpr int64_t kMelBands = 128;
inline constexpr int64_t kMelHop = 160, kMelWindow = 320;

// Frames of n samples: those whose whole window, and the sample after it, are there. The first window begins 160 samples
// before the sound, in silence.
inline int64_t mel_frames(int64_t samples) { return samples > kMelHop ? (samples - kMelHop - 1) / kMelHop + 1 : 0; }

// The tables of one transform; read-only once made, so that threads may share it.
class LogMel {
 public:
  LogMel();
  // bands (128) <- ln(0.001 + magnitudes of the spectrum under triangles) of samples (320). All in double.
  void frame(const float* samples, float* bands) const;

 private:
  static constexpr int kPoints = 512, kHalf = kPoints / 2;
  struct Band {
    int first = 0, count = 0, weights = 0;  // bins [first, first + count), from weights_[weights] on
  };
  void spectrum(const double* windowed, double* magnitudes) const;
  std::array<double, kMelWindow> window_{};
  std::array<double, kHalf> cos_{}, sin_{};  // of 2 pi k / 512
  std::array<uint8_t, kHalf> turned_{};      // bits of k in reverse
  std::array<Band, kMelBands> bands_{};
  std::vector<double> weights_;
};

// The same of a sound that comes in pieces: however it is cut, the frames are the same bits.
class MelStream {
 public:
  explicit MelStream(const LogMel& mel) : mel_(mel), waiting_(kMelHop, 0.0F) {}
  // Appends to frames (n, 128) those that the samples complete.
  void feed(const Team& team, const float* samples, int64_t count, std::vector<float>& frames);

 private:
  const LogMel& mel_;
  std::vector<float> waiting_;  // from the beginning of the next window on
};

}  // namespace gemlet::media
