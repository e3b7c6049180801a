// A real transform of 512 points as a complex one of 256, then triangles that are linear in hertz between points that are
// even in mel (HTK's formula).
#include "media/mel.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gemlet::media {
namespace {

constexpr double kFloor = 0.001;  // added, not a bound

double to_mel(double hertz) { return 2595.0 * std::log10(1.0 + hertz / 700.0); }
double to_hertz(double mel) { return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0); }

}  // namespace

LogMel::LogMel() {
  constexpr double kTurn = 2 * std::numbers::pi;
  for (int k = 0; k < kMelWindow; ++k)  // rounded as the reference's table is
    window_[static_cast<size_t>(k)] = static_cast<float>(0.5 - 0.5 * std::cos(kTurn * k / kMelWindow));
  for (int k = 0; k < kHalf; ++k) {
    const auto i = static_cast<size_t>(k);
    cos_[i] = std::cos(kTurn * k / kPoints), sin_[i] = std::sin(kTurn * k / kPoints);
    int reversed = 0;
    for (int bit = 0; bit < 8; ++bit) reversed |= (k >> bit & 1) << (7 - bit);
    turned_[i] = static_cast<uint8_t>(reversed);
  }
  std::array<double, kMelBands + 2> points{};
  const double top = to_mel(kSoundRate / 2.0);
  for (size_t i = 0; i < points.size(); ++i) points[i] = to_hertz(top * static_cast<double>(i) / (kMelBands + 1));
  for (size_t m = 0; m < bands_.size(); ++m) {
    Band& band = bands_[m];
    band.weights = static_cast<int>(weights_.size());
    for (int bin = 0; bin <= kHalf; ++bin) {
      const double hertz = static_cast<double>(bin) * kSoundRate / kPoints;
      const double weight = std::min((hertz - points[m]) / (points[m + 1] - points[m]),
                                     (points[m + 2] - hertz) / (points[m + 2] - points[m + 1]));
      if (weight <= 0) continue;
      if (band.count++ == 0) band.first = bin;
      weights_.push_back(weight);
    }
  }
}

// Even samples are the real parts, odd ones the imaginary; the two spectra are taken apart at the end.
void LogMel::spectrum(const double* windowed, double* magnitudes) const {
  std::array<double, kHalf> re{}, im{};
  for (size_t i = 0; i < kMelWindow / 2; ++i) {
    re[turned_[i]] = windowed[2 * i], im[turned_[i]] = windowed[2 * i + 1];
  }
  for (size_t half = 1; half < kHalf; half *= 2) {
    const size_t step = kHalf / half;  // of the table for 512 points
    for (size_t from = 0; from < kHalf; from += 2 * half) {
      for (size_t k = 0; k < half; ++k) {
        const size_t a = from + k, b = a + half;
        const double c = cos_[k * step], s = sin_[k * step];
        const double x = re[b] * c + im[b] * s, y = im[b] * c - re[b] * s;
        re[b] = re[a] - x, im[b] = im[a] - y;
        re[a] += x, im[a] += y;
      }
    }
  }
  magnitudes[0] = std::abs(re[0] + im[0]);
  magnitudes[kHalf] = std::abs(re[0] - im[0]);
  for (size_t k = 1; k < kHalf; ++k) {
    const size_t other = kHalf - k;
    const double even_re = 0.5 * (re[k] + re[other]), even_im = 0.5 * (im[k] - im[other]);
    const double odd_re = 0.5 * (im[k] + im[other]), odd_im = 0.5 * (re[other] - re[k]);
    const double x = even_re + odd_re * cos_[k] + odd_im * sin_[k];
    const double y = even_im + odd_im * cos_[k] - odd_re * sin_[k];
    magnitudes[k] = std::sqrt(x * x + y * y);
  }
}

void LogMel::frame(const float* samples, float* bands) const {
  std::array<double, kMelWindow> windowed{};
  for (size_t i = 0; i < windowed.size(); ++i) windowed[i] = static_cast<double>(samples[i]) * window_[i];
  std::array<double, kHalf + 1> magnitudes{};
  spectrum(windowed.data(), magnitudes.data());
  for (size_t m = 0; m < bands_.size(); ++m) {
    const Band& band = bands_[m];
    double sum = kFloor;
    for (int i = 0; i < band.count; ++i)
      sum += magnitudes[static_cast<size_t>(band.first + i)] * weights_[static_cast<size_t>(band.weights + i)];
    bands[m] = static_cast<float>(std::log(sum));
  }
}

void MelStream::feed(const Team& team, const float* samples, int64_t count, std::vector<float>& frames) {
  constexpr int64_t kFramesPerTask = 16;
  waiting_.insert(waiting_.end(), samples, samples + count);
  const auto size = static_cast<int64_t>(waiting_.size());
  const int64_t whole = size > kMelWindow ? (size - kMelWindow - 1) / kMelHop + 1 : 0;
  const size_t before = frames.size();
  frames.resize(before + static_cast<size_t>(whole * kMelBands));
  team.run((whole + kFramesPerTask - 1) / kFramesPerTask, [&](int64_t task, int) {
    const int64_t end = std::min(whole, (task + 1) * kFramesPerTask);
    for (int64_t i = task * kFramesPerTask; i < end; ++i)
      mel_.frame(waiting_.data() + i * kMelHop, frames.data() + before + static_cast<size_t>(i * kMelBands));
  });
  waiting_.erase(waiting_.begin(), waiting_.begin() + whole * kMelHop);
}

}  // namespace gemlet::media
