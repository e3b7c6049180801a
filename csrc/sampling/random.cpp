// RandomState: Philox4x32 with ten rounds (Salmon et al., SC 2011). The key is the seed and the counter block is
// (counter, 0), so a draw is a pure function of (seed, counter): nothing to warm up, two integers to save and restore.
#include "sampling/sampler.h"

namespace gemlet::sampling {

double RandomState::uniform() {
  uint32_t block[4] = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32U), 0, 0};
  uint32_t key[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32U)};
  ++counter;
  for (int round = 0; round < 10; ++round) {
    const uint64_t even = uint64_t{0xD2511F53} * block[0];
    const uint64_t odd = uint64_t{0xCD9E8D57} * block[2];
    const uint32_t mixed[4] = {static_cast<uint32_t>(odd >> 32U) ^ block[1] ^ key[0], static_cast<uint32_t>(odd),
                               static_cast<uint32_t>(even >> 32U) ^ block[3] ^ key[1], static_cast<uint32_t>(even)};
    for (int i = 0; i < 4; ++i) block[i] = mixed[i];
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  const uint64_t bits = (uint64_t{block[1]} << 32U) | block[0];
  return static_cast<double>(bits >> 11U) * 0x1.0p-53;
}

}  // namespace gemlet::sampling
