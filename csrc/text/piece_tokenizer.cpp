// Checking a vocabulary, once, and the way from an id back to bytes.
#include "text/piece_tokenizer.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "text/byte_names.h"
#include "text/hash.h"
#include "text/quoted.h"
#include "text/white_space.h"

namespace gemlet::text {
namespace {

constexpr size_t kMaxText = size_t{1} << 30U;  // symbols count in 32 bits, and a space grows to three bytes

}  // namespace

PieceTokenizer::PieceTokenizer(Vocabulary vocabulary)
    : vocabulary_(std::move(vocabulary)),
      table_(vocabulary_.pieces),
      splitter_(vocabulary_.pieces),
      user_defined_(vocabulary_.pieces, check()),
      late_user_defined_(vocabulary_.pieces, late_ids(false)),
      late_all_(vocabulary_.pieces, late_ids(true)) {
  find_bytes();
  for (size_t c = 0; c < ascii_.size(); ++c) ascii_[c] = table_.find(std::string(1, static_cast<char>(c)));
  mark_ = table_.find(kSpaceMark);
}

void PieceTokenizer::check_size(std::string_view text) {
  if (text.size() > kMaxText)
    throw BadArgument(cat("text of ", text.size(), " bytes: expected at most ", kMaxText, "; encode it in parts"));
}

std::vector<int32_t> PieceTokenizer::check() const {
  if (count() == 0) throw BadFile("vocabulary: expected pieces, got none");
  const std::pair<const char*, int32_t> marks[] = {
      {"bos", vocabulary_.bos}, {"eos", vocabulary_.eos}, {"unknown", vocabulary_.unk}, {"padding", vocabulary_.pad}};
  for (const auto& [name, id] : marks)
    if (id < -1 || id >= static_cast<int64_t>(count()))
      throw BadFile(cat("vocabulary: ", name, " id ", id, ": expected -1 (none) to ", count() - 1));
  std::vector<int32_t> user_defined;
  for (size_t id = 0; id < count(); ++id) {
    const int32_t kind = vocabulary_.kinds == nullptr ? 1 : load<int32_t>(vocabulary_.kinds + id);
    if (kind == static_cast<int32_t>(PieceKind::Normal)) continue;
    if (kind < 1 || kind > 6) throw BadFile(cat("vocabulary: piece ", id, ": expected a kind from 1 to 6, got ", kind));
    if (kind == static_cast<int32_t>(PieceKind::UserDefined)) {
      const AddedPiece* rules = added(static_cast<int32_t>(id));
      if (rules == nullptr || !rules->late) user_defined.push_back(static_cast<int32_t>(id));
    }
    if (kind == static_cast<int32_t>(PieceKind::Byte) && byte_value(vocabulary_.pieces[id]) < 0)
      throw BadFile(cat("vocabulary: piece ", id, " is of kind byte: expected a name like '<0x0A>', got ",
                        quoted(vocabulary_.pieces[id])));
  }
  return user_defined;
}

const AddedPiece* PieceTokenizer::added(int32_t id) const {
  const auto at = std::lower_bound(vocabulary_.added.begin(), vocabulary_.added.end(), id,
                                   [](const AddedPiece& piece, int32_t wanted) { return piece.id < wanted; });
  return at != vocabulary_.added.end() && at->id == id ? &*at : nullptr;
}

std::vector<int32_t> PieceTokenizer::late_ids(bool control) const {
  std::vector<int32_t> ids;
  for (const AddedPiece& piece : vocabulary_.added)
    if (piece.late && (control || kind(piece.id) == PieceKind::UserDefined)) ids.push_back(piece.id);
  return ids;
}

void PieceTokenizer::widen(SpecialMatcher::Match& match, std::string_view text, size_t least) const {
  const AddedPiece* rules = added(match.id);
  if (rules == nullptr) return;
  // A late piece is looked for once spaces are marks, which are no white space.
  if (rules->strips_left) {
    const size_t end = match.begin + match.size;
    match.begin = std::min(end, std::max(least, before_space(text, match.begin, !rules->late)));
    match.size = end - match.begin;
  }
  if (rules->strips_right) match.size = past_space(text, match.begin + match.size, !rules->late) - match.begin;
}

void PieceTokenizer::find_bytes() {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::string name = byte_name(byte);
    const char self = static_cast<char>(byte);
    bytes_[byte] = table_.find(name);
    if (bytes_[byte] < 0) bytes_[byte] = table_.find({&self, 1});
    if (bytes_[byte] < 0)
      throw BadFile(cat("vocabulary: expected a piece '", name, "' for characters without a piece of their own; ",
                        "this vocabulary has no byte fallback"));
  }
}

// Control pieces are thousands, and most texts are encoded without them: found and sorted when first asked for.
const SpecialMatcher& PieceTokenizer::all_specials() const {
  std::call_once(all_once_, [this] {
    std::vector<int32_t> ids;
    for (size_t id = 0; id < count(); ++id) {
      const PieceKind kind = kind_at(id);
      if (kind != PieceKind::UserDefined && kind != PieceKind::Control && kind != PieceKind::Unknown) continue;
      const AddedPiece* rules = added(static_cast<int32_t>(id));
      if (rules == nullptr || !rules->late) ids.push_back(static_cast<int32_t>(id));
    }
    all_ = std::make_unique<SpecialMatcher>(vocabulary_.pieces, std::move(ids));
  });
  return *all_;
}

PieceKind PieceTokenizer::kind_at(size_t id) const {
  if (vocabulary_.kinds != nullptr) return static_cast<PieceKind>(load<int32_t>(vocabulary_.kinds + id));
  // Then a byte piece is known by its name alone.
  const std::string_view text = vocabulary_.pieces[id];
  return text.size() > 1 && byte_value(text) >= 0 ? PieceKind::Byte : PieceKind::Normal;
}

PieceKind PieceTokenizer::kind(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= count())
    throw BadArgument(
        cat("token id ", id, ": expected 0 to ", count() - 1, ", the vocabulary has ", count(), " pieces"));
  return kind_at(static_cast<size_t>(id));
}

std::string PieceTokenizer::piece(int32_t id, bool special) const {
  const PieceKind its = kind(id);
  std::string text(vocabulary_.pieces[static_cast<size_t>(id)]);
  switch (its) {
    case PieceKind::Control:
    case PieceKind::Unknown:
      return special ? text : std::string();
    case PieceKind::UserDefined:  // matched in raw text, so written as the text has it
      if (!vocabulary_.user_defined_marked) return text;
      break;
    case PieceKind::Byte:
      return {static_cast<char>(byte_value(text))};
    case PieceKind::Normal:
    case PieceKind::Unused:
      break;
  }
  for (size_t mark = text.find(kSpaceMark); mark != std::string::npos; mark = text.find(kSpaceMark, mark + 1))
    text.replace(mark, kSpaceMark.size(), 1, ' ');
  return text;
}

}  // namespace gemlet::text
