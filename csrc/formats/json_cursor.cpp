// The grammar of JSON (RFC 8259), strict: nothing that the standard leaves to the reader is accepted.
#include "formats/json_cursor.h"

#include <limits>

#include "core/error.h"
#include "formats/byte_cursor.h"

namespace gemlet::formats {
namespace {

constexpr int kDeepest = 16;  // of values that are skipped; what is read has the depth of the caller's code

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_utf8(uint32_t code, std::string& out) {
  const auto put = [&out](uint32_t byte) { out += static_cast<char>(byte); };
  const auto tail = [&](int shift) { put(0x80U | ((code >> shift) & 0x3fU)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xc0U | (code >> 6));
  } else {
    if (code < 0x10000) {
      put(0xe0U | (code >> 12));
    } else {
      put(0xf0U | (code >> 18));
      tail(12);
    }
    tail(6);
  }
  tail(0);
}

// Bytes of the character that `text` begins with; 0 if they are not well-formed UTF-8 (Unicode, table 3-7).
size_t character_length(std::string_view text) {
  const auto byte = [text](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto tail = [](unsigned b) { return b >= 0x80 && b <= 0xbf; };
  const unsigned lead = byte(0), second = byte(1);
  if (lead < 0x80) return text.empty() ? 0 : 1;
  if (lead < 0xc2 || lead > 0xf4 || !tail(second)) return 0;
  if (lead < 0xe0) return 2;
  // Longer than needed, halves of a pair, beyond the last code point.
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f)) return 0;
  if ((lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f) || !tail(byte(2))) return 0;
  if (lead < 0xf0) return 3;
  return tail(byte(3)) ? 4 : 0;
}

}  // namespace

void JsonCursor::refuse(const std::string& problem) const { throw BadFile(cat(where_, ": ", subject_, ": ", problem)); }

void JsonCursor::unexpected(const std::string& wanted) const {
  const std::string got = at_ < text_.size() ? printable(text_.substr(at_, 1)) : "the end";
  refuse(cat("expected ", wanted, " at byte ", at_, " of the ", part_, ", got ", got,
             "; the file is damaged, download it again"));
}

void JsonCursor::twice(const char* kind, const std::string& key) const {
  refuse(cat(kind, " ", printable(key), ": expected one of this name, got a second; the file is damaged"));
}

void JsonCursor::skip_space() {
  while (at(' ') || at('\n') || at('\r') || at('\t')) ++at_;
}

void JsonCursor::expect(char wanted) {
  skip_space();
  if (!at(wanted)) unexpected(printable({&wanted, 1}));
  ++at_;
}

void JsonCursor::open(char bracket, const char* wanted) {
  skip_space();
  if (!at(bracket)) unexpected(wanted);
  ++at_;
}

bool JsonCursor::another(char close, bool first) {
  skip_space();
  if (at(close)) {
    ++at_;
    return false;
  }
  if (first) return true;
  if (!at(',')) unexpected(cat("',' or '", close, "'"));
  ++at_;
  return true;
}

void JsonCursor::end() {
  skip_space();
  if (at_ < text_.size()) unexpected("nothing more");
}

JsonKind JsonCursor::kind() {
  skip_space();
  if (at('"')) return JsonKind::String;
  if (at('{')) return JsonKind::Object;
  if (at('[')) return JsonKind::Array;
  if (at('t') || at('f')) return JsonKind::Bool;
  if (at('n')) return JsonKind::Null;
  if (at('-') || (at_ < text_.size() && is_digit(text_[at_]))) return JsonKind::Number;
  unexpected("a value");
}

std::string JsonCursor::string() {
  std::string unescaped;
  return std::string(text(unescaped));
}

std::string_view JsonCursor::text(std::string& unescaped) {
  open('"', "a string");
  size_t start = at_;
  while (!at('"') && !at('\\')) pass_character();
  if (at('"')) return text_.substr(start, at_++ - start);
  unescaped.clear();
  while (!at('"')) {
    unescaped += text_.substr(start, at_ - start);
    if (at('\\')) escape(unescaped);
    start = at_;
    while (!at('"') && !at('\\')) pass_character();
  }
  unescaped += text_.substr(start, at_++ - start);
  return unescaped;
}

void JsonCursor::pass_character() {
  if (at_ == text_.size()) unexpected("the end of a string");
  const auto lead = static_cast<unsigned char>(text_[at_]);
  if (lead < 0x20) unexpected("an escape for a control character");
  const size_t length = lead < 0x80 ? 1 : character_length(text_.substr(at_));
  if (length == 0) unexpected("UTF-8");
  at_ += length;
}

void JsonCursor::escape(std::string& out) {
  ++at_;  // past the backslash
  constexpr std::string_view kNames = "\"\\/bfnrt";
  constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
  const size_t simple = at_ < text_.size() ? kNames.find(text_[at_]) : std::string_view::npos;
  if (simple != std::string_view::npos) {
    out += kValues[simple];
    ++at_;
    return;
  }
  if (!at('u')) unexpected("an escape of JSON");
  uint32_t code = code_unit();
  if (code >= 0xd800 && code < 0xdc00 && text_.substr(at_, 2) == "\\u") {
    ++at_;
    const uint32_t low = code_unit();
    if (low < 0xdc00 || low > 0xdfff) unexpected("two halves of a character before this");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  if (code >= 0xd800 && code < 0xe000) unexpected("two halves of a character before this");
  append_utf8(code, out);
}

uint32_t JsonCursor::code_unit() {
  ++at_;  // past the 'u'
  uint32_t code = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    const char c = at_ < text_.size() ? text_[at_] : ' ';
    const char lower = static_cast<char>(c | 0x20);
    if (!is_digit(c) && (lower < 'a' || lower > 'f')) unexpected("four hexadecimal digits");
    code = code * 16 + static_cast<uint32_t>(is_digit(c) ? c - '0' : lower - 'a' + 10);
  }
  return code;
}

uint64_t JsonCursor::unsigned_integer() {
  constexpr const char* kWanted = "an integer of 0 or more";
  skip_space();
  const size_t start = at_;
  uint64_t value = 0;
  for (; at_ < text_.size() && is_digit(text_[at_]); ++at_) {
    const auto digit = static_cast<uint64_t>(text_[at_] - '0');
    if (value > (std::numeric_limits<uint64_t>::max() - digit) / 10)
      refuse(cat("expected an integer below 2^64 at byte ", start, " of the ", part_,
                 ", got a larger one; the file is damaged"));
    value = value * 10 + digit;
  }
  if (at_ == start || at('.') || at('e') || at('E')) unexpected(kWanted);
  if (text_[start] == '0' && at_ > start + 1) {
    at_ = start;
    unexpected("an integer without leading zeros");
  }
  return value;
}

bool JsonCursor::skip_digits() {
  const size_t start = at_;
  while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
  return at_ > start;
}

std::string_view JsonCursor::number() {
  skip_space();
  const size_t start = at_;
  if (at('-')) ++at_;
  const bool zero = at('0');
  const size_t whole = at_;
  if (!skip_digits() || (zero && at_ > whole + 1)) unexpected("a number");
  if (at('.')) {
    ++at_;
    if (!skip_digits()) unexpected("a digit");
  }
  if (at('e') || at('E')) {
    ++at_;
    if (at('+') || at('-')) ++at_;
    if (!skip_digits()) unexpected("a digit");
  }
  return text_.substr(start, at_ - start);
}

bool JsonCursor::boolean() {
  skip_space();
  const bool yes = at('t');
  expect_word(yes ? "true" : "false");
  return yes;
}

void JsonCursor::null() {
  skip_space();
  expect_word("null");
}

void JsonCursor::expect_word(std::string_view word) {
  if (text_.substr(at_, word.size()) != word) unexpected("a value");
  at_ += word.size();
}

void JsonCursor::skip(int depth) {
  if (depth > kDeepest)
    refuse(cat("expected at most ", kDeepest, " levels of brackets, got more at byte ", at_, " of the ", part_,
               "; the file is damaged"));
  switch (kind()) {
    case JsonKind::String: {
      std::string unescaped;
      text(unescaped);
      return;
    }
    case JsonKind::Object:
      return members("member", [&](const std::string&) { skip(depth + 1); });
    case JsonKind::Array:
      return elements([&] { skip(depth + 1); });
    case JsonKind::Bool:
      boolean();
      return;
    case JsonKind::Null:
      return null();
    case JsonKind::Number:
      number();
  }
}

}  // namespace gemlet::formats
