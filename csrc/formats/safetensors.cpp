// Safetensors: finds the file or the shards behind a path, and checks that index and shards say the same.
// The parsing of a file is safetensors_part.cpp's.
#include "formats/safetensors.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <system_error>

#include "core/error.h"
#include "formats/byte_cursor.h"
#include "formats/json_cursor.h"
#include "formats/safetensors_part.h"

namespace gemlet::formats {
namespace {

constexpr const char* kSingleName = "model.safetensors";
constexpr const char* kIndexName = "model.safetensors.index.json";

[[noreturn]] void refuse(const std::string& path, const std::string& problem) {
  throw BadFile(cat("safetensors: '", path, "': ", problem));
}

bool ends_with(std::string_view text, std::string_view ending) {
  return text.size() >= ending.size() && text.substr(text.size() - ending.size()) == ending;
}

bool is_there(const std::filesystem::path& path) {
  std::error_code failed;
  return std::filesystem::exists(path, failed);
}

bool is_folder(const std::filesystem::path& path) {
  std::error_code failed;
  return std::filesystem::is_directory(path, failed);
}

std::string file_in_folder(const std::string& folder) {
  for (const char* name : {kSingleName, kIndexName}) {
    const std::filesystem::path file = std::filesystem::path(folder) / name;
    if (is_there(file)) return file.string();
  }
  throw ModelNotFound(cat("safetensors: '", folder, "': expected '", kSingleName, "' or '", kIndexName,
                          "' in the folder, got neither; download the model again"));
}

// A shard lies beside its index: whatever could lead elsewhere is refused.
bool is_plain_name(std::string_view name) {
  constexpr std::string_view kElsewhere("/\\\0", 3);
  return !name.empty() && name != "." && name != ".." && name.find_first_of(kElsewhere) == std::string_view::npos;
}

// `index` only names the set in messages.
std::shared_ptr<const MappedFile> open_shard(const std::string& path, const std::string& index) {
  try {
    return MappedFile::open(path);
  } catch (const ModelNotFound&) {
    throw ModelNotFound(cat("safetensors: '", index, "': expected the shard '", path,
                            "', which is missing; put every shard into the folder of the index"));
  }
}

// Takes what it finds out of `expected`, so that what is left at the end was in no shard.
void claim(const TensorInfo& tensor, const std::string& shard, const std::string& path, WeightMap& expected) {
  const auto found = expected.find(tensor.name);
  if (found == expected.end())
    refuse(path, cat("tensor ", printable(tensor.name),
                     ": expected only tensors of the index, got one that it does not name or has named already; "
                     "the shards do not belong together, download them again"));
  if (found->second != shard)
    refuse(path, cat("tensor ", printable(tensor.name), ": expected in ", printable(found->second),
                     " by the index, got it here; the shards do not belong together, download them again"));
  expected.erase(found);
}

}  // namespace

WeightMap parse_weight_map(std::string_view text, const std::string& label) {
  if (text.size() > kLongestSafetensorsHeader)
    refuse(label, cat("index: expected at most ", kLongestSafetensorsHeader, " bytes, got ", text.size(),
                      "; is this the index?"));
  JsonCursor in(text, cat("safetensors: '", label, "'"), "index");
  WeightMap map;
  bool found = false;
  const auto read_entry = [&](const std::string& tensor) {
    in.reading(cat("tensor ", printable(tensor)));
    std::string shard = in.string();
    if (!is_plain_name(shard))
      in.refuse(cat("expected the name of a file beside the index, got ", printable(shard),
                    "; do not trust this model, or name the shard without its folder"));
    map.emplace(tensor, std::move(shard));
    in.reading();
  };
  in.members("member", [&](const std::string& key) {
    if (key != "weight_map") return in.skip();
    found = true;
    in.members("tensor", read_entry);
  });
  in.end();
  if (!found || map.empty())
    in.refuse(cat("expected a weight_map of tensors and shards, got ", found ? "an empty one" : "none",
                  "; the file is damaged or no index, download it again"));
  return map;
}

Safetensors Safetensors::open(const std::string& path) {
  Safetensors s;
  s.path_ = path;
  const std::string file = is_folder(path) ? file_in_folder(path) : path;
  if (ends_with(file, ".json"))
    s.open_shards(file);
  else
    s.open_file(file);
  s.index_tensors();
  return s;
}

Safetensors Safetensors::parse(const uint8_t* bytes, size_t size, const std::string& label) {
  Safetensors s;
  s.path_ = label;
  SafetensorsPart part = parse_safetensors(bytes, size, label, 0);
  s.metadata_ = std::move(part.metadata);
  s.tensors_ = std::move(part.tensors);
  s.index_tensors();
  return s;
}

void Safetensors::open_file(const std::string& path) {
  files_.push_back(MappedFile::open(path));
  SafetensorsPart part = parse_safetensors(files_[0]->data(), files_[0]->size(), path, 0);
  metadata_ = std::move(part.metadata);
  tensors_ = std::move(part.tensors);
}

void Safetensors::open_shards(const std::string& index_path) {
  const std::shared_ptr<const MappedFile> index = MappedFile::open(index_path);
  const std::string_view text(reinterpret_cast<const char*>(index->data()), index->size());
  WeightMap expected = parse_weight_map(text, index_path);
  std::set<std::string> shards;  // in the order of their names, which is that of their numbers
  for (const auto& [tensor, shard] : expected) shards.insert(shard);
  const std::filesystem::path folder = std::filesystem::path(index_path).parent_path();
  for (const std::string& shard : shards) {
    const std::string path = (folder / shard).string();
    files_.push_back(open_shard(path, index_path));
    const int number = static_cast<int>(files_.size()) - 1;
    SafetensorsPart part = parse_safetensors(files_.back()->data(), files_.back()->size(), path, number);
    for (const TensorInfo& tensor : part.tensors) claim(tensor, shard, path, expected);
    std::move(part.tensors.begin(), part.tensors.end(), std::back_inserter(tensors_));
    add_metadata(std::move(part.metadata));
  }
  if (expected.empty()) return;
  const auto missing = std::min_element(expected.begin(), expected.end());
  refuse((folder / missing->second).string(),
         cat("tensor ", printable(missing->first), ": expected here by the index, got nothing; ", expected.size(),
             " such in all: the shards do not belong together, download them again"));
}

void Safetensors::add_metadata(std::vector<std::pair<std::string, std::string>> more) {
  for (auto& entry : more) {
    const auto same = [&entry](const auto& known) { return known.first == entry.first; };
    if (std::none_of(metadata_.begin(), metadata_.end(), same)) metadata_.push_back(std::move(entry));
  }
}

void Safetensors::index_tensors() {
  tensor_index_.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i) tensor_index_.emplace(tensors_[i].name, i);
}

const TensorInfo* Safetensors::tensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace gemlet::formats
