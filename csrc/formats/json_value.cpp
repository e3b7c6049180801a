// The tree is built by the cursor's rules, so what it accepts is strict JSON without a key twice.
#include "formats/json_value.h"

#include <charconv>
#include <utility>

#include "core/error.h"
#include "formats/byte_cursor.h"

namespace gemlet::formats {
namespace {

constexpr int kDeepest = 16;
constexpr size_t kShown = 80;  // bytes

}  // namespace

JsonValue JsonValue::read(JsonCursor& in) {
  size_t left = kMostValues;
  return read(in, 0, left);
}

JsonValue JsonValue::parse(std::string_view text, const std::string& where, const std::string& part) {
  JsonCursor in(text, where, part);
  if (text.size() > kMostBytes)
    in.refuse(cat("expected at most ", kMostBytes, " bytes, got ", text.size(), "; is this the right file?"));
  JsonValue value = read(in);
  in.end();
  return value;
}

JsonValue JsonValue::read(JsonCursor& in, int depth, size_t& left) {
  if (depth > kDeepest) in.refuse(cat("expected at most ", kDeepest, " levels of brackets; the file is damaged"));
  if (left-- == 0) in.refuse(cat("expected at most ", kMostValues, " values; is this the right file?"));
  JsonValue made;
  made.kind_ = in.kind();
  switch (made.kind_) {
    case JsonKind::Null:
      in.null();
      break;
    case JsonKind::Bool:
      made.flag_ = in.boolean();
      break;
    case JsonKind::Number:
      made.text_ = in.number();
      break;
    case JsonKind::String:
      made.text_ = in.string();
      break;
    case JsonKind::Array:
      in.elements([&] { made.values_.push_back(read(in, depth + 1, left)); });
      break;
    case JsonKind::Object:
      in.members("member", [&](const std::string& key) {
        made.keys_.push_back(key);
        made.values_.push_back(read(in, depth + 1, left));
      });
      break;
  }
  return made;
}

const JsonValue* JsonValue::find(std::string_view key) const {
  for (size_t i = 0; i < keys_.size(); ++i)
    if (keys_[i] == key) return &values_[i];
  return nullptr;
}

std::optional<bool> JsonValue::as_bool() const {
  return kind_ == JsonKind::Bool ? std::optional<bool>(flag_) : std::nullopt;
}

std::optional<int64_t> JsonValue::as_int() const {
  int64_t value = 0;
  if (kind_ != JsonKind::Number) return std::nullopt;
  const auto [end, failed] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
  if (failed != std::errc() || end != text_.data() + text_.size()) return std::nullopt;
  return value;
}

std::optional<double> JsonValue::as_number() const {
  double value = 0;
  if (kind_ != JsonKind::Number) return std::nullopt;
  const auto [end, failed] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
  if (failed != std::errc() || end != text_.data() + text_.size()) return std::nullopt;
  return value;
}

std::optional<std::string> JsonValue::as_string() const {
  return kind_ == JsonKind::String ? std::optional<std::string>(text_) : std::nullopt;
}

std::string JsonValue::shown() const {
  std::string out;
  show(out);
  if (out.size() > kShown) out = out.substr(0, kShown) + "...";
  const std::string quoted = printable(out);
  return quoted.substr(1, quoted.size() - 2);
}

void JsonValue::show(std::string& out) const {
  if (out.size() > kShown) return;
  if (kind_ == JsonKind::Null) out += "null";
  if (kind_ == JsonKind::Bool) out += flag_ ? "true" : "false";
  if (kind_ == JsonKind::Number) out += text_;
  if (kind_ == JsonKind::String) out += '"' + text_ + '"';
  if (kind_ != JsonKind::Array && kind_ != JsonKind::Object) return;
  out += kind_ == JsonKind::Array ? '[' : '{';
  for (size_t i = 0; i < values_.size(); ++i) {
    if (i > 0) out += ", ";
    if (kind_ == JsonKind::Object) out += '"' + keys_[i] + "\": ";
    values_[i].show(out);
  }
  out += kind_ == JsonKind::Array ? ']' : '}';
}

}  // namespace gemlet::formats
