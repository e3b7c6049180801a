// Little-endian numbers one after the other, as gguf_part.cpp reads them.
#include "formats/gguf_header.h"

#include "core/error.h"

namespace gemlet::formats {
namespace {

constexpr uint64_t kAlignment = 32;  // GGUF's own where a file does not say otherwise
constexpr uint32_t kVersion = 3;

template <class T>
void put(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& to, std::string_view text) {
  put(to, static_cast<uint64_t>(text.size()));
  to += text;
}

uint64_t padded(uint64_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

void GgufHeader::add_key(const std::string& key, ValueType type) {
  put_text(metadata_, key);
  put(metadata_, static_cast<uint32_t>(type));
  ++metadata_count_;
}

void GgufHeader::add_array(const std::string& key, ValueType type, uint64_t count) {
  add_key(key, ValueType::Array);
  put(metadata_, static_cast<uint32_t>(type));
  put(metadata_, count);
}

void GgufHeader::add_text(const std::string& key, std::string_view value) {
  add_key(key, ValueType::String);
  put_text(metadata_, value);
}

void GgufHeader::add_uint32(const std::string& key, uint32_t value) {
  add_key(key, ValueType::U32);
  put(metadata_, value);
}

void GgufHeader::add_float32(const std::string& key, float value) {
  add_key(key, ValueType::F32);
  put(metadata_, value);
}

void GgufHeader::add_bool(const std::string& key, bool value) {
  add_key(key, ValueType::Bool);
  put(metadata_, static_cast<uint8_t>(value));
}

void GgufHeader::add_texts(const std::string& key, const std::vector<std::string_view>& values) {
  add_array(key, ValueType::String, values.size());
  for (const std::string_view value : values) put_text(metadata_, value);
}

void GgufHeader::add_int32s(const std::string& key, const std::vector<int32_t>& values) {
  add_array(key, ValueType::I32, values.size());
  for (const int32_t value : values) put(metadata_, value);
}

void GgufHeader::add_float32s(const std::string& key, const std::vector<float>& values) {
  add_array(key, ValueType::F32, values.size());
  for (const float value : values) put(metadata_, value);
}

void GgufHeader::add_bools(const std::string& key, const std::vector<bool>& values) {
  add_array(key, ValueType::Bool, values.size());
  for (const bool value : values) put(metadata_, static_cast<uint8_t>(value));
}

void GgufHeader::add_value(const std::string& key, const Value& value) {
  if (value.is_array)
    add_array(key, value.type, value.count);
  else
    add_key(key, value.type);
  if (value.type != ValueType::String) {
    metadata_.append(reinterpret_cast<const char*>(value.data),
                     static_cast<size_t>(value.count) * width_of(value.type));
    return;
  }
  if (!value.is_array) return put_text(metadata_, *value.as_string());
  for (const std::string_view text : value.strings()) put_text(metadata_, text);
}

void GgufHeader::add_tensor(const std::string& name, codec::Type type, const std::vector<int64_t>& shape) {
  if (shape.empty() || shape.size() > 4)
    throw BadArgument(cat("gguf: tensor '", name, "': expected 1 to 4 dimensions, got ", shape.size()));
  put_text(tensors_, name);
  put(tensors_, static_cast<uint32_t>(shape.size()));
  uint64_t rows = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    put(tensors_, static_cast<uint64_t>(shape[i]));
    if (i + 1 < shape.size()) rows *= static_cast<uint64_t>(shape[i]);
  }
  put(tensors_, static_cast<uint32_t>(type));
  put(tensors_, data_bytes_);
  offsets_.push_back(data_bytes_);
  data_bytes_ += padded(rows * codec::row_bytes(type, shape.back()));
}

std::string GgufHeader::bytes() const {
  std::string out = "GGUF";
  put(out, kVersion);
  put(out, static_cast<uint64_t>(offsets_.size()));
  put(out, metadata_count_);
  out += metadata_;
  out += tensors_;
  out.resize(static_cast<size_t>(padded(out.size())));
  return out;
}

}  // namespace gemlet::formats
