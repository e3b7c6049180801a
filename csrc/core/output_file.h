// A file being written: under its final name it appears whole and on disk, or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gemlet {

class OutputFile {
 public:
  // Creates a file beside `path` under a name of its own. Throws BadArgument if it cannot.
  explicit OutputFile(std::string path);
  ~OutputFile();  // without commit(): nothing is left
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Throws Error naming the path, for example when the disk is full.
  void write(const void* from, size_t count);
  uint64_t written() const { return written_; }
  // Flushes to the disk and gives the file its name, replacing what had it.
  void commit();

 private:
  std::string path_, temporary_;
  int fd_ = -1;
  uint64_t written_ = 0;
};

}  // namespace gemlet
