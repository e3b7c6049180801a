// The parser of one file: the header's length, the header, then the checks that tensors fill the rest without gap or overlap.
// Every number is hostile until compared with the bytes that are left; memory grows with what was read, never with a claim.
#include "formats/safetensors_part.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "formats/byte_cursor.h"
#include "formats/json_cursor.h"

namespace gemlet::formats {
namespace {

constexpr size_t kLengthBytes = 8;
constexpr size_t kMostDimensions = 8;
constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();

// A tensor as the header states it, before its data is found. Offsets count from the end of the header.
struct Placed {
  uint64_t begin, end;
  size_t index;  // in SafetensorsPart::tensors
};

// What is often saved in place of a model's file, by its first bytes.
const char* hint(std::string_view start, const char* otherwise) {
  if (start == "version ") return "; this looks like a Git LFS pointer: fetch the file itself with `git lfs pull`";
  const std::string_view four = start.substr(0, 4);
  if (four == "GGUF") return "; this is a GGUF file: give it the ending .gguf and open it as one";
  if (four == "<!DO" || four == "<!do" || four == "<htm") return "; this is a web page: download the file itself";
  if (four.substr(0, 2) == "PK") return "; this is an archive or a PyTorch file: save the model as safetensors";
  return otherwise;
}

std::string_view header_of(const uint8_t* bytes, size_t size, const std::string& where) {
  if (size == 0) throw BadFile(cat(where, ": header: the file is empty; download it again"));
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  if (size < kLengthBytes)
    throw BadFile(cat(where, ": header: file ends at byte ", size, ", needs ", kLengthBytes, "; download it again"));
  uint64_t length = 0;
  std::memcpy(&length, bytes, kLengthBytes);
  const std::string_view start = text.substr(0, kLengthBytes);
  if (length > kLongestSafetensorsHeader)
    throw BadFile(cat(where, ": header: expected at most ", kLongestSafetensorsHeader, " bytes, got a length of ",
                      length, hint(start, "; the file is damaged or no safetensors file, download it again")));
  if (length > size - kLengthBytes)
    throw BadFile(cat(where, ": header: file ends at byte ", size, ", needs ", kLengthBytes + length,
                      hint(start, "; download it again")));
  const std::string_view header = text.substr(kLengthBytes, static_cast<size_t>(length));
  if (header.empty() || header.front() != '{')
    throw BadFile(cat(where, ": header: expected it to begin with '{', got ", printable(header.substr(0, 1)),
                      "; the file is damaged or no safetensors file, download it again"));
  return header;
}

codec::Type type_of(const JsonCursor& in, const std::string& tensor, const std::string& dtype) {
  constexpr const char* kRead[] = {"F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64", "U8"};
  const codec::TypeInfo* known = nullptr;
  for (const char* name : kRead)  // the codec's own names go further than the format's
    if (dtype == name) known = codec::find(dtype);
  if (known == nullptr)
    throw UnsupportedModel(cat(in.where(), ": tensor ", printable(tensor), ": dtype ", printable(dtype),
                               " is not one that gemlet reads; save the model in F32, F16 or BF16"));
  return known->type;
}

void read_shape(JsonCursor& in, TensorInfo& tensor) {
  in.elements([&] {
    const uint64_t n = in.unsigned_integer();
    if (tensor.shape.size() == kMostDimensions)
      in.refuse(cat("expected at most ", kMostDimensions, " dimensions, got more; the file is damaged"));
    if (n > kMost) in.refuse(cat("expected dimensions below 2^63, got ", n, "; the file is damaged"));
    tensor.shape.push_back(static_cast<int64_t>(n));
  });
}

void read_offsets(JsonCursor& in, Placed& placed) {
  uint64_t got[2] = {};
  size_t count = 0;
  in.elements([&] {
    const uint64_t offset = in.unsigned_integer();
    if (count < 2) got[count] = offset;
    ++count;
  });
  if (count != 2) in.refuse(cat("expected data_offsets of 2 numbers, got ", count, "; the file is damaged"));
  placed.begin = got[0];
  placed.end = got[1];
  if (placed.begin > placed.end)
    in.refuse(
        cat("expected data_offsets in rising order, got ", placed.begin, " and ", placed.end, "; the file is damaged"));
  if (placed.end > kMost) in.refuse(cat("an offset of ", placed.end, " is impossible; the file is damaged"));
}

// Strides may be computed from the shape, so the product is bounded even where a dimension of 0 makes it nothing.
uint64_t bytes_of(const JsonCursor& in, const TensorInfo& tensor) {
  uint64_t bytes = codec::info(tensor.type).block_bytes;
  bool empty = false;
  for (const int64_t n : tensor.shape) {
    empty = empty || n == 0;
    const auto factor = static_cast<uint64_t>(std::max<int64_t>(n, 1));
    if (factor > kMost / bytes) in.refuse("expected a size below 2^63 bytes, got more; the file is damaged");
    bytes *= factor;
  }
  return empty ? 0 : bytes;
}

Placed read_tensor(JsonCursor& in, SafetensorsPart& part, const std::string& name, int file_index) {
  in.reading(cat("tensor ", printable(name)));
  TensorInfo tensor{};
  tensor.name = name;
  tensor.file_index = file_index;
  Placed placed{};
  bool typed = false, shaped = false, located = false;
  in.members("field", [&](const std::string& field) {
    if (field == "dtype") {
      tensor.type = type_of(in, name, in.string());
      typed = true;
    } else if (field == "shape") {
      read_shape(in, tensor);
      shaped = true;
    } else if (field == "data_offsets") {
      read_offsets(in, placed);
      located = true;
    } else {
      in.refuse(cat("expected dtype, shape and data_offsets, got also ", printable(field), "; the file is damaged"));
    }
  });
  if (!typed || !shaped || !located)
    in.refuse(cat("expected dtype, shape and data_offsets, got no ",
                  !typed    ? "dtype"
                  : !shaped ? "shape"
                            : "data_offsets",
                  "; the file is damaged"));
  const uint64_t bytes = bytes_of(in, tensor);
  if (placed.end - placed.begin != bytes)
    in.refuse(cat("expected ", bytes, " bytes for its shape and dtype, got ", placed.end - placed.begin,
                  "; the file is damaged"));
  tensor.bytes = static_cast<size_t>(bytes);
  placed.index = part.tensors.size();
  part.tensors.push_back(std::move(tensor));
  in.reading();
  return placed;
}

// Offsets become addresses here, after they are known to lie inside the file, apart, and to leave no byte unclaimed.
void place_tensors(JsonCursor& in, const uint8_t* bytes, size_t start, size_t size, std::vector<Placed>& placed,
                   SafetensorsPart& part) {
  std::sort(placed.begin(), placed.end(),
            [](const Placed& a, const Placed& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  uint64_t reached = 0;
  const std::string* before = nullptr;
  for (const Placed& p : placed) {
    const TensorInfo& tensor = part.tensors[p.index];
    in.reading(cat("tensor ", printable(tensor.name)));
    if (p.begin < reached)
      in.refuse(cat("expected its data after that of ", printable(*before), ", got an overlap; the file is damaged"));
    if (p.begin > reached)
      in.refuse(cat("expected its data at offset ", reached, ", got ", p.begin,
                    ": the bytes between belong to no tensor; the file is damaged"));
    reached = p.end;
    before = &tensor.name;
  }
  if (reached > size - start) {
    const bool fits = reached <= kMost - start;
    in.refuse(fits ? cat("file ends at byte ", size, ", needs ", start + reached, "; download it again")
                   : cat("an offset of ", reached, " is impossible; the file is damaged"));
  }
  in.reading();
  if (reached < size - start)
    in.refuse(cat("expected the file to end at byte ", start + reached, ", got ", size,
                  ": the rest belongs to no tensor; the file is damaged"));
  for (const Placed& p : placed) {
    TensorInfo& tensor = part.tensors[p.index];
    tensor.file_offset = start + static_cast<size_t>(p.begin);
    tensor.data = bytes + tensor.file_offset;
  }
}

}  // namespace

SafetensorsPart parse_safetensors(const uint8_t* bytes, size_t size, std::string_view label, int file_index) {
  const std::string where = cat("safetensors: '", label, "'");
  const std::string_view header = header_of(bytes, size, where);
  JsonCursor in(header, where, "header");
  SafetensorsPart part;
  std::vector<Placed> placed;
  in.members("tensor", [&](const std::string& name) {
    if (name != "__metadata__") {
      placed.push_back(read_tensor(in, part, name, file_index));
      return;
    }
    in.reading("__metadata__");
    in.members("key", [&](const std::string& key) { part.metadata.emplace_back(key, in.string()); });
    in.reading();
  });
  in.end();
  place_tensors(in, bytes, kLengthBytes + header.size(), size, placed, part);
  return part;
}

}  // namespace gemlet::formats
