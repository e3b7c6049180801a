// Whether sampling options make sense for a vocabulary: every message names the option, its range and what came.
#include <cmath>
#include <limits>

#include "core/error.h"
#include "sampling/sampler.h"

namespace gemlet::sampling {
namespace {

[[noreturn]] void refuse(const char* option, const char* expected, double got, const char* remedy) {
  throw BadArgument(cat(option, ": expected ", expected, ", got ", got, "; ", remedy));
}

void check_bias(const Options& options, int64_t vocabulary) {
  for (const auto& [id, bias] : options.logit_bias) {
    if (id < 0 || id >= vocabulary) {
      throw BadArgument(cat("logit_bias: expected token ids from 0 to ", vocabulary - 1, ", got ", id,
                            "; take ids from this model's own tokenize()"));
    }
    if (std::isnan(bias) || bias == std::numeric_limits<float>::infinity()) {
      throw BadArgument(cat("logit_bias: expected a finite number or -inf for token ", id, ", got ", bias,
                            "; +100 all but forces a token, -inf bans it"));
    }
  }
}

}  // namespace

void check(const Options& o, int64_t vocabulary) {
  if (vocabulary < 1 || vocabulary > std::numeric_limits<int32_t>::max()) {
    throw BadArgument(
        cat("vocabulary: expected 1 to 2147483647 tokens, got ", vocabulary, "; the model file is damaged"));
  }
  // Written so that a NaN, which fails every comparison, is refused.
  if (!(std::isfinite(o.temperature) && o.temperature >= 0)) {
    refuse("temperature", "a finite number >= 0", o.temperature, "0 is greedy, 1 leaves the distribution as it is");
  }
  if (o.top_k < 0) refuse("top_k", "an integer >= 0", o.top_k, "0 turns it off");
  if (!(o.top_p > 0 && o.top_p <= 1)) refuse("top_p", "a number in (0, 1]", o.top_p, "1 turns it off");
  if (!(o.min_p >= 0 && o.min_p < 1)) refuse("min_p", "a number in [0, 1)", o.min_p, "0 turns it off");
  if (!(std::isfinite(o.repeat_penalty) && o.repeat_penalty > 0)) {
    refuse("repeat_penalty", "a finite number > 0", o.repeat_penalty, "1 turns it off, above 1 discourages repetition");
  }
  if (!std::isfinite(o.presence_penalty))
    refuse("presence_penalty", "a finite number", o.presence_penalty, "0 turns it off");
  if (!std::isfinite(o.frequency_penalty)) {
    refuse("frequency_penalty", "a finite number", o.frequency_penalty, "0 turns it off");
  }
  if (o.penalty_window < -1) {
    refuse("penalty_window", "an integer >= -1", o.penalty_window, "-1 looks at every id, 0 at none");
  }
  if (o.logprobs < -1 || o.logprobs > vocabulary) {
    throw BadArgument(cat("logprobs: expected an integer from -1 to the vocabulary's ", vocabulary, ", got ",
                          o.logprobs, "; -1 turns it off, 0 gives the chosen token only"));
  }
  check_bias(o, vocabulary);
}

}  // namespace gemlet::sampling
