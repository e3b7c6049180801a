// GGUF v3 as name -> (type, shape, bytes), memory-mapped; refuses bad files before it uses a number from them.
// Knows nothing of models. Format: the GGUF specification of the ggml project.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/file.h"
#include "formats/tensor_info.h"

namespace gemlet::formats {

// clang-format off
enum class ValueType : uint32_t {
  U8 = 0, I8 = 1, U16 = 2, I16 = 3, U32 = 4, I32 = 5, F32 = 6, Bool = 7, String = 8, Array = 9, U64 = 10, I64 = 11, F64 = 12,
};
// clang-format on

// Bytes of one element; 0 for strings and arrays, which have no fixed width, and for a number that is no type.
size_t width_of(ValueType type);
// "uint32", "string"; "unknown" for a number that is no type.
const char* name_of(ValueType type);

// One metadata value: a view into the mapping, checked against its bounds when the file was opened.
// Scalars have count 1. A string array keeps its bytes in place; `strings()` walks them once, without a copy.
struct Value {
  ValueType type = ValueType::U8;  // element type for arrays
  bool is_array = false;
  uint64_t count = 1;
  const uint8_t* data = nullptr;  // first element (for strings: its 8-byte length)

  std::optional<int64_t> as_int(uint64_t i = 0) const;   // any integer or bool element that fits
  std::optional<double> as_float(uint64_t i = 0) const;  // any number
  std::optional<bool> as_bool(uint64_t i = 0) const;
  std::optional<std::string_view> as_string() const;  // scalar strings only
  std::vector<std::string_view> strings() const;      // string arrays; empty otherwise
};

// Tensors have 1 to 4 dimensions of 1 or more; GGUF's order of dimensions is turned round. A whole file's data lies at
// multiples of its alignment, 8 bytes at least.
class Gguf {
 public:
  // Moves keep every view and pointer valid; a copy would not.
  Gguf(Gguf&&) = default;
  Gguf& operator=(Gguf&&) = default;
  Gguf(const Gguf&) = delete;
  Gguf& operator=(const Gguf&) = delete;

  // Opens one file, or the first of a split set `NAME-00001-of-0000N.gguf` and then all of them.
  // Throws ModelNotFound, BadFile (name, expected, got), UnsupportedModel (unknown tensor type).
  static Gguf open(const std::string& path);
  // The same checks over one unsplit file in memory (for the fuzz target); `bytes` must outlive the result.
  static Gguf parse(const uint8_t* bytes, size_t size, const std::string& label);

  const Value* find(std::string_view key) const;  // nullptr if absent
  // Typed access with a BadFile that names the key, the expected and the found type.
  int64_t require_int(const std::string& key) const;
  double require_float(const std::string& key) const;
  std::string_view require_string(const std::string& key) const;

  const std::vector<std::pair<std::string, Value>>& metadata() const { return metadata_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* tensor(std::string_view name) const;
  const std::vector<std::shared_ptr<const MappedFile>>& files() const { return files_; }
  const std::string& path() const { return path_; }

 private:
  Gguf() = default;
  void index_tensors();
  const Value& require(const std::string& key, const char* wanted) const;

  std::string path_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::vector<std::pair<std::string, Value>> metadata_;
  std::vector<TensorInfo> tensors_;
  // Keys are views of the names in the two vectors, whose elements stay in place when the vectors are moved.
  std::unordered_map<std::string_view, size_t> tensor_index_;
  std::unordered_map<std::string_view, size_t> metadata_index_;
};

}  // namespace gemlet::formats
