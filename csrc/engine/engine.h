// A loaded model with everything that runs it: decoder, tokenizer, kernels, threads, scratch, and the scheduler whose
// thread alone touches them.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "engine/prefix_cache.h"
#include "engine/scheduler.h"
#include "engine/speculate.h"
#include "model/audio_tower.h"
#include "model/decoder.h"
#include "model/vision_tower.h"
#include "ops/ops.h"
#include "text/tokenizer.h"

namespace gemlet::engine {

// Tokens a step runs at most: the piece after which a call can be cancelled, and that a prompt is read in.
constexpr int64_t kBlockTokens = 512;
// Rows of logits computed together where only their scores are kept: (16, V) floats of scratch.
constexpr int64_t kHeadRows = 16;

struct LoadOptions {
  int threads = 0;                      // 0: all this process may use
  int64_t context = 0;                  // 0: as many tokens as the model was trained for
  std::string kv_dtype = "auto";        // auto, f32, f16, q8_0
  int64_t block = 0;                    // tokens a step runs at most; 0: kBlockTokens. Changes no result
  std::string compute = "auto";         // auto, float32
  std::string draft = "auto";           // auto, lookup, off, or a drafter's file
  std::vector<std::string> drafters;    // files that "auto" tries in turn; none fits: lookup
  std::vector<std::string> projectors;  // files that may hold what sees for this model; the first that fits is taken
  int64_t prefix_bytes = 256 << 20;     // keys and values kept of what was read before; 0: none
  bool vision_overlay = false;          // pictures seen as by VisionMask::Overlay, to compare with who does so
};

class Engine {
 public:
  Engine(const std::string& path, const LoadOptions& options);

  const model::Decoder& decoder() const { return *decoder_; }
  const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  std::shared_ptr<const text::Tokenizer> shared_tokenizer() const { return tokenizer_; }
  const std::vector<int32_t>& end_ids() const { return end_ids_; }  // ids that end a generation
  const model::GenerationDefaults& defaults() const { return defaults_; }
  const LoadOptions& options() const { return options_; }
  const std::vector<std::string>& warnings() const { return warnings_; }  // what loading did that was not asked for
  int64_t context() const { return context_; }
  int threads() const { return team_.threads(); }
  int64_t block() const { return options_.block > 0 ? options_.block : kBlockTokens; }
  model::KvType kv_type() const { return kv_type_; }
  const kernels::Table& kernels() const { return on_.kernels; }
  Scheduler& scheduler() { return scheduler_; }

  // For jobs, on the engine's thread.
  ops::Context& on() { return on_; }
  model::State& state() { return state_; }
  Buffer<float>& logits() { return logits_; }
  Buffer<float>& gathered() { return gathered_; }
  DraftKind draft_kind() const { return draft_kind_; }
  const model::Drafter* drafter() const { return drafter_.get(); }    // null: none
  const model::VisionTower* vision() const { return vision_.get(); }  // null: the model does not see
  const model::AudioTower* audio() const { return audio_.get(); }     // null: the model does not hear
  model::State& draft_state() { return draft_state_; }
  Profile& profile() { return profile_; }
  PrefixCache& prefixes() { return prefixes_; }
  model::KvCache new_cache() const { return {decoder_->config(), kv_type_, cache_bytes_}; }
  model::KvCache cache_of(int64_t length, const std::vector<std::vector<std::shared_ptr<uint8_t>>>& held) const {
    return model::KvCache::with_pages(decoder_->config(), kv_type_, cache_bytes_, length, held);
  }

  // Throws BadArgument naming the first id outside the vocabulary, ContextOverflow where they do not fit.
  void check_ids(const std::vector<int32_t>& ids) const;
  // The same for a prompt's ids, BadArgument for spans that do not fit them; finds what must be run together.
  model::Prompt admitted(model::Prompt prompt) const;

  int64_t cache_bytes() const { return *cache_bytes_; }  // of all pages of keys and values alive
  std::atomic<int64_t> scratch_bytes{0};
  void note_scratch();  // on the engine's thread, after a step

 private:
  void choose_draft();
  LoadOptions options_;
  std::shared_ptr<const model::Decoder> decoder_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  model::GenerationDefaults defaults_;
  std::vector<int32_t> end_ids_;
  std::unique_ptr<const model::Drafter> drafter_;
  DraftKind draft_kind_ = DraftKind::Off;
  std::unique_ptr<const model::AudioTower> audio_;
  std::unique_ptr<const model::VisionTower> vision_;
  std::vector<std::string> warnings_;
  model::KvType kv_type_ = model::KvType::F16;
  int64_t context_ = 0;
  model::KvCache::Counter cache_bytes_ = std::make_shared<std::atomic<int64_t>>(0);
  Team team_;
  ops::Context on_;
  Profile profile_;  // counts where on_ points at it
  model::State state_, draft_state_;
  Buffer<float> logits_, gathered_;
  PrefixCache prefixes_;
  Scheduler scheduler_;  // last: its thread must end before what it uses
};

}  // namespace gemlet::engine
