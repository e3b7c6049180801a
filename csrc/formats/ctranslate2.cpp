// Walks the file once: version, specification, variables, second names. Lengths are checked against what is left before
// anything is kept; counts never reserve memory.
#include "formats/ctranslate2.h"

#include "core/error.h"
#include "formats/byte_cursor.h"

namespace gemlet::formats {
namespace {

constexpr uint32_t kVersion = 6;
constexpr size_t kMostDimensions = 8;
constexpr uint8_t kTypes = 6;

// Its length with the zero that ends it, in two bytes.
std::string_view short_text(ByteCursor& in) {
  const uint16_t length = in.number<uint16_t>();
  if (length == 0) in.refuse("expected a text that ends with a zero byte, got none");
  const auto* at = reinterpret_cast<const char*>(in.take(length));
  const std::string_view text(at, static_cast<size_t>(length) - 1);
  if (at[length - 1] != '\0' || text.find('\0') != std::string_view::npos)
    in.refuse(
        cat("expected a text that ends with a zero byte, got ", printable({at, length}), "; the file is damaged"));
  return text;
}

Variable read_variable(ByteCursor& in) {
  Variable v;
  v.name = short_text(in);
  in.reading("variable", v.name);
  const uint8_t dimensions = in.number<uint8_t>();
  if (dimensions > kMostDimensions)
    in.refuse(cat("expected at most ", kMostDimensions, " dimensions, got ", static_cast<int>(dimensions)));
  uint64_t elements = 1;
  for (uint8_t i = 0; i < dimensions; ++i) {
    const uint32_t size = in.number<uint32_t>();
    v.shape.push_back(size);
    // At most 2^32 by 2^32 before it is compared.
    elements *= size;
    if (elements > UINT32_MAX) in.refuse("expected at most 2^32 values, got more; the file is damaged");
  }
  const uint8_t type = in.number<uint8_t>();
  if (type >= kTypes) in.refuse(cat("expected a type of 0 to ", kTypes - 1, ", got ", static_cast<int>(type)));
  v.type = static_cast<StoredType>(type);
  const uint32_t bytes = in.number<uint32_t>();
  if (bytes != elements * width_of(v.type))
    in.refuse(cat("expected ", elements * width_of(v.type), " bytes for ", elements, " values of ", name_of(v.type),
                  ", got ", bytes, "; the file is damaged"));
  v.data = in.take(bytes);
  v.bytes = bytes;
  in.reading("file", "");
  return v;
}

}  // namespace

size_t width_of(StoredType type) {
  switch (type) {
    case StoredType::I8:
      return 1;
    case StoredType::I16:
    case StoredType::F16:
    case StoredType::BF16:
      return 2;
    case StoredType::F32:
    case StoredType::I32:
      break;
  }
  return 4;
}

const char* name_of(StoredType type) {
  constexpr const char* kNames[kTypes] = {"float32", "int8", "int16", "int32", "float16", "bfloat16"};
  return kNames[static_cast<size_t>(type)];
}

CTranslate2 CTranslate2::open(const std::string& path) {
  CTranslate2 model;
  model.path_ = path;
  model.file_ = MappedFile::open(path);
  model.read(model.file_->data(), model.file_->size());
  return model;
}

CTranslate2 CTranslate2::parse(const uint8_t* bytes, size_t size, const std::string& label) {
  CTranslate2 model;
  model.path_ = label;
  model.read(bytes, size);
  return model;
}

void CTranslate2::read(const uint8_t* bytes, size_t size) {
  const std::string label = cat("ctranslate2: '", path_, "'");
  ByteCursor in(bytes, size, path_, "ctranslate2");
  in.reading("header", "");
  const uint32_t version = in.number<uint32_t>();
  if (version == 0 || version > 64)
    throw BadFile(cat(label, ": expected the version of CTranslate2's format, ", kVersion, ", got ", version,
                      "; this is no model.bin of CTranslate2"));
  if (version != kVersion)
    throw UnsupportedModel(cat(label, ": version ", version, " of CTranslate2's format, expected ", kVersion,
                               "; convert the model again with a CTranslate2 of today"));
  kind_ = short_text(in);
  revision_ = in.number<uint32_t>();
  const uint32_t count = in.number<uint32_t>();
  for (uint32_t i = 0; i < count; ++i) {
    in.reading("file", "");
    Variable v = read_variable(in);
    if (!index_.emplace(v.name, variables_.size()).second)
      in.refuse(cat("variable ", printable(v.name), " comes twice; the file is damaged"));
    variables_.push_back(std::move(v));
  }
  in.reading("second names", "");
  const uint32_t aliases = in.number<uint32_t>();
  for (uint32_t i = 0; i < aliases; ++i) {
    const std::string alias(short_text(in)), name(short_text(in));
    const auto found = index_.find(name);
    if (found == index_.end())
      in.refuse(cat(printable(alias), " stands for ", printable(name), ", which is no variable of the file"));
    if (!index_.emplace(alias, found->second).second)
      in.refuse(cat("the name ", printable(alias), " comes twice; the file is damaged"));
  }
  if (in.left() > 0)
    in.refuse(cat("expected the end of the file, got ", in.left(), " more bytes; it is damaged or no model.bin"));
}

const Variable* CTranslate2::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &variables_[found->second];
}

}  // namespace gemlet::formats
