// Read-only files: a memory mapping whose pages are the page cache's own, and positioned reads beside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace gemlet {

class MappedFile {
 public:
  // Throws ModelNotFound if there is no such file, BadFile if it cannot be mapped. An empty file maps to size() == 0.
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  const std::string& path() const { return path_; }

  // Copies bytes [offset, offset + count) through pread, so that they never become resident in the mapping.
  void read(size_t offset, void* into, size_t count) const;
  // Bytes of the mapping that will not be read for a while: their pages leave this process, not the page cache.
  void forget(const uint8_t* from, size_t count) const;

 private:
  MappedFile(std::string path, int fd, const uint8_t* data, size_t size)
      : path_(std::move(path)), fd_(fd), data_(data), size_(size) {}
  std::string path_;
  int fd_;
  const uint8_t* data_;
  size_t size_;
};

}  // namespace gemlet
