// Loading: file -> decoder and tokenizer, options -> what will run.
#include "engine/engine.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "core/error.h"
#include "engine/batch.h"
#include "engine/compute.h"
#include "engine/source.h"
#include "engine/vocabulary.h"
#include "kernels/dispatch.h"
#include "model/checkpoint_assistant.h"
#include "model/model_folder.h"

namespace gemlet::engine {
namespace {

model::KvType choose_kv(const std::string& wanted, const model::Weights& weights) {
  if (wanted == "f16") return model::KvType::F16;
  if (wanted == "f32") return model::KvType::F32;
  if (wanted == "q8_0") return model::KvType::Q8_0;
  if (wanted != "auto") throw BadArgument(cat("kv_dtype: expected 'auto', 'f32', 'f16' or 'q8_0', got '", wanted, "'"));
  const bool full = weights.layers.front().attn_q.type == codec::Type::F32;
  return full ? model::KvType::F32 : model::KvType::F16;
}

int64_t choose_context(int64_t wanted, int64_t trained) {
  if (wanted < 0 || wanted > trained)
    throw BadArgument(
        cat("context: expected 1 to ", trained, " (what the model was trained for), or 0 for that, got ", wanted));
  return wanted > 0 ? wanted : trained;
}

// The model's own end token, those that its makers name, and those that close a turn or ask for a tool's answer in instruction-tuned models. `</s>`
// ends nothing: in these vocabularies it is an HTML tag.
std::vector<int32_t> find_end_ids(const text::Tokenizer& tokenizer, const std::vector<int32_t>& named) {
  std::vector<int32_t> ids;
  const auto add = [&](int32_t id) {
    if (id >= 0 && std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  };
  add(tokenizer.vocabulary().eos);
  for (const int32_t id : named) add(id);
  for (const char* piece : {"<eos>", "<end_of_turn>", "<turn|>", "<|tool_response>"}) {
    const int32_t id = tokenizer.find(piece);
    if (id < 0) continue;
    const text::PieceKind kind = tokenizer.kind(id);
    if (kind == text::PieceKind::Control || kind == text::PieceKind::UserDefined) add(id);
  }
  return ids;
}

struct Part {
  const char *does, *refused;
};

// A part that sees or hears. A folder has it among its own tensors; beside a GGUF file lies another one, or the folder that
// it was made from. `part` says what it does and what is refused without it. Null: there is none that can be used.
template <class Tower, class File>
std::unique_ptr<const Tower> find_tower(
    const model::Decoder& decoder, const std::vector<std::string>& projectors,
    std::shared_ptr<const File> of_folder(std::shared_ptr<const model::ModelFolder>),
    std::shared_ptr<const File> open(const std::string&), const Part& part, std::vector<std::string>& warnings) {
  if (decoder.config().architecture != "gemma4") return nullptr;
  std::unique_ptr<const Tower> found;
  std::string reason;
  const auto attempt = [&](const auto& opened) {
    try {
      if (auto file = opened()) found = std::make_unique<const Tower>(std::move(file), decoder.config().width);
    } catch (const Error& e) {
      if (reason.empty()) reason = e.what();
    }
  };
  const auto own = decoder.file().folder();
  if (own != nullptr) attempt([&] { return of_folder(own); });
  for (size_t i = 0; own == nullptr && found == nullptr && i < projectors.size(); ++i) {
    attempt([&] {
      std::error_code failed;
      const std::string& path = projectors[i];
      const bool folder = std::filesystem::is_directory(path, failed);
      return folder ? of_folder(std::make_shared<const model::ModelFolder>(path)) : open(path);
    });
  }
  if (found == nullptr && !reason.empty())
    warnings.push_back(
        cat(own != nullptr ? cat("the folder's part that ", part.does) : "a projector lies beside the model, but",
            " cannot be used, so ", part.refused, " will be refused: ", reason));
  return found;
}

}  // namespace

Engine::Engine(const std::string& path, const LoadOptions& options)
    : options_(options),
      team_(choose_threads(options.threads)),
      on_(kernels::active(), team_, choose_float(options.compute)),
      prefixes_(options.prefix_bytes),
      scheduler_([this](std::vector<Turn>& turns) { step_together(*this, turns); }) {
  if (options.block < 0) throw BadArgument(cat("block: expected 0 or more tokens, got ", options.block));
  Source source = open_source(path);
  decoder_ = std::make_shared<const model::Decoder>(source.checkpoint, options.vision_overlay);
  tokenizer_ = tokenizer_of(std::move(source.vocabulary));
  const auto pieces = static_cast<int64_t>(tokenizer_->vocabulary().pieces.size());
  if (pieces > decoder_->config().vocabulary)
    throw BadFile(cat(source.checkpoint->format(), ": '", path, "': ", pieces, " tokens, but the embedding has ",
                      decoder_->config().vocabulary, " rows"));
  if (pieces < decoder_->config().vocabulary)
    warnings_.push_back(cat("the embedding has ", decoder_->config().vocabulary, " rows, but only ", pieces,
                            " tokens are named; the others print as nothing"));
  defaults_ = source.checkpoint->generation();
  for (const int32_t id : defaults_.end_ids)
    if (id >= decoder_->config().vocabulary)
      throw BadFile(cat(source.checkpoint->format(), ": '", path, "': the end token ", id,
                        " is outside the vocabulary, 0 to ", decoder_->config().vocabulary - 1));
  end_ids_ = find_end_ids(*tokenizer_, defaults_.end_ids);
  if (end_ids_.empty()) warnings_.push_back("the file names no end token: a generation ends at max_tokens only");
  kv_type_ = choose_kv(options.kv_dtype, decoder_->weights());
  context_ = choose_context(options.context, decoder_->config().context);
  choose_draft();
  vision_ = find_tower<model::VisionTower>(*decoder_, options.projectors, model::vision_of_folder, model::open_vision,
                                           {"sees", "pictures"}, warnings_);
  audio_ = find_tower<model::AudioTower>(*decoder_, options.projectors, model::audio_of_folder, model::open_audio,
                                         {"hears", "sound"}, warnings_);
}

void Engine::choose_draft() {
  const auto open = [this](const std::string& path) {
    drafter_ = std::make_unique<const model::Drafter>(model::open_assistant(path), *decoder_);
    draft_kind_ = DraftKind::Assistant;
  };
  if (options_.draft == "off") return;
  draft_kind_ = DraftKind::Lookup;
  if (options_.draft == "lookup") return;
  if (options_.draft != "auto") return open(options_.draft);
  std::string reason;
  for (const std::string& path : options_.drafters) {
    try {
      return open(path);
    } catch (const Error& e) {
      if (reason.empty()) reason = e.what();
    }
  }
  if (!reason.empty())
    warnings_.push_back(
        cat("a drafter lies beside the model, but cannot be used, so drafts come from the text: ", reason));
}

void Engine::check_ids(const std::vector<int32_t>& ids) const {
  if (ids.empty()) throw BadArgument("ids: expected at least one token, got none");
  const int64_t vocabulary = decoder_->config().vocabulary;
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= vocabulary)
      throw BadArgument(cat("ids[", i, "]: ", ids[i], " is outside the vocabulary, 0 to ", vocabulary - 1));
  if (static_cast<int64_t>(ids.size()) > context_)
    throw ContextOverflow(cat("context: ", ids.size(), " tokens do not fit the context of ", context_,
                              "; shorten the text, or load with a larger context (the model's own is ",
                              decoder_->config().context, ")"));
}

model::Prompt Engine::admitted(model::Prompt prompt) const {
  check_ids(prompt.ids);
  prompt.check_spans();
  prompt.find_blocks(decoder_->config().vision != model::VisionMask::Causal);
  return prompt;
}

void Engine::note_scratch() {
  scratch_bytes =
      static_cast<int64_t>(state_.bytes() + on_.bytes() + logits_.bytes() + gathered_.bytes() + draft_state_.bytes());
}

}  // namespace gemlet::engine
