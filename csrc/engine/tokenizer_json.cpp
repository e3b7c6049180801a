// One pass over the file: pieces and merges go into two arenas as they come, everything else is small and kept as a tree.
#include "engine/tokenizer_json.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "core/error.h"
#include "formats/byte_cursor.h"
#include "formats/json_cursor.h"
#include "formats/json_value.h"
#include "text/byte_names.h"
#include "text/word_split.h"

namespace gemlet::engine {
namespace {

using formats::JsonCursor;
using formats::JsonKind;
using formats::JsonValue;
using formats::printable;
using text::PieceKind;

constexpr uint64_t kMaxPieces = uint64_t{1} << 22U;
constexpr uint64_t kMaxMerges = uint64_t{1} << 23U;
constexpr size_t kMostHoles = 4096;  // ids without a piece, beyond as many as there are pieces
constexpr std::string_view kWrittenSpace = "\xC4\xA0";

// Strings one after the other; views of them only once all are there.
struct Arena {
  std::string bytes;
  std::vector<size_t> ends;
  void add(std::string_view text) {
    bytes += text;
    ends.push_back(bytes.size());
  }
  std::string_view at(size_t i) const {
    const size_t begin = i == 0 ? 0 : ends[i - 1];
    return std::string_view(bytes).substr(begin, ends[i] - begin);
  }
};

struct AddedToken {
  uint64_t id = 0;
  std::string content;
  bool single_word = false, lstrip = false, rstrip = false, normalized = true, special = false;
};

// What the vocabulary's views look into.
struct Owned {
  std::string bytes;
  std::vector<int32_t> kinds;
};

class Reader {
 public:
  Reader(std::string_view json, std::string where) : in_(json, std::move(where), "file") {}

  text::Vocabulary read();

 private:
  void read_added();
  AddedToken read_added_token();
  void read_model();
  void read_vocab();
  void read_merges();
  void check_model(const JsonValue& type, const JsonValue& settings) const;
  void check_normalizer(const JsonValue& normalizer) const;
  void check_pre_tokenizer(const JsonValue& splitter) const;
  void check_added(const AddedToken& token) const;
  [[noreturn]] void unsupported(const char* part, const std::string& wanted, const JsonValue& got) const;

  std::vector<std::string_view> place_pieces();
  void place_added(std::vector<std::string_view>& pieces) const;
  std::vector<int32_t> kinds_of(const std::vector<std::string_view>& pieces) const;
  text::Vocabulary assemble();

  JsonCursor in_;
  Arena pieces_;
  std::vector<uint64_t> ids_;  // of pieces_
  Arena merges_;
  std::vector<AddedToken> added_;
  bool has_vocab_ = false, has_merges_ = false;
};

void Reader::unsupported(const char* part, const std::string& wanted, const JsonValue& got) const {
  throw UnsupportedModel(cat(in_.where(), ": ", part, ": expected ", wanted, ", as Gemma's tokenizers have it, got ",
                             got.shown(), "; this tokenizer is not one that gemlet runs"));
}

text::Vocabulary Reader::read() {
  JsonValue normalizer, splitter;
  bool has_model = false;
  in_.members("member", [&](const std::string& key) {
    in_.reading(key);
    if (key == "added_tokens" && in_.kind() == JsonKind::Array)
      read_added();
    else if (key == "normalizer")
      normalizer = JsonValue::read(in_);
    else if (key == "pre_tokenizer")
      splitter = JsonValue::read(in_);
    else if (key == "model")
      has_model = true, read_model();
    else
      in_.skip();
    in_.reading();
  });
  in_.end();
  if (!has_model) in_.refuse("expected a tokenizer with a 'model', got none; is this the tokenizer.json of a model?");
  check_normalizer(normalizer);
  check_pre_tokenizer(splitter);
  return assemble();
}

void Reader::read_added() {
  in_.elements([&] {
    added_.push_back(read_added_token());
    check_added(added_.back());
  });
}

AddedToken Reader::read_added_token() {
  AddedToken token;
  bool has_id = false, has_content = false;
  in_.members("member", [&](const std::string& key) {
    const std::pair<const char*, bool*> flags[] = {{"single_word", &token.single_word},
                                                   {"lstrip", &token.lstrip},
                                                   {"rstrip", &token.rstrip},
                                                   {"normalized", &token.normalized},
                                                   {"special", &token.special}};
    for (const auto& [name, flag] : flags)
      if (key == name) {
        *flag = in_.boolean();
        return;
      }
    if (key == "id")
      has_id = true, token.id = in_.unsigned_integer();
    else if (key == "content")
      has_content = true, token.content = in_.string();
    else
      in_.skip();
  });
  if (!has_id || !has_content || token.content.empty())
    in_.refuse(cat("expected an id and a content that is not empty of every added token, got one without; the file is ",
                   "damaged, download it again"));
  return token;
}

void Reader::check_added(const AddedToken& token) const {
  if (token.id >= kMaxPieces)
    in_.refuse(cat("token ", printable(token.content), ": expected an id below ", kMaxPieces, ", got ", token.id,
                   "; the file is damaged"));
  if (token.single_word)
    throw UnsupportedModel(cat(in_.where(), ": added_tokens: token ", printable(token.content),
                               ": 'single_word' is not something that gemlet does; add the token without it"));
  // A normalised token is looked for in text whose spaces are marks already; this project's is not.
  const bool spaced =
      token.content.find(' ') != std::string::npos || token.content.find(text::kSpaceMark) != std::string::npos;
  if (token.normalized && spaced)
    throw UnsupportedModel(cat(in_.where(), ": added_tokens: token ", printable(token.content),
                               ": 'normalized' together with a space is not something that gemlet does; add the token ",
                               "with normalized=False"));
}

void Reader::read_model() {
  JsonValue type;
  std::vector<std::pair<std::string, JsonValue>> settings;
  in_.members("member", [&](const std::string& key) {
    in_.reading("model." + key);
    // Another kind of model has other members of the same names.
    const bool bpe = type.is_null() || type.as_string() == "BPE";
    if (key == "vocab" && bpe && in_.kind() == JsonKind::Object)
      read_vocab();
    else if (key == "merges" && bpe && in_.kind() == JsonKind::Array)
      read_merges();
    else if (key == "type")
      type = JsonValue::read(in_);
    else if (key == "vocab" || key == "merges")
      in_.skip();
    else
      settings.emplace_back(key, JsonValue::read(in_));
    in_.reading("model");
  });
  if (!(type.is_null() && has_merges_) && type.as_string() != "BPE") unsupported("model.type", "'BPE'", type);
  if (!has_vocab_ || !has_merges_)
    in_.refuse("expected a 'vocab' of pieces and ids and a list of 'merges', got neither or one; download it again");
  bool fallback = false;
  for (const auto& [key, value] : settings) {
    const bool off = value.is_null() || value.as_bool() == false || value.as_number() == 0.0 || value.as_string() == "";
    if (key == "byte_fallback") fallback = value.as_bool() == true;
    if (!off && key == "dropout") unsupported("model.dropout", "none", value);
    if (!off && key == "ignore_merges") unsupported("model.ignore_merges", "false", value);
    if (!off && (key == "continuing_subword_prefix" || key == "end_of_word_suffix"))
      unsupported(("model." + key).c_str(), "none", value);
  }
  if (!fallback)
    throw UnsupportedModel(cat(in_.where(), ": model.byte_fallback: expected true, as Gemma's tokenizers have it; ",
                               "without it a character that is no piece has no ids"));
}

void Reader::read_vocab() {
  has_vocab_ = true;
  in_.entries([&](std::string_view piece) {
    pieces_.add(piece);
    const uint64_t id = in_.unsigned_integer();
    if (id >= kMaxPieces || ids_.size() >= kMaxPieces)
      in_.refuse(cat("piece ", printable(pieces_.at(ids_.size())), ": expected an id below ", kMaxPieces, ", got ", id,
                     "; the file is damaged"));
    ids_.push_back(id);
  });
}

void Reader::read_merges() {
  has_merges_ = true;
  std::string unescaped, merge;
  in_.elements([&] {
    if (merges_.ends.size() >= kMaxMerges)
      in_.refuse(cat("expected at most ", kMaxMerges, " merges, got more; the file is damaged"));
    if (in_.kind() == JsonKind::String) return merges_.add(in_.text(unescaped));
    merge.clear();
    size_t parts = 0;
    in_.elements([&] {
      if (parts++ > 0) merge += ' ';
      for (const char c : in_.text(unescaped))
        if (c == ' ')
          merge += kWrittenSpace;
        else
          merge += c;
    });
    if (parts != 2)
      in_.refuse(cat("merge ", merges_.ends.size(), ": expected two pieces, got ", parts, "; the file is damaged"));
    merges_.add(merge);
  });
}

// {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}, by itself or as the only one of a sequence.
const JsonValue& only_part(const JsonValue& value, const char* list) {
  const JsonValue* type = value.find("type");
  const JsonValue* parts = value.find(list);
  const bool wrapped = type != nullptr && type->as_string() == "Sequence" && parts != nullptr &&
                       parts->kind() == JsonKind::Array && parts->values().size() == 1;
  return wrapped ? parts->values().front() : value;
}

bool is_text(const JsonValue* value, std::string_view wanted) {
  return value != nullptr && value->as_string() && *value->as_string() == wanted;
}

bool is_of_space(const JsonValue& value) {
  const JsonValue* pattern = value.find("pattern");
  return pattern != nullptr && is_text(pattern->find("String"), " ");
}

void Reader::check_normalizer(const JsonValue& normalizer) const {
  const JsonValue& part = only_part(normalizer, "normalizers");
  if (!is_text(part.find("type"), "Replace") || !is_of_space(part) || !is_text(part.find("content"), text::kSpaceMark))
    unsupported("normalizer", "Replace of ' ' by U+2581", normalizer);
}

// After that normalizer no space is left, so a split at spaces never happens.
void Reader::check_pre_tokenizer(const JsonValue& splitter) const {
  if (splitter.is_null()) return;
  const JsonValue& part = only_part(splitter, "pretokenizers");
  const JsonValue* invert = part.find("invert");
  if (!is_text(part.find("type"), "Split") || !is_of_space(part) ||
      (invert != nullptr && invert->as_bool().value_or(true)))
    unsupported("pre_tokenizer", "none, or Split at ' '", splitter);
}

// Views into the arena by id.
std::vector<std::string_view> Reader::place_pieces() {
  uint64_t last = 0;
  for (const uint64_t id : ids_) last = std::max(last, id);
  for (const AddedToken& token : added_) last = std::max(last, token.id);
  const size_t named = ids_.size() + added_.size();
  if (last >= 2 * named + kMostHoles)
    in_.refuse(
        cat("expected ids without great gaps, got ", named, " pieces and an id of ", last, "; the file is damaged"));
  std::vector<std::string_view> pieces(static_cast<size_t>(last) + 1);
  for (size_t i = 0; i < ids_.size(); ++i) {
    std::string_view& place = pieces[static_cast<size_t>(ids_[i])];
    const std::string_view piece = pieces_.at(i);
    if (!place.empty())
      in_.refuse(cat("pieces ", printable(place), " and ", printable(piece), " both have the id ", ids_[i],
                     "; expected an id of its own for each, the file is damaged"));
    place = piece;
  }
  return pieces;
}

void Reader::place_added(std::vector<std::string_view>& pieces) const {
  for (const AddedToken& token : added_) {
    std::string_view& place = pieces[static_cast<size_t>(token.id)];
    if (place.empty()) place = token.content;
    if (place != token.content)
      in_.refuse(cat("added token ", printable(token.content), ": expected an id of its own, got ", token.id,
                     ", the id of ", printable(place), "; the file is damaged"));
  }
}

std::vector<int32_t> Reader::kinds_of(const std::vector<std::string_view>& pieces) const {
  std::vector<int32_t> kinds(pieces.size(), static_cast<int32_t>(PieceKind::Normal));
  const auto set = [&](size_t id, PieceKind kind) { kinds[id] = static_cast<int32_t>(kind); };
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].empty()) set(id, PieceKind::Unused);
    if (pieces[id].size() > 1 && text::byte_value(pieces[id]) >= 0) set(id, PieceKind::Byte);
  }
  for (const AddedToken& token : added_)
    set(static_cast<size_t>(token.id), token.special ? PieceKind::Control : PieceKind::UserDefined);
  return kinds;
}

text::Vocabulary Reader::assemble() {
  if (merges_.ends.empty()) in_.refuse("expected at least one merge, got none; download it again");
  std::vector<std::string_view> pieces = place_pieces();
  place_added(pieces);
  auto owned = std::make_shared<Owned>();
  owned->kinds = kinds_of(pieces);
  // In the order of the ids, as a text touches them.
  size_t total = 0;
  for (const std::string_view piece : pieces) total += piece.size();
  owned->bytes.reserve(total);
  for (std::string_view& piece : pieces) {
    const size_t begin = owned->bytes.size();
    owned->bytes += piece;
    piece = std::string_view(owned->bytes).substr(begin);
  }
  text::Vocabulary vocabulary;
  vocabulary.pieces = std::move(pieces);
  vocabulary.kinds = owned->kinds.data();
  const auto merges = std::make_shared<const Arena>(std::move(merges_));
  for (size_t i = 0; i < merges->ends.size(); ++i) vocabulary.merges.push_back(merges->at(i));
  for (const AddedToken& token : added_) {
    if (token.normalized || token.lstrip || token.rstrip)
      vocabulary.added.push_back({static_cast<int32_t>(token.id), token.lstrip, token.rstrip, token.normalized});
  }
  std::stable_sort(vocabulary.added.begin(), vocabulary.added.end(),
                   [](const text::AddedPiece& a, const text::AddedPiece& b) { return a.id < b.id; });
  const auto same = [](const text::AddedPiece& a, const text::AddedPiece& b) { return a.id == b.id; };
  vocabulary.added.erase(std::unique(vocabulary.added.begin(), vocabulary.added.end(), same), vocabulary.added.end());
  vocabulary.newlines_apart = false;
  vocabulary.user_defined_marked = true;
  vocabulary.owner = owned;
  vocabulary.merges_owner = merges;
  return vocabulary;
}

}  // namespace

text::Vocabulary parse_tokenizer_json(std::string_view json, const std::string& where) {
  return Reader(json, where).read();
}

}  // namespace gemlet::engine
