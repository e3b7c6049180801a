// Metadata values: numbers, booleans and strings out of bytes whose bounds the parser has checked.
#include <cstring>
#include <limits>

#include "formats/gguf.h"

namespace gemlet::formats {
namespace {

template <class T>
T element(const uint8_t* data, uint64_t i) {
  T value;
  std::memcpy(&value, data + static_cast<size_t>(i) * sizeof(T), sizeof(T));
  return value;
}

std::string_view string_at(const uint8_t* at) {
  return {reinterpret_cast<const char*>(at) + sizeof(uint64_t), static_cast<size_t>(element<uint64_t>(at, 0))};
}

}  // namespace

size_t width_of(ValueType type) {
  switch (type) {
    case ValueType::U8:
    case ValueType::I8:
    case ValueType::Bool:
      return 1;
    case ValueType::U16:
    case ValueType::I16:
      return 2;
    case ValueType::U32:
    case ValueType::I32:
    case ValueType::F32:
      return 4;
    case ValueType::U64:
    case ValueType::I64:
    case ValueType::F64:
      return 8;
    case ValueType::String:
    case ValueType::Array:
      break;
  }
  return 0;
}

const char* name_of(ValueType type) {
  switch (type) {
    case ValueType::U8:
      return "uint8";
    case ValueType::I8:
      return "int8";
    case ValueType::U16:
      return "uint16";
    case ValueType::I16:
      return "int16";
    case ValueType::U32:
      return "uint32";
    case ValueType::I32:
      return "int32";
    case ValueType::F32:
      return "float32";
    case ValueType::Bool:
      return "bool";
    case ValueType::String:
      return "string";
    case ValueType::Array:
      return "array";
    case ValueType::U64:
      return "uint64";
    case ValueType::I64:
      return "int64";
    case ValueType::F64:
      return "float64";
  }
  return "unknown";
}

std::optional<int64_t> Value::as_int(uint64_t i) const {
  if (i >= count) return std::nullopt;
  switch (type) {
    case ValueType::U8:
    case ValueType::Bool:
      return element<uint8_t>(data, i);
    case ValueType::I8:
      return element<int8_t>(data, i);
    case ValueType::U16:
      return element<uint16_t>(data, i);
    case ValueType::I16:
      return element<int16_t>(data, i);
    case ValueType::U32:
      return element<uint32_t>(data, i);
    case ValueType::I32:
      return element<int32_t>(data, i);
    case ValueType::I64:
      return element<int64_t>(data, i);
    case ValueType::U64: {
      const auto value = element<uint64_t>(data, i);
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> Value::as_float(uint64_t i) const {
  if (i >= count || type == ValueType::Bool) return std::nullopt;
  if (type == ValueType::F32) return element<float>(data, i);
  if (type == ValueType::F64) return element<double>(data, i);
  if (type == ValueType::U64) return static_cast<double>(element<uint64_t>(data, i));
  const std::optional<int64_t> whole = as_int(i);
  if (!whole) return std::nullopt;
  return static_cast<double>(*whole);
}

std::optional<bool> Value::as_bool(uint64_t i) const {
  if (i >= count || type != ValueType::Bool) return std::nullopt;
  return data[i] != 0;
}

std::optional<std::string_view> Value::as_string() const {
  if (is_array || type != ValueType::String) return std::nullopt;
  return string_at(data);
}

std::vector<std::string_view> Value::strings() const {
  std::vector<std::string_view> out;
  if (!is_array || type != ValueType::String) return out;
  out.reserve(static_cast<size_t>(count));
  const uint8_t* at = data;
  for (uint64_t i = 0; i < count; ++i) {
    out.push_back(string_at(at));
    at += sizeof(uint64_t) + out.back().size();
  }
  return out;
}

}  // namespace gemlet::formats
