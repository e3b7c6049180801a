// A small JSON document as a tree, for configurations whose members come in any order and may be missing.
// Large files are walked by JsonCursor instead: a tree is refused beyond a fixed number of values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/json_cursor.h"

namespace gemlet::formats {

class JsonValue {
 public:
  static constexpr size_t kMostValues = size_t{1} << 18U;
  static constexpr size_t kMostBytes = size_t{1} << 25U;

  JsonValue() = default;  // null
  // One value, wherever the cursor stands. Throws BadFile.
  static JsonValue read(JsonCursor& in);
  // A whole text. `where` and `part` as JsonCursor has them.
  static JsonValue parse(std::string_view text, const std::string& where, const std::string& part);

  JsonKind kind() const { return kind_; }
  bool is_null() const { return kind_ == JsonKind::Null; }
  const JsonValue* find(std::string_view key) const;  // nullptr if there is no such member, or this is no object

  std::optional<bool> as_bool() const;
  std::optional<int64_t> as_int() const;    // a number written without fraction and exponent that fits
  std::optional<double> as_number() const;  // any number
  std::optional<std::string> as_string() const;
  const std::vector<JsonValue>& values() const { return values_; }  // of an array, and of an object beside its keys
  const std::vector<std::string>& keys() const { return keys_; }    // of an object

  // As JSON again, cut short: for messages.
  std::string shown() const;

 private:
  static JsonValue read(JsonCursor& in, int depth, size_t& left);
  void show(std::string& out) const;

  JsonKind kind_ = JsonKind::Null;
  bool flag_ = false;
  std::string text_;  // a string's value, a number as written
  std::vector<std::string> keys_;
  std::vector<JsonValue> values_;
};

}  // namespace gemlet::formats
