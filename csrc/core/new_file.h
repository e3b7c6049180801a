// A file being written: it has a name of its own beside the final one until it is whole and on the disk, and is gone if it
// never gets there. Its room is taken before the first byte, so a full disk is noticed at the start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gemlet {

class NewFile {
 public:
  // Throws Error where the folder cannot be written, OutOfMemory where the disk has no `size` bytes left.
  NewFile(const std::string& path, uint64_t size);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  const std::string& partial() const { return partial_; }  // the name until commit()
  void write(uint64_t offset, const void* bytes, size_t count);
  // Waits for the disk, then gives the file its name, over what had it before.
  void commit();

 private:
  void take_room(uint64_t size);
  [[noreturn]] void fail(const char* what, int error) const;

  std::string path_, partial_;
  int fd_ = -1;
};

}  // namespace gemlet
