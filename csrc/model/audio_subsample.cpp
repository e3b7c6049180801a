// Kernels of 3 x 3, stride 2, one zero on every side; LayerNorm over the maps, without a bias, and ReLU after each. The first
// has one map to read and is done as it stands, the second as a product of gathered patches.
#include "model/audio_subsample.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace gemlet::model {
namespace {

constexpr int64_t kStrip = 16;  // tokens worked on together

void norm_relu(float* x, const float* weight, float eps, int64_t n) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]);
  const double mean = sum / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) squares += (static_cast<double>(x[i]) - mean) * (static_cast<double>(x[i]) - mean);
  const auto scale = static_cast<float>(1 / std::sqrt(squares / static_cast<double>(n) + static_cast<double>(eps)));
  const auto middle = static_cast<float>(mean);
  for (int64_t i = 0; i < n; ++i) {
    const float y = (x[i] - middle) * scale * weight[i];
    x[i] = y < 0 ? 0 : y;  // NaN stays
  }
}

}  // namespace

int64_t AudioSubsample::feed(Rows<const float> frames, bool last) {
  if (ended_) throw BadArgument("sound: it has ended; begin a new one");
  if (frames.rows > 0 && frames.cols != c_.frame)
    throw BadArgument(cat("sound: expected frames of ", c_.frame, " bands, got ", frames.cols));
  const int64_t keep = std::max<int64_t>(4 * done_ - 3, 0);
  frames_.erase(frames_.begin(), frames_.begin() + std::min(keep - first_, frames_seen_ - first_) * c_.frame);
  first_ = std::min(keep, frames_seen_);
  for (int64_t t = 0; t < frames.rows; ++t) frames_.insert(frames_.end(), frames.row(t), frames.row(t) + c_.frame);
  frames_seen_ += frames.rows;
  ended_ = last;
  return (frames_seen_ + (last ? 3 : 0)) / 4 - done_;
}

// out (bands / 2, maps[0]) <- row `row` of the first convolution's result; zero outside the sound.
void AudioSubsample::first_convolution(int64_t row, float* out) const {
  const int64_t bands = c_.frame, maps = c_.maps[0], half = bands / 2;
  std::fill(out, out + half * maps, 0.0F);
  if (row < 0 || 2 * row >= frames_seen_) return;
  for (int64_t dt = 0; dt < 3; ++dt) {
    const int64_t t = 2 * row - 1 + dt;
    if (t < 0 || t >= frames_seen_) continue;
    const float* frame = frames_.data() + (t - first_) * bands;
    for (int64_t f = 0; f < half; ++f) {
      for (int64_t df = f == 0 ? 1 : 0; df < 3; ++df) {
        const float value = frame[2 * f - 1 + df];
        const float* weights = w_.conv0 + (dt * 3 + df) * maps;
        float* y = out + f * maps;
        for (int64_t m = 0; m < maps; ++m) y[m] += value * weights[m];
      }
    }
  }
  for (int64_t f = 0; f < half; ++f) norm_relu(out + f * maps, w_.conv0_norm, c_.eps, maps);
}

// patches (bands / 4, 9 maps[0]) of one token; rows_ begins with row first_row of the first convolution's result.
void AudioSubsample::gather(int64_t first_row, int64_t token, Rows<float> patches) const {
  const int64_t half = c_.frame / 2, maps = c_.maps[0];
  for (int64_t f = 0; f < patches.rows; ++f) {
    float* to = patches.row(f);
    for (int64_t dt = 0; dt < 3; ++dt) {
      const float* from = rows_.data() + (2 * token - 1 + dt - first_row) * half * maps;
      for (int64_t df = 0; df < 3; ++df, to += maps) {
        const int64_t at = 2 * f - 1 + df;
        if (at < 0)
          std::fill(to, to + maps, 0.0F);
        else
          std::copy(from + at * maps, from + (at + 1) * maps, to);
      }
    }
  }
}

void AudioSubsample::next(Rows<float> x) {
  const int64_t half = c_.frame / 2, quarter = c_.frame / 4, maps = c_.maps[0];
  for (int64_t at = 0; at < x.rows; at += kStrip) {
    const int64_t count = std::min(kStrip, x.rows - at), first_row = 2 * done_ - 1;
    float* rows = rows_.reserve((2 * count + 1) * half * maps);
    on_.team.run(2 * count + 1, [&](int64_t r, int) { first_convolution(first_row + r, rows + r * half * maps); });
    const Rows<float> patches = patches_.rows(count * quarter, 9 * maps);
    on_.team.run(count,
                 [&](int64_t t, int) { gather(first_row, done_ + t, {patches.row(t * quarter), quarter, 9 * maps}); });
    const Rows<float> y(x.row(at), count * quarter, c_.maps[1]);
    ops::linear(on_, patches, {{&w_.conv1, y}}, quantised_);
    on_.team.run(count, [&](int64_t t, int) {
      for (int64_t f = 0; f < quarter; ++f) norm_relu(y.row(t * quarter + f), w_.conv1_norm, c_.eps, c_.maps[1]);
    });
    done_ += count;
  }
}

}  // namespace gemlet::model
