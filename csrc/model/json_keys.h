// Members of an object of a configuration in JSON, each checked for type and bounds before anyone uses it. What they mean,
// and what is assumed where one is missing, is the caller's.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "core/error.h"
#include "formats/json_value.h"
#include "model/gguf_keys.h"

namespace gemlet::model {

// The members of one object, each checked for type and bounds. null counts as missing.
class JsonKeys {
 public:
  JsonKeys(const formats::JsonValue& json, std::string where) : json_(json), where_(std::move(where)) {}

  const std::string& where() const { return where_; }
  const formats::JsonValue* find(const char* name) const {
    const formats::JsonValue* value = json_.find(name);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  bool names(const char* name) const { return json_.find(name) != nullptr; }  // be it as null
  int64_t integer(const char* name, int64_t least, int64_t most, std::optional<int64_t> otherwise = {}) const {
    const formats::JsonValue* value = find(name);
    if (value == nullptr) {
      if (otherwise) return *otherwise;
      throw BadFile(cat(where_, ": ", name, ": expected ", least, " to ", most, ", and it is missing"));
    }
    const auto number = value->as_int();
    if (!number || *number < least || *number > most) refuse(name, cat(least, " to ", most), *value);
    return *number;
  }
  double positive(const char* name, double otherwise) const {
    const formats::JsonValue* value = find(name);
    if (value == nullptr) return otherwise;
    const auto number = value->as_number();
    if (!number || !std::isfinite(*number) || *number <= 0) refuse(name, "a positive number", *value);
    return *number;
  }
  bool flag(const char* name) const {
    const formats::JsonValue* value = find(name);
    if (value != nullptr && !value->as_bool()) refuse(name, "true or false", *value);
    return value != nullptr && *value->as_bool();
  }
  std::string text(const char* name, const char* otherwise) const {
    const formats::JsonValue* value = find(name);
    if (value != nullptr && !value->as_string()) refuse(name, "a string", *value);
    return value == nullptr ? otherwise : *value->as_string();
  }
  const formats::JsonValue* object(const char* name) const {
    const formats::JsonValue* value = find(name);
    if (value != nullptr && value->kind() != formats::JsonKind::Object) refuse(name, "an object", *value);
    return value;
  }
  // A setting that gemlet runs in one way only.
  void expect_off(const char* name, const char* meaning) const {
    const formats::JsonValue* value = find(name);
    if (value == nullptr || value->as_bool() == false) return;
    unsupported(name, meaning, *value);
  }
  [[noreturn]] void refuse(const std::string& name, const std::string& wanted, const formats::JsonValue& got) const {
    throw BadFile(cat(where_, ": ", name, ": expected ", wanted, ", got ", got.shown()));
  }
  [[noreturn]] void unsupported(const std::string& name, const std::string& wanted,
                                const formats::JsonValue& got) const {
    throw UnsupportedModel(
        cat(where_, ": ", name, ": expected ", wanted, ", got ", got.shown(), "; gemlet does not run such models"));
  }

 private:
  const formats::JsonValue& json_;
  std::string where_;
};

}  // namespace gemlet::model
