// What every checkpoint's sizes have in common, whatever file they came from.
#include "model/config.h"

#include <cmath>

#include "core/error.h"

namespace gemlet::model {

size_t Config::last_owner() const {
  size_t last = 0;
  for (size_t i = 0; i < layers.size(); ++i)
    if (layers[i].kv_source == static_cast<int64_t>(i)) last = i;
  return last;
}

void Config::share_keys(int64_t shared, const std::string& where) {
  const auto count = static_cast<int64_t>(layers.size());
  if (shared < 0 || shared >= count)
    throw BadFile(cat(where, ": ", shared, " layers share keys and values, expected 0 to ", count - 1));
  const int64_t first = count - shared;
  for (int64_t i = 0; i < count; ++i) {
    LayerConfig& l = layers[static_cast<size_t>(i)];
    l.kv_source = i;
    if (i < first) continue;
    for (l.kv_source = first - 1; l.kv_source >= 0; --l.kv_source)
      if (layers[static_cast<size_t>(l.kv_source)].sliding == l.sliding) break;
    const char* kind = l.sliding ? "sliding" : "full";
    if (l.kv_source < 0)
      throw BadFile(cat(where, ": layer ", i, " is to share the keys of an earlier ", kind,
                        " layer, and none of the first ", first, " layers is one"));
    const LayerConfig& from = layers[static_cast<size_t>(l.kv_source)];
    if (from.kv_heads != l.kv_heads || from.channels != l.channels)
      throw BadFile(cat(where, ": layer ", i, " shares the keys of layer ", l.kv_source, ", but has ", l.kv_heads,
                        " key heads of ", l.channels, " channels where that has ", from.kv_heads, " of ",
                        from.channels));
  }
}

void Config::check(const std::string& where) const {
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerConfig& l = layers[i];
    if (l.heads % l.kv_heads != 0 || l.channels % 2 != 0)
      throw BadFile(cat(where, ": layer ", i, " has ", l.heads, " heads over ", l.kv_heads, " key heads of ",
                        l.channels, " channels: heads must be a multiple, channels even"));
    const auto pairs = static_cast<int64_t>((l.sliding ? rope_sliding : rope_full).size());
    if (pairs != l.channels / 2)
      throw BadFile(
          cat(where, ": layer ", i, " has heads of ", l.channels, " channels, but rotates ", pairs, " pairs"));
  }
  if (experts > 0 && experts_used > experts)
    throw BadFile(cat(where, ": ", experts_used, " experts used of ", experts));
  if (pad < 0 || (vocabulary > 0 && pad >= vocabulary))
    throw BadFile(cat(where, ": padding token id ", pad, " is outside the vocabulary, 0 to ", vocabulary - 1));
  for (const int32_t id : suppress)
    if (id < 0 || id >= vocabulary)
      throw BadFile(cat(where, ": suppressed token id ", id, " is outside the vocabulary, 0 to ", vocabulary - 1));
}

std::vector<float> rope_frequencies(double base, int64_t channels, double factor, int64_t turning) {
  std::vector<float> inverse;
  for (int64_t d = 0; d < channels / 2; ++d) {
    const double exponent = 2.0 * static_cast<double>(d) / static_cast<double>(channels);
    const auto plain = static_cast<float>(1.0 / std::pow(base, exponent));
    inverse.push_back(d < turning ? static_cast<float>(plain / factor) : 0.0F);
  }
  return inverse;
}

}  // namespace gemlet::model
