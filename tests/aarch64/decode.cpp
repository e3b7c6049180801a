// Reads a prompt and generates with a whole model, and prints what another machine must compute too: the best set, the ids
// that follow greedily, and the bits of the last logits. Arguments: file, keys and values as (f32, f16, q8_0), how many ids
// to generate, the prompt's ids.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "engine/evaluate.h"
#include "engine/generate.h"

namespace {

using namespace gemlet;

void print_ids(const char* name, const std::vector<int32_t>& ids) {
  std::printf("%s", name);
  for (const int32_t id : ids) std::printf(" %d", id);
  std::printf("\n");
}

std::vector<int32_t> generate(engine::Engine& e, const std::vector<int32_t>& prompt, int64_t count) {
  engine::GenerateOptions options;
  options.max_tokens = count, options.ignore_eos = true, options.sampling.temperature = 0;
  const auto job = std::make_shared<engine::GenerateJob>(e, prompt, options);
  e.scheduler().submit(job);
  std::vector<int32_t> ids;
  for (engine::Event event; event.kind != engine::Event::Kind::End;)
    if (job->next(1000, event)) ids.insert(ids.end(), event.ids.begin(), event.ids.end());
  return ids;
}

int run(const std::string& path, const std::string& kv, int64_t count, const std::vector<int32_t>& prompt) {
  engine::LoadOptions options;
  options.threads = 2, options.kv_dtype = kv;
  engine::Engine e(path, options);
  std::printf("isa %s\n", e.kernels().name);

  std::vector<int64_t> positions;
  for (size_t i = 0; i < prompt.size(); ++i) positions.push_back(static_cast<int64_t>(i));
  const auto vocabulary = static_cast<size_t>(e.decoder().config().vocabulary);
  std::vector<float> logits(positions.size() * vocabulary);
  const auto job = std::make_shared<engine::LogitsJob>(e, prompt, positions, logits.data());
  e.scheduler().submit(job);
  while (!job->wait(1000)) {
  }
  job->rethrow();
  print_ids("greedy", generate(e, prompt, count));
  std::printf("logits ");
  for (const float v : logits) {
    uint32_t bits = 0;
    std::memcpy(&bits, &v, 4);
    std::printf("%08x", bits);
  }
  std::printf("\n");
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 5) {
    std::printf("usage: decode FILE f32|f16|q8_0 COUNT ID...\n");
    return 2;
  }
  try {
    std::vector<int32_t> prompt;
    for (int i = 4; i < count; ++i) prompt.push_back(std::atoi(arguments[i]));
    return run(arguments[1], arguments[2], std::atoll(arguments[3]), prompt);
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
}
