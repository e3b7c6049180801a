// The parser of one file: header, metadata, tensor list, then the checks that tensors lie inside the file and apart.
// Every number is hostile until compared with the bytes that are left; memory grows with what was read, never with a claim.
#include "formats/gguf_part.h"

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "formats/byte_cursor.h"

namespace gemlet::formats {
namespace {

constexpr uint64_t kLongestKey = 65536;
constexpr uint64_t kLongestTensorName = 64;
constexpr uint32_t kMostDimensions = 4;
constexpr uint64_t kDefaultAlignment = 32;
// The shortest possible entries: bounds for the counts in the header.
constexpr uint64_t kLeastMetadataBytes = 8 + 1 + 4 + 1;
constexpr uint64_t kLeastTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;
constexpr uint64_t kReserveAtMost = 4096;

struct Counts {
  uint64_t tensors, metadata;
};

// A tensor as the file states it, before its data is found.
struct Placed {
  uint64_t offset;  // from the start of the data section
  size_t index;     // in GgufPart::tensors
};

[[noreturn]] void refuse_magic(ByteCursor& in, const uint8_t* magic) {
  const std::string_view got(reinterpret_cast<const char*>(magic), 4);
  const char* hint = "; is this the model file?";
  if (got == "vers") hint = "; this looks like a Git LFS pointer: fetch the file itself with `git lfs pull`";
  if (got == "<!DO" || got == "<!do" || got == "<htm") hint = "; this is a web page: download the file itself";
  if (got.substr(0, 2) == "PK") hint = "; this is an archive or a PyTorch file: convert the model to GGUF";
  if (got == "ggml" || got == "lmgg" || got == "ggjt" || got == "tjgg")
    hint = "; this is a format older than GGUF: convert the model again";
  in.refuse(cat("expected a GGUF file, which begins with 'GGUF', got ", printable(got), hint));
}

Counts read_header(ByteCursor& in) {
  if (in.size() == 0) in.refuse("the file is empty; download it again");
  const uint8_t* magic = in.take(4);
  if (std::memcmp(magic, "GGUF", 4) != 0) refuse_magic(in, magic);
  const auto version = in.number<uint32_t>();
  if (version != 0 && (version & 0xffffU) == 0)
    in.refuse("expected a little-endian file, got a big-endian one; convert the model for little-endian machines");
  if (version != 2 && version != 3)
    in.refuse(cat("expected version 2 or 3, got ", version,
                  version < 2 ? "; convert the model again with a current converter" : "; update gemlet"));
  Counts counts{};
  counts.tensors = in.number<uint64_t>();
  counts.metadata = in.number<uint64_t>();
  if (counts.metadata > in.left() / kLeastMetadataBytes)
    in.refuse(cat("expected at most ", in.left() / kLeastMetadataBytes, " metadata entries in ", in.size(),
                  " bytes, got ", counts.metadata, "; the file is cut short or damaged, download it again"));
  if (counts.tensors > in.left() / kLeastTensorBytes)
    in.refuse(cat("expected at most ", in.left() / kLeastTensorBytes, " tensors in ", in.size(), " bytes, got ",
                  counts.tensors, "; the file is cut short or damaged, download it again"));
  return counts;
}

std::string_view read_key(ByteCursor& in) {
  const std::string_view key = in.text();
  if (key.empty() || key.size() > kLongestKey)
    in.refuse(cat("expected a key of 1 to ", kLongestKey, " bytes, got ", key.size(), "; the file is damaged"));
  return key;
}

void check_bools(ByteCursor& in, const uint8_t* data, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i)
    if (data[i] > 1) in.refuse(cat("expected a bool of 0 or 1, got ", int{data[i]}, "; the file is damaged"));
}

Value read_value(ByteCursor& in) {
  Value value;
  value.type = static_cast<ValueType>(in.number<uint32_t>());
  if (value.type == ValueType::Array) {
    value.is_array = true;
    value.type = static_cast<ValueType>(in.number<uint32_t>());
    value.count = in.number<uint64_t>();
    if (value.type == ValueType::Array)
      in.refuse("expected an array of numbers, bools or strings, got an array of arrays, which gemlet does not read");
  }
  if (value.type == ValueType::String) {
    if (value.is_array && value.count > in.left() / sizeof(uint64_t))
      in.refuse(cat("expected at most ", in.left() / sizeof(uint64_t), " strings in the rest of the file, got ",
                    value.count, "; the file is cut short or damaged, download it again"));
    value.data = in.take(0);
    for (uint64_t i = 0; i < value.count; ++i) in.text();
    return value;
  }
  const size_t width = width_of(value.type);
  if (width == 0)
    in.refuse(
        cat("expected a value type of 0 to 12, got ", static_cast<uint32_t>(value.type), "; the file is damaged"));
  value.data = in.take(value.count, width);
  if (value.type == ValueType::Bool) check_bools(in, value.data, value.count);
  return value;
}

// Types of the format that gemlet does not read, so that a refusal can name them.
const char* unread_type(uint32_t type) {
  switch (type) {
    case 9:
      return "Q8_1";
    case 15:
      return "Q8_K";
    case 16:
      return "IQ2_XXS";
    case 17:
      return "IQ2_XS";
    case 18:
      return "IQ3_XXS";
    case 19:
      return "IQ1_S";
    case 21:
      return "IQ3_S";
    case 22:
      return "IQ2_S";
    case 29:
      return "IQ1_M";
    case 34:
      return "TQ1_0";
    case 35:
      return "TQ2_0";
    case 40:
      return "NVFP4";
    default:
      return "of no name known here";
  }
}

// dims come innermost first; `bytes` is set as well, since only here are product and size checked together.
void read_shape(ByteCursor& in, TensorInfo& tensor, std::string_view label) {
  const auto dimensions = in.number<uint32_t>();
  if (dimensions < 1 || dimensions > kMostDimensions)
    in.refuse(cat("expected 1 to ", kMostDimensions, " dimensions, got ", dimensions, "; the file is damaged"));
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  uint64_t elements = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    const auto n = in.number<uint64_t>();
    if (n == 0 || n > kMost)
      in.refuse(cat("expected dimensions of 1 or more, got ", static_cast<int64_t>(n), "; the file is damaged"));
    if (n > kMost / elements) in.refuse("expected a number of elements below 2^63, got more; the file is damaged");
    elements *= n;
    tensor.shape.push_back(static_cast<int64_t>(n));
  }
  const auto type = in.number<uint32_t>();
  const codec::TypeInfo* known = codec::find(type);
  if (known == nullptr)
    throw UnsupportedModel(cat("gguf: '", label, "': tensor ", printable(tensor.name), ": type ", type, " (",
                               unread_type(type),
                               ") is not one that gemlet reads; use a file in Q4_K_M, Q8_0, MXFP4, BF16 or the like"));
  tensor.type = known->type;
  const int64_t row = tensor.shape.front();
  if (row % known->block != 0)
    in.refuse(cat("expected rows of a multiple of ", known->block, " elements for ", known->name, ", got ", row,
                  "; the file is damaged"));
  const uint64_t blocks = elements / static_cast<uint64_t>(known->block);
  if (blocks > kMost / known->block_bytes) in.refuse("expected a size below 2^63 bytes, got more; the file is damaged");
  tensor.bytes = static_cast<size_t>(blocks * known->block_bytes);
  std::reverse(tensor.shape.begin(), tensor.shape.end());
}

Placed read_tensor(ByteCursor& in, GgufPart& part, std::string_view label, int file_index) {
  TensorInfo tensor{};
  tensor.file_index = file_index;
  in.reading("the name of a tensor", {});
  const std::string_view name = in.text();
  in.reading("tensor", name);
  if (name.empty() || name.size() > kLongestTensorName)
    in.refuse(
        cat("expected a name of 1 to ", kLongestTensorName, " bytes, got ", name.size(), "; the file is damaged"));
  tensor.name = name;
  read_shape(in, tensor, label);
  const auto offset = in.number<uint64_t>();
  part.tensors.push_back(std::move(tensor));
  return {offset, part.tensors.size() - 1};
}

uint64_t alignment_of(ByteCursor& in, const GgufPart& part) {
  for (const auto& [key, value] : part.metadata) {
    if (key != "general.alignment") continue;
    in.reading("metadata", key);
    const std::optional<int64_t> got = value.is_array || value.type == ValueType::Bool ? std::nullopt : value.as_int();
    if (!got) in.refuse(cat("expected an integer, got ", value.is_array ? "an array" : name_of(value.type)));
    if (*got < 8 || (*got & (*got - 1)) != 0)
      in.refuse(cat("expected a power of two of 8 or more, got ", *got, "; the file is damaged"));
    return static_cast<uint64_t>(*got);
  }
  return kDefaultAlignment;
}

// Offsets become addresses here, after they are known to lie inside the file, at multiples of the alignment, and apart.
void place_tensors(ByteCursor& in, const uint8_t* bytes, uint64_t alignment, std::vector<Placed>& placed,
                   GgufPart& part) {
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  if (placed.empty()) return;
  const uint64_t start = (in.offset() / alignment + (in.offset() % alignment != 0 ? 1 : 0)) * alignment;
  uint64_t needed = start;
  for (const Placed& p : placed) {
    const TensorInfo& tensor = part.tensors[p.index];
    in.reading("tensor", tensor.name);
    if (p.offset % alignment != 0)
      in.refuse(
          cat("expected an offset that is a multiple of ", alignment, ", got ", p.offset, "; the file is damaged"));
    if (p.offset > kMost - start || tensor.bytes > kMost - start - p.offset)
      in.refuse(cat("an offset of ", p.offset, " is impossible; the file is damaged, download it again"));
    needed = std::max(needed, start + p.offset + tensor.bytes);
  }
  for (const Placed& p : placed) {
    TensorInfo& tensor = part.tensors[p.index];
    in.reading("tensor", tensor.name);
    if (start + p.offset + tensor.bytes > in.size())
      in.refuse(cat("file ends at byte ", in.size(), ", needs ", needed, "; download it again"));
    tensor.file_offset = static_cast<size_t>(start + p.offset);
    tensor.data = bytes + tensor.file_offset;
  }
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) { return a.offset < b.offset; });
  for (size_t i = 1; i < placed.size(); ++i) {
    const TensorInfo& before = part.tensors[placed[i - 1].index];
    if (placed[i - 1].offset + before.bytes <= placed[i].offset) continue;
    in.reading("tensor", part.tensors[placed[i].index].name);
    in.refuse(cat("expected its data after that of ", printable(before.name), ", got an overlap; the file is damaged"));
  }
}

}  // namespace

GgufPart parse_part(const uint8_t* bytes, size_t size, std::string_view label, int file_index) {
  ByteCursor in(bytes, size, label);
  const Counts counts = read_header(in);
  GgufPart part;
  part.metadata.reserve(static_cast<size_t>(std::min(counts.metadata, kReserveAtMost)));
  for (uint64_t i = 0; i < counts.metadata; ++i) {
    in.reading("the key of a metadata entry", {});
    const std::string_view key = read_key(in);
    in.reading("metadata", key);
    const Value value = read_value(in);
    part.metadata.emplace_back(key, value);
  }
  part.tensors.reserve(static_cast<size_t>(std::min(counts.tensors, kReserveAtMost)));
  std::vector<Placed> placed;
  for (uint64_t i = 0; i < counts.tensors; ++i) placed.push_back(read_tensor(in, part, label, file_index));
  place_tensors(in, bytes, alignment_of(in, part), placed, part);
  return part;
}

}  // namespace gemlet::formats
