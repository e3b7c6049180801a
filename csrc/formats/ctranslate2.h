// CTranslate2's model.bin as name -> (type, shape, bytes), memory-mapped. Refuses bad files before it uses a number from
// them. Knows nothing of models: what the variables mean is the caller's. Version 6 of the format, written since 2022.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/file.h"

namespace gemlet::formats {

enum class StoredType : uint8_t { F32 = 0, I8 = 1, I16 = 2, I32 = 3, F16 = 4, BF16 = 5 };
size_t width_of(StoredType type);
const char* name_of(StoredType type);

// Outermost dimension first; none: a single value. Data may begin at any byte: read it by memcpy.
struct Variable {
  std::string name;
  StoredType type = StoredType::F32;
  std::vector<int64_t> shape;
  const uint8_t* data = nullptr;
  size_t bytes = 0;
};

class CTranslate2 {
 public:
  // Throws ModelNotFound, BadFile (name, expected, got), UnsupportedModel (another version of the format).
  static CTranslate2 open(const std::string& path);
  // The same checks over a file in memory; `bytes` must outlive the result.
  static CTranslate2 parse(const uint8_t* bytes, size_t size, const std::string& label);

  const std::string& kind() const { return kind_; }  // the specification's name: "WhisperSpec"
  uint32_t revision() const { return revision_; }
  const std::vector<Variable>& variables() const { return variables_; }
  // By name, or by a second name that the file gives it; nullptr if absent.
  const Variable* find(std::string_view name) const;
  const std::string& path() const { return path_; }
  const std::shared_ptr<const MappedFile>& file() const { return file_; }

 private:
  void read(const uint8_t* bytes, size_t size);
  std::string path_, kind_;
  uint32_t revision_ = 0;
  std::shared_ptr<const MappedFile> file_;
  std::vector<Variable> variables_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace gemlet::formats
