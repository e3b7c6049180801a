// The bytes of a GGUF v3 file before its tensors' data, put together; and where each tensor's data then belongs.
// Writes nothing, and knows no keys.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.h"

namespace gemlet::formats {

class GgufHeader {
 public:
  void add_text(const std::string& key, std::string_view value);
  void add_uint32(const std::string& key, uint32_t value);
  void add_float32(const std::string& key, float value);
  void add_bool(const std::string& key, bool value);
  void add_texts(const std::string& key, const std::vector<std::string_view>& values);
  void add_int32s(const std::string& key, const std::vector<int32_t>& values);
  void add_float32s(const std::string& key, const std::vector<float>& values);
  void add_bools(const std::string& key, const std::vector<bool>& values);
  // A value of another file, as it is.
  void add_value(const std::string& key, const Value& value);
  // Shape outermost first, 1 to 4 dimensions. Throws BadArgument where a row is no whole number of blocks.
  void add_tensor(const std::string& name, codec::Type type, const std::vector<int64_t>& shape);

  std::string bytes() const;                                              // padded, so that the data follows at once
  uint64_t data_offset(size_t tensor) const { return offsets_[tensor]; }  // from the end of bytes()
  uint64_t data_bytes() const { return data_bytes_; }

 private:
  void add_key(const std::string& key, ValueType type);
  void add_array(const std::string& key, ValueType type, uint64_t count);

  std::string metadata_, tensors_;
  uint64_t metadata_count_ = 0;
  std::vector<uint64_t> offsets_;
  uint64_t data_bytes_ = 0;
};

}  // namespace gemlet::formats
