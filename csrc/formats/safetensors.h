// Safetensors as name -> (type, shape, bytes), memory-mapped: one file, or a folder whose index names the shards.
// Refuses bad files before it uses a number from them. Knows nothing of models. Format: Hugging Face's safetensors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/file.h"
#include "formats/tensor_info.h"

namespace gemlet::formats {

// Two promises of Gguf that this format does not make:
// - data may begin at any byte: read it by memcpy (as the codec does), never through a cast pointer;
// - a shape has 0 to 8 dimensions (none: one element), and a dimension may be 0 (no bytes).
// A shape is outermost first as in the file; its dimensions multiply to below 2^63 bytes even if those of 0 are left out.
class Safetensors {
 public:
  // Moves keep every view and pointer valid; a copy would not.
  Safetensors(Safetensors&&) = default;
  Safetensors& operator=(Safetensors&&) = default;
  Safetensors(const Safetensors&) = delete;
  Safetensors& operator=(const Safetensors&) = delete;

  // Opens one file; the shards of an index (a path that ends in ".json"); or a folder: its model.safetensors if there is
  // one, else the shards of its model.safetensors.index.json.
  // Throws ModelNotFound, BadFile (name, expected, got), UnsupportedModel (a dtype that the codec does not know).
  static Safetensors open(const std::string& path);
  // The same checks over one file in memory (for the fuzz target); `bytes` must outlive the result.
  static Safetensors parse(const uint8_t* bytes, size_t size, const std::string& label);

  // The header's own strings, in its order. Of shards: the first value of each key.
  const std::vector<std::pair<std::string, std::string>>& metadata() const { return metadata_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* tensor(std::string_view name) const;  // nullptr if absent
  const std::vector<std::shared_ptr<const MappedFile>>& files() const { return files_; }
  const std::string& path() const { return path_; }

 private:
  Safetensors() = default;
  void open_file(const std::string& path);
  void open_shards(const std::string& index_path);
  void add_metadata(std::vector<std::pair<std::string, std::string>> more);
  void index_tensors();

  std::string path_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::vector<TensorInfo> tensors_;
  // Keys are views of the names in `tensors_`, whose elements stay in place when the vector is moved.
  std::unordered_map<std::string_view, size_t> tensor_index_;
};

// What an index says: tensor -> the name of its shard, a plain file name. Every other member is checked and ignored.
using WeightMap = std::unordered_map<std::string, std::string>;
// Over bytes in memory; `label` names the index in messages. Throws BadFile.
WeightMap parse_weight_map(std::string_view text, const std::string& label);

}  // namespace gemlet::formats
