// Runs one kernel of one set so often, for whoever counts its instructions from outside. Arguments: set, format, tokens (1:
// matrix times vector; more: panels, unpacking included), repeats. 64 rows of 2,048 weights.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

#include "compare.h"
#include "ops/ops.h"

namespace {

using namespace gemlet;

constexpr int64_t kRows = 64, kCols = 2048, kBlocks = kCols / kernels::kBlock;

void run(const kernels::Table& set, const char* kind, int64_t tokens, int repeats) {
  const codec::TypeInfo* info = codec::find(std::string(kind));
  const kernels::Format* format = info == nullptr ? nullptr : kernels::find(set, info->type);
  if (format == nullptr) throw BadArgument(cat("no kernels for '", kind, "'"));
  checks::Random random(1);
  const size_t row_bytes = codec::row_bytes(info->type, kCols);
  std::vector<uint8_t> w(row_bytes * kRows);
  for (uint8_t& byte : w) byte = static_cast<uint8_t>(random.below(64));  // keeps every binary16 scale finite
  const checks::Floats x = random.normals(tokens * kCols);

  const Team team(1);
  ops::Context on(set, team, false);
  ops::Quantised quantised;
  const kernels::QuantRows q = quantised.fill(on, {x.data(), tokens, kCols});
  std::vector<uint8_t> bytes(kCols * kernels::kPanelRows);
  std::vector<int32_t> halves(kBlocks * kernels::kPanelRows * 2);
  checks::Floats floats(kBlocks * kernels::kPanelRows * 2), y(static_cast<size_t>(tokens * kRows));
  const kernels::Panel panel{bytes.data(), floats.data(), floats.data() + kBlocks * kernels::kPanelRows, halves.data()};
  for (int i = 0; i < repeats; ++i) {
    if (tokens == 1) format->matvec(w.data(), row_bytes, kRows, kBlocks, q, y.data());
    for (int64_t r = 0; r < kRows && tokens > 1; r += kernels::kPanelRows) {
      format->unpack(w.data() + static_cast<size_t>(r) * row_bytes, row_bytes, kernels::kPanelRows, kBlocks, panel);
      format->gemm(panel, kernels::kPanelRows, kBlocks, q, tokens, y.data() + r, kRows);
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 5) {
    std::printf("usage: count SET FORMAT TOKENS REPEATS\n");
    return 2;
  }
  try {
    run(kernels::by_name(arguments[1]), arguments[2], std::atoll(arguments[3]), std::atoi(arguments[4]));
    return 0;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
}
