// Drafts of one generation: where they come from, how many are worth verifying, what became of them. Verifying is the
// generation's own work: it samples every token as it would without drafts, and a draft is right if it is that token.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/draft_pace.h"
#include "engine/prompt_lookup.h"
#include "model/drafter.h"
#include "ops/ops.h"

namespace gemlet::engine {

enum class DraftKind { Off, Lookup, Assistant };
const char* name_of(DraftKind kind);  // "off", "lookup", "assistant"

class Speculator {
 public:
  // drafter: for DraftKind::Assistant; must stay. count: so many each step, 0: none, -1: as many as pay.
  Speculator(DraftKind kind, const model::Drafter* drafter, int64_t count);

  // A token of the prompt, or one that was generated.
  void read(int32_t id);
  // At most `most` ids that may come after the last token read; valid until the next call. `kv` holds all tokens before
  // that one, and `state` (D) is what it was sampled from; null: unknown, and a drafter has nothing to go on.
  const std::vector<int32_t>& propose(ops::Context& on, model::State& scratch, model::KvCache& kv, const float* state,
                                      int64_t most);
  // What the step that verified the proposal took, with proposing, in seconds.
  void took(double seconds);
  // The token generated where the proposal's next id stands: true if it is that id. Once it was not, the others are wrong.
  bool confirm(int32_t id);

  DraftKind kind() const { return kind_; }
  int64_t drafted() const { return drafted_; }
  int64_t accepted() const { return accepted_; }

 private:
  DraftKind kind_;
  const model::Drafter* drafter_;
  DraftPace pace_;
  PromptLookup lookup_;
  int32_t last_ = -1;
  std::vector<int32_t> proposal_;
  int trust_ = 0;      // its kind
  size_t right_ = 0;   // of the proposal, so far
  bool over_ = false;  // one was wrong
  int64_t drafted_ = 0, accepted_ = 0;
};

}  // namespace gemlet::engine
