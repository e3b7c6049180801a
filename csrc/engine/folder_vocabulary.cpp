// tokenizer_config.json names the special pieces; what it leaves out has the name that all of Gemma's tokenizers use.
#include "engine/folder_vocabulary.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>

#include "core/error.h"
#include "core/file.h"
#include "engine/tokenizer_json.h"
#include "formats/byte_cursor.h"
#include "formats/json_value.h"

namespace gemlet::engine {
namespace {

using formats::JsonKind;
using formats::JsonValue;
using formats::printable;

constexpr const char* kTokenizer = "tokenizer.json";
constexpr const char* kSettings = "tokenizer_config.json";
constexpr size_t kLongest = size_t{1} << 28U;

bool is_there(const std::filesystem::path& path) {
  std::error_code failed;
  return std::filesystem::exists(path, failed);
}

std::string_view text_of(const MappedFile& file) { return {reinterpret_cast<const char*>(file.data()), file.size()}; }

JsonValue settings_of(const std::filesystem::path& folder) {
  const std::string path = (folder / kSettings).string();
  if (!is_there(path)) return {};
  const auto file = MappedFile::open(path);
  return JsonValue::parse(text_of(*file), cat("tokenizer: '", path, "'"), "file");
}

// "bos_token": "<bos>", or {"content": "<bos>", ...}; null and absent: the usual name.
std::string name_of(const JsonValue& settings, const char* key, const char* usual, const std::string& path) {
  const JsonValue* value = settings.find(key);
  if (value == nullptr || value->is_null()) return usual;
  if (value->kind() == JsonKind::Object) value = value->find("content");
  const auto name = value == nullptr ? std::nullopt : value->as_string();
  if (!name)
    throw BadFile(cat("tokenizer: '", path, "': ", key, ": expected a string, got ", settings.find(key)->shown(),
                      "; download it again"));
  return *name;
}

int32_t id_of(const text::Vocabulary& vocabulary, const std::string& name) {
  for (size_t id = 0; id < vocabulary.pieces.size(); ++id)
    if (vocabulary.pieces[id] == name) return static_cast<int32_t>(id);
  return -1;
}

}  // namespace

text::Vocabulary vocabulary_of_folder(const std::string& folder) {
  const std::filesystem::path at(folder);
  const std::string path = (at / kTokenizer).string(), settings_path = (at / kSettings).string();
  if (!is_there(path))
    throw ModelNotFound(
        cat("tokenizer: '", path, "': there is no such file",
            is_there(at / "tokenizer.model")
                ? ", and tokenizer.model is not read; save the tokenizer with transformers, which writes it"
                : "; download the whole folder, with its tokenizer"));
  const auto file = MappedFile::open(path);
  const std::string where = cat("tokenizer: '", path, "'");
  if (file->size() > kLongest)
    throw BadFile(
        cat(where, ": expected at most ", kLongest, " bytes, got ", file->size(), "; is this the right file?"));
  text::Vocabulary vocabulary = parse_tokenizer_json(text_of(*file), where);
  const JsonValue settings = settings_of(at);
  struct Mark {
    const char *key, *usual, *what;
    int32_t& id;
    bool needed;
  };
  for (const Mark& mark :
       {Mark{"bos_token", "<bos>", "begins a text", vocabulary.bos, true},
        Mark{"eos_token", "<eos>", "ends one", vocabulary.eos, true},
        Mark{"unk_token", "<unk>", "", vocabulary.unk, false}, Mark{"pad_token", "<pad>", "", vocabulary.pad, false}}) {
    const std::string name = name_of(settings, mark.key, mark.usual, settings_path);
    mark.id = id_of(vocabulary, name);
    if (mark.needed && mark.id < 0)
      throw BadFile(cat(where, ": expected the piece ", printable(name), ", which ", mark.what,
                        ", and it is missing; this is not the whole tokenizer of a Gemma model"));
  }
  return vocabulary;
}

}  // namespace gemlet::engine
