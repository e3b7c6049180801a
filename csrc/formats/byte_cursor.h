// Walks over bytes that nobody has vouched for: every step is checked against what is left before it is taken.
// Knows lengths and little-endian numbers, not what they mean; the caller says what it is reading, for the messages.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace gemlet::formats {

static_assert(std::endian::native == std::endian::little, "files are little-endian and are read in place");

// A name from a file, fit for a message: in quotes, bytes outside printable ASCII escaped, long ones cut.
std::string printable(std::string_view name);

class ByteCursor {
 public:
  // `format` and `label` open every message: "gguf: 'file'".
  ByteCursor(const uint8_t* bytes, size_t size, std::string_view label, const char* format = "gguf")
      : bytes_(bytes), size_(size), label_(label), format_(format) {}

  // What is being read, for messages: "metadata 'general.name'". The name must outlive its use.
  void reading(const char* what, std::string_view name) {
    what_ = what;
    name_ = name;
  }

  size_t offset() const { return offset_; }
  size_t left() const { return size_ - offset_; }
  size_t size() const { return size_; }

  // `count` elements of `width` bytes, which may be any numbers: returns the first, moves past the last.
  const uint8_t* take(uint64_t count, uint64_t width = 1) {
    if (count > left() / width) ends_too_early(count, width);
    const uint8_t* at = bytes_ + offset_;
    offset_ += static_cast<size_t>(count * width);
    return at;
  }

  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(1, sizeof(T)), sizeof(T));
    return value;
  }

  // A string: its length in 8 bytes, then that many bytes.
  std::string_view text() {
    const uint64_t length = number<uint64_t>();
    return {reinterpret_cast<const char*>(take(length)), static_cast<size_t>(length)};
  }

  // Throws BadFile: "gguf: 'file': <what> '<name>': <problem>".
  [[noreturn]] void refuse(const std::string& problem) const;

 private:
  [[noreturn]] void ends_too_early(uint64_t count, uint64_t width) const;

  const uint8_t* bytes_;
  size_t size_;
  size_t offset_ = 0;
  std::string_view label_;
  const char* format_;
  const char* what_ = "header";
  std::string_view name_;
};

}  // namespace gemlet::formats
