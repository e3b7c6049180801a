// A real transform of 400 points as a complex one of 200, in stages of 5, 5, 4 and 2 (Stockham's order: no bits to turn);
// a few frames side by side, so that every loop has neighbours. Then Slaney's triangles: linear below 1 kHz, logarithmic
// above, each with the same area.
#include "media/whisper_mel.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>

namespace gemlet::media {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;
constexpr double kFloor = 1e-10;
constexpr double kRate = 16000;
constexpr double kLinear = 200.0 / 3;            // hertz a mel below 1 kHz
constexpr double kBreak = 1000, kBreakMel = 15;  // where it becomes logarithmic
const double kLogStep = std::log(6.4) / 27;      // a mel above
constexpr int64_t kGroupsPerTask = 8;

double to_mel(double hertz) {
  return hertz < kBreak ? hertz / kLinear : kBreakMel + std::log(hertz / kBreak) / kLogStep;
}
double to_hertz(double mel) {
  return mel < kBreakMel ? mel * kLinear : kBreak * std::exp(kLogStep * (mel - kBreakMel));
}

struct Pair {
  double re, im;
};
inline Pair operator+(Pair a, Pair b) { return {a.re + b.re, a.im + b.im}; }
inline Pair operator-(Pair a, Pair b) { return {a.re - b.re, a.im - b.im}; }
inline Pair operator*(double f, Pair a) { return {f * a.re, f * a.im}; }
inline Pair minus_i(Pair a) { return {a.im, -a.re}; }
inline Pair times(Pair a, double c, double s) { return {a.re * c + a.im * s, a.im * c - a.re * s}; }

// Transforms of 2, 4 and 5 points, in place.
inline void transform(std::array<Pair, 2>& x) {
  const Pair a = x[0];
  x[0] = a + x[1], x[1] = a - x[1];
}
inline void transform(std::array<Pair, 4>& x) {
  const Pair a = x[0] + x[2], b = x[0] - x[2], c = x[1] + x[3], d = minus_i(x[1] - x[3]);
  x = {a + c, b + d, a - c, b - d};
}
inline void transform(std::array<Pair, 5>& x) {
  constexpr double kC1 = 0.30901699437494742410, kC2 = -0.80901699437494742410;
  constexpr double kS1 = 0.95105651629515357212, kS2 = 0.58778525229247312917;
  const Pair a = x[1] + x[4], b = x[2] + x[3], c = x[1] - x[4], d = x[2] - x[3];
  const Pair e = x[0] + kC1 * a + kC2 * b, f = x[0] + kC2 * a + kC1 * b;
  const Pair g = minus_i(kS1 * c + kS2 * d), h = minus_i(kS2 * c - kS1 * d);
  x = {x[0] + a + b, e + g, f + h, f - h, e - g};
}

// One stage: point p + parts k of each of `stride` interleaved rows -> point radix p + j.
template <size_t kRadix>
void run_stage(int parts, int stride, const double* cos, const double* sin, const double* re, const double* im,
               double* out_re, double* out_im) {
  for (int p = 0; p < parts; ++p, cos += kRadix, sin += kRadix) {
    for (int q = 0; q < stride; ++q) {
      std::array<Pair, kRadix> x{};
      for (size_t k = 0; k < kRadix; ++k) {
        const size_t at = static_cast<size_t>(q + stride * (p + parts * static_cast<int>(k)));
        x[k] = {re[at], im[at]};
      }
      transform(x);
      for (size_t j = 0; j < kRadix; ++j) {
        const size_t at = static_cast<size_t>(q + stride * (static_cast<int>(kRadix) * p + static_cast<int>(j)));
        const Pair turned = times(x[j], cos[j], sin[j]);
        out_re[at] = turned.re, out_im[at] = turned.im;
      }
    }
  }
}

}  // namespace

struct WhisperMel::Scratch {
  std::array<double, kHalf * kTogether> re, im, other_re, other_im;
  std::array<double, (kHalf + 1) * kTogether> energy;
};

WhisperMel::WhisperMel(int64_t bands) : bands_(bands) {
  for (int k = 0; k < kPoints; ++k) {
    window_.push_back(0.5 - 0.5 * std::cos(kTurn * k / kPoints));
    cos_.push_back(std::cos(kTurn * k / kPoints)), sin_.push_back(std::sin(kTurn * k / kPoints));
  }
  int left = kHalf, stride = kTogether;
  for (const int radix : {5, 5, 4, 2}) {
    Stage s{radix, left / radix, stride, {}, {}};
    for (int p = 0; p < s.parts; ++p)
      for (int j = 0; j < radix; ++j)
        s.cos.push_back(std::cos(kTurn * p * j / left)), s.sin.push_back(std::sin(kTurn * p * j / left));
    stages_.push_back(std::move(s));
    left /= radix, stride *= radix;
  }
  const auto count = static_cast<size_t>(bands);
  std::vector<double> points(count + 2);
  const double top = to_mel(kRate / 2);
  for (size_t i = 0; i < points.size(); ++i)
    points[i] = to_hertz(top * static_cast<double>(i) / static_cast<double>(count + 1));
  for (size_t m = 0; m < count; ++m) {
    Band band;
    band.weights = static_cast<int>(weights_.size());
    const double height = 2 / (points[m + 2] - points[m]);
    for (int bin = 0; bin <= kHalf; ++bin) {
      const double hertz = bin * kRate / kPoints;
      const double weight = std::min((hertz - points[m]) / (points[m + 1] - points[m]),
                                     (points[m + 2] - hertz) / (points[m + 2] - points[m + 1]));
      if (weight <= 0) continue;
      if (band.count++ == 0) band.first = bin;
      weights_.push_back(weight * height);
    }
    filters_.push_back(band);
  }
}

// Energies of kTogether frames from `first` on. Even samples are the real parts, odd ones the imaginary; the two spectra
// are taken apart at the end. A frame's middle is at 160 times its number; the sound is mirrored at both its ends.
void WhisperMel::energies(const float* samples, int64_t count, int64_t first, Scratch& s) const {
  for (int64_t f = 0; f < kTogether; ++f) {
    const int64_t begin = (first + f) * kWhisperHop - kWhisperWindow / 2;
    const auto sample = [&](int64_t i) {
      int64_t at = std::abs(begin + i);
      if (at >= kWhisperSamples) at = 2 * (kWhisperSamples - 1) - at;
      return at < count ? static_cast<double>(samples[at]) * window_[static_cast<size_t>(i)] : 0.0;
    };
    for (int64_t i = 0; i < kHalf; ++i) {
      const auto at = static_cast<size_t>(i * kTogether + f);
      s.re[at] = sample(2 * i), s.im[at] = sample(2 * i + 1);
    }
  }
  double *re = s.re.data(), *im = s.im.data(), *to_re = s.other_re.data(), *to_im = s.other_im.data();
  for (const Stage& stage : stages_) {
    const auto run = stage.radix == 5 ? run_stage<5> : stage.radix == 4 ? run_stage<4> : run_stage<2>;
    run(stage.parts, stage.stride, stage.cos.data(), stage.sin.data(), re, im, to_re, to_im);
    std::swap(re, to_re), std::swap(im, to_im);
  }
  for (size_t k = 0; k <= kHalf; ++k) {
    const size_t here = k % kHalf * kTogether, there = (kHalf - k) % kHalf * kTogether;
    for (size_t f = 0; f < kTogether; ++f) {
      const double even_re = 0.5 * (re[here + f] + re[there + f]), even_im = 0.5 * (im[here + f] - im[there + f]);
      const double odd_re = 0.5 * (im[here + f] + im[there + f]), odd_im = 0.5 * (re[there + f] - re[here + f]);
      const double x = even_re + odd_re * cos_[k] + odd_im * sin_[k];
      const double y = even_im + odd_im * cos_[k] - odd_re * sin_[k];
      s.energy[k * kTogether + f] = x * x + y * y;
    }
  }
}

void WhisperMel::group(const float* samples, int64_t count, int64_t first, Scratch& s, float* frames) const {
  energies(samples, count, first, s);
  for (int64_t m = 0; m < bands_; ++m) {
    const Band& band = filters_[static_cast<size_t>(m)];
    std::array<double, kTogether> sum{};
    for (int i = 0; i < band.count; ++i)
      for (size_t f = 0; f < kTogether; ++f)
        sum[f] += s.energy[static_cast<size_t>(band.first + i) * kTogether + f] *
                  weights_[static_cast<size_t>(band.weights + i)];
    for (int64_t f = 0; f < kTogether; ++f)
      frames[(first + f) * bands_ + m] = static_cast<float>(std::log10(std::max(kFloor, sum[static_cast<size_t>(f)])));
  }
}

void WhisperMel::frames(const Team& team, const float* samples, int64_t count, float* frames) const {
  static_assert(kWhisperFrames % kTogether == 0);
  count = std::min(count, kWhisperSamples);
  // What follows the sound is silence, whose frames are known.
  const int64_t heard = std::min(kWhisperFrames, (count + kWhisperWindow / 2) / kWhisperHop + 1);
  const int64_t groups = (heard + kTogether - 1) / kTogether;
  const auto quiet = static_cast<float>(std::log10(kFloor));
  std::fill(frames + groups * kTogether * bands_, frames + kWhisperFrames * bands_, quiet);
  team.run((groups + kGroupsPerTask - 1) / kGroupsPerTask, [&](int64_t task, int) {
    Scratch s;
    const int64_t end = std::min(groups, (task + 1) * kGroupsPerTask);
    for (int64_t g = task * kGroupsPerTask; g < end; ++g) group(samples, count, g * kTogether, s, frames);
  });
  const float most = *std::max_element(frames, frames + kWhisperFrames * bands_);
  team.run(kWhisperFrames / 100, [&](int64_t task, int) {
    for (int64_t i = task * 100 * bands_; i < (task + 1) * 100 * bands_; ++i)
      frames[i] = (std::max(frames[i], most - 8) + 4) / 4;
  });
}

}  // namespace gemlet::media
