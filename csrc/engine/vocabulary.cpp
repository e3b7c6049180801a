// Every key is checked for type and length before the tokenizer sees a pointer into the file.
#include "engine/vocabulary.h"

#include <string>
#include <utility>

#include "core/error.h"

namespace gemlet::engine {
namespace {

using formats::Gguf;
using formats::Value;
using formats::ValueType;

constexpr uint64_t kMaxPieces = uint64_t{1} << 22U;
constexpr uint64_t kMaxMerges = uint64_t{1} << 23U;

std::string key_of(const char* name) { return std::string("tokenizer.ggml.") + name; }

// The array under this key: `count` elements of `type`.
const Value& require_array(const Gguf& file, const char* name, ValueType type, uint64_t count) {
  const std::string key = key_of(name);
  const Value* value = file.find(key);
  if (value == nullptr) throw BadFile(cat("gguf: key '", key, "': expected an array, but the file has no such key"));
  if (!value->is_array || value->type != type)
    throw BadFile(cat("gguf: key '", key, "': expected an array of ", formats::name_of(type), ", got ",
                      value->is_array ? "an array of " : "", formats::name_of(value->type)));
  if (value->count != count)
    throw BadFile(cat("gguf: key '", key, "': expected ", count, " elements, one a token, got ", value->count));
  return *value;
}

int32_t optional_id(const Gguf& file, const char* name, uint64_t count) {
  const std::string key = key_of(name);
  const Value* value = file.find(key);
  if (value == nullptr) return -1;
  const auto id = value->is_array ? std::nullopt : value->as_int();
  if (!id || value->type == ValueType::Bool)
    throw BadFile(cat("gguf: key '", key, "': expected a token id, got ", value->is_array ? "an array of " : "",
                      formats::name_of(value->type)));
  if (*id < 0 || static_cast<uint64_t>(*id) >= count)
    throw BadFile(cat("gguf: key '", key, "': expected 0 to ", count - 1, ", got ", *id));
  return static_cast<int32_t>(*id);
}

bool optional_flag(const Gguf& file, const char* name, bool otherwise) {
  const std::string key = key_of(name);
  const Value* value = file.find(key);
  if (value == nullptr) return otherwise;
  const auto flag = value->is_array ? std::nullopt : value->as_bool();
  if (!flag)
    throw BadFile(cat("gguf: key '", key, "': expected bool, got ", value->is_array ? "an array of " : "",
                      formats::name_of(value->type)));
  return *flag;
}

// Gemma 4's vocabulary goes by merges. Some files call it 'llama' and tell it from Gemma 3's by `pre` alone.
bool is_gemma4(const Gguf& file) {
  const std::string_view model = file.require_string(key_of("model"));
  if (model != "llama" && model != "gemma4")
    throw UnsupportedModel(cat("gguf: key 'tokenizer.ggml.model': expected 'gemma4' (Gemma 4's vocabulary) or 'llama' ",
                               "(Gemma 3's), got '", model, "'; this tokenizer is not one that gemlet runs"));
  const Value* pre = file.find(key_of("pre"));
  return model == "gemma4" || (pre != nullptr && pre->as_string() == "gemma4");
}

std::vector<std::string_view> require_merges(const Gguf& file) {
  const Value* merges = file.find(key_of("merges"));
  const uint64_t count = merges == nullptr ? 0 : merges->count;
  if (merges != nullptr && merges->is_array && count == 0)
    throw BadFile("gguf: key 'tokenizer.ggml.merges': expected at least one merge, got none; convert the model anew");
  if (count > kMaxMerges)
    throw BadFile(cat("gguf: key 'tokenizer.ggml.merges': expected at most ", kMaxMerges, " merges, got ", count));
  if (merges == nullptr)
    throw BadFile(
        "gguf: key 'tokenizer.ggml.merges': expected an array, but the file has no such key; Gemma 4's text cannot be "
        "split without it: convert the model anew with a converter that writes it");
  return require_array(file, "merges", ValueType::String, count).strings();
}

}  // namespace

text::Vocabulary vocabulary_from(const std::shared_ptr<const Gguf>& file) {
  const bool gemma4 = is_gemma4(*file);
  const Value* tokens = file->find(key_of("tokens"));
  const uint64_t count = tokens == nullptr ? 0 : tokens->count;
  if (count > kMaxPieces)
    throw BadFile(cat("gguf: key 'tokenizer.ggml.tokens': expected at most ", kMaxPieces, " tokens, got ", count));
  text::Vocabulary vocabulary;
  vocabulary.pieces = require_array(*file, "tokens", ValueType::String, count).strings();
  if (gemma4)  // and its scores say nothing
    vocabulary.merges = require_merges(*file);
  else
    vocabulary.scores = reinterpret_cast<const float*>(require_array(*file, "scores", ValueType::F32, count).data);
  vocabulary.kinds = reinterpret_cast<const int32_t*>(require_array(*file, "token_type", ValueType::I32, count).data);
  vocabulary.bos = optional_id(*file, "bos_token_id", count);
  vocabulary.eos = optional_id(*file, "eos_token_id", count);
  vocabulary.unk = optional_id(*file, "unknown_token_id", count);
  vocabulary.pad = optional_id(*file, "padding_token_id", count);
  // What a file does not say is what llama.cpp, whose format this is, takes it to mean for this kind of vocabulary.
  // Gemma 4 is the same in every file: some say "no start token", and without one the model answers nonsense.
  vocabulary.add_bos = optional_flag(*file, "add_bos_token", true) || gemma4;
  vocabulary.add_space_prefix = optional_flag(*file, "add_space_prefix", true) && !gemma4;
  vocabulary.owner = file;
  return vocabulary;
}

std::unique_ptr<const text::Tokenizer> tokenizer_of(text::Vocabulary vocabulary) {
  return vocabulary.merges.empty() ? text::Tokenizer::spm(std::move(vocabulary))
                                   : text::Tokenizer::bpe(std::move(vocabulary));
}

}  // namespace gemlet::engine
