// Gguf: opens a file, or all parts of a split set, and finds values and tensors by name. The parsing is gguf_part.cpp's.
#include "formats/gguf.h"

#include <iomanip>
#include <iterator>

#include "core/error.h"
#include "formats/byte_cursor.h"
#include "formats/gguf_part.h"

namespace gemlet::formats {
namespace {

using Metadata = std::vector<std::pair<std::string, Value>>;
using Index = std::unordered_map<std::string_view, size_t>;

constexpr int64_t kMostParts = 99999;  // five digits in the name

[[noreturn]] void refuse(const std::string& path, const std::string& problem) {
  throw BadFile(cat("gguf: '", path, "': ", problem));
}

Index index_metadata(const Metadata& metadata, const std::string& path) {
  Index index;
  index.reserve(metadata.size());
  for (size_t i = 0; i < metadata.size(); ++i)
    if (!index.emplace(metadata[i].first, i).second)
      refuse(path,
             cat("metadata ", printable(metadata[i].first), ": expected one entry, got a second; the file is damaged"));
  return index;
}

// What a part says of its set. A file that says nothing is a set of one.
struct Split {
  int64_t number = 0, count = 1;
  std::optional<int64_t> tensors;
};

std::optional<int64_t> split_value(const Metadata& metadata, const Index& index, const char* key,
                                   const std::string& path) {
  const auto found = index.find(key);
  if (found == index.end()) return std::nullopt;
  const Value& value = metadata[found->second].second;
  const std::optional<int64_t> number = value.is_array ? std::nullopt : value.as_int();
  if (!number || *number < 0)
    refuse(path, cat("metadata '", key, "': expected an integer of 0 or more; the file is damaged"));
  return number;
}

Split split_of(const Metadata& metadata, const Index& index, const std::string& path) {
  Split split;
  split.count = split_value(metadata, index, "split.count", path).value_or(1);
  if (split.count <= 1) return {};
  split.number = split_value(metadata, index, "split.no", path).value_or(0);
  split.tensors = split_value(metadata, index, "split.tensors.count", path);
  if (split.count > kMostParts || split.number >= split.count)
    refuse(path, cat("expected a part below ", kMostParts, " of a split set, got split.no ", split.number,
                     " and split.count ", split.count, "; the file is damaged"));
  return split;
}

std::string part_ending(int64_t number, int64_t count) {
  return cat(std::setfill('0'), "-", std::setw(5), number + 1, "-of-", std::setw(5), count, ".gguf");
}

bool ends_with(const std::string& text, const std::string& ending) {
  return text.size() >= ending.size() && text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
}

// The path before "-00001-of-0000N.gguf". Refuses any part but the first, and names that break the pattern.
std::string stem_of(const std::string& path, const Split& split) {
  const std::string ending = part_ending(split.number, split.count);
  if (!ends_with(path, ending))
    refuse(path, cat("is part ", split.number + 1, " of ", split.count, ": expected a name that ends in '", ending,
                     "'; rename the parts as they were published"));
  std::string stem = path.substr(0, path.size() - ending.size());
  if (split.number != 0)
    refuse(path, cat("is part ", split.number + 1, " of ", split.count, "; open the first, '", stem,
                     part_ending(0, split.count), "'"));
  return stem;
}

// `first` only names the set in messages.
std::shared_ptr<const MappedFile> open_part(const std::string& path, const std::string& first, int64_t count) {
  try {
    return MappedFile::open(path);
  } catch (const ModelNotFound&) {
    throw ModelNotFound(cat("gguf: '", first, "': expected ", count, " parts, '", path,
                            "' is missing; put every part into the same folder"));
  }
}

}  // namespace

Gguf Gguf::open(const std::string& path) {
  Gguf g;
  g.path_ = path;
  g.files_.push_back(MappedFile::open(path));
  GgufPart part = parse_part(g.files_[0]->data(), g.files_[0]->size(), path, 0);
  g.metadata_ = std::move(part.metadata);
  g.tensors_ = std::move(part.tensors);
  g.metadata_index_ = index_metadata(g.metadata_, path);

  const Split split = split_of(g.metadata_, g.metadata_index_, path);
  const std::string stem = split.count > 1 ? stem_of(path, split) : std::string();
  for (int64_t i = 1; i < split.count; ++i) {
    const std::string name = stem + part_ending(i, split.count);
    g.files_.push_back(open_part(name, path, split.count));
    GgufPart next = parse_part(g.files_.back()->data(), g.files_.back()->size(), name, static_cast<int>(i));
    const Split said = split_of(next.metadata, index_metadata(next.metadata, name), name);
    if (said.number != i || said.count != split.count)
      refuse(name, cat("expected part ", i + 1, " of ", split.count, ", got part ", said.number + 1, " of ", said.count,
                       "; it belongs to another set, download it again"));
    std::move(next.tensors.begin(), next.tensors.end(), std::back_inserter(g.tensors_));
  }
  if (split.tensors && *split.tensors != static_cast<int64_t>(g.tensors_.size()))
    refuse(path, cat("expected ", *split.tensors, " tensors in ", split.count, " parts, got ", g.tensors_.size(),
                     "; the parts do not belong together, download them again"));
  g.index_tensors();
  return g;
}

Gguf Gguf::parse(const uint8_t* bytes, size_t size, const std::string& label) {
  Gguf g;
  g.path_ = label;
  GgufPart part = parse_part(bytes, size, label, 0);
  g.metadata_ = std::move(part.metadata);
  g.tensors_ = std::move(part.tensors);
  g.metadata_index_ = index_metadata(g.metadata_, label);
  const Split split = split_of(g.metadata_, g.metadata_index_, label);
  if (split.count > 1)
    refuse(label,
           cat("is part ", split.number + 1, " of ", split.count, ", expected a whole model; open it as a file"));
  g.index_tensors();
  return g;
}

void Gguf::index_tensors() {
  tensor_index_.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i)
    if (!tensor_index_.emplace(tensors_[i].name, i).second)
      refuse(path_, cat("tensor ", printable(tensors_[i].name),
                        ": expected one of this name, got a second; the file is damaged"));
}

const Value* Gguf::find(std::string_view key) const {
  const auto found = metadata_index_.find(key);
  return found == metadata_index_.end() ? nullptr : &metadata_[found->second].second;
}

const TensorInfo* Gguf::tensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

const Value& Gguf::require(const std::string& key, const char* wanted) const {
  const Value* value = find(key);
  if (value == nullptr)
    refuse(path_, cat("metadata ", printable(key), ": expected ", wanted, ", got nothing; convert the model again"));
  return *value;
}

int64_t Gguf::require_int(const std::string& key) const {
  const Value& value = require(key, "an integer");
  const std::optional<int64_t> got = value.is_array || value.type == ValueType::Bool ? std::nullopt : value.as_int();
  if (!got)
    refuse(path_, cat("metadata ", printable(key), ": expected an integer below 2^63, got ",
                      value.is_array ? "an array of " : "", name_of(value.type), "; convert the model again"));
  return *got;
}

double Gguf::require_float(const std::string& key) const {
  const Value& value = require(key, "a number");
  const std::optional<double> got = value.is_array ? std::nullopt : value.as_float();
  if (!got)
    refuse(path_, cat("metadata ", printable(key), ": expected a number, got ", value.is_array ? "an array of " : "",
                      name_of(value.type), "; convert the model again"));
  return *got;
}

std::string_view Gguf::require_string(const std::string& key) const {
  const Value& value = require(key, "a string");
  const std::optional<std::string_view> got = value.as_string();
  if (!got)
    refuse(path_, cat("metadata ", printable(key), ": expected a string, got ", value.is_array ? "an array of " : "",
                      name_of(value.type), "; convert the model again"));
  return *got;
}

}  // namespace gemlet::formats
