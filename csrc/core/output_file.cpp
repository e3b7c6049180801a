// POSIX: a temporary file in the same folder, fsync, rename.
#include "core/output_file.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/error.h"

namespace gemlet {
namespace {

constexpr mode_t kReadableByAll = 0666;
constexpr int kAttempts = 100;

}  // namespace

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  static std::atomic<unsigned> made{0};
  for (int attempt = 0; fd_ < 0 && attempt < kAttempts; ++attempt) {
    temporary_ = cat(path_, ".part-", ::getpid(), "-", made++);
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kReadableByAll);  // less what umask takes
    if (fd_ < 0 && errno != EEXIST) break;
  }
  if (fd_ < 0) throw BadArgument(cat("file: cannot write '", path_, "': ", std::strerror(errno)));
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void OutputFile::write(const void* from, size_t count) {
  const auto* bytes = static_cast<const char*>(from);
  while (count > 0) {
    const ssize_t put = ::write(fd_, bytes, count);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0)
      throw Error(cat("file: writing '", path_, "' failed after ", written_, " bytes: ", std::strerror(errno)));
    bytes += put;
    written_ += static_cast<uint64_t>(put);
    count -= static_cast<size_t>(put);
  }
}

void OutputFile::commit() {
  if (::fsync(fd_) != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0)
    throw Error(cat("file: finishing '", path_, "' failed: ", std::strerror(errno)));
  ::close(fd_);
  fd_ = -1;
}

}  // namespace gemlet
