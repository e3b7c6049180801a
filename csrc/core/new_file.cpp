// POSIX: exclusive creation, allocation, positioned writes, fsync of the file and of its folder around the rename.
#include "core/new_file.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/error.h"

namespace gemlet {
namespace {

constexpr int kTries = 1000;

std::string folder_of(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder.string();
}

}  // namespace

NewFile::NewFile(const std::string& path, uint64_t size) : path_(path) {
  for (int i = 0; i < kTries && fd_ < 0; ++i) {
    partial_ = cat(path, ".", ::getpid(), ".", i, ".partial");
    fd_ = ::open(partial_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && errno != EEXIST) break;
  }
  if (fd_ < 0) fail("cannot be created", errno);
  try {
    take_room(size);
  } catch (...) {
    ::close(fd_);
    ::unlink(partial_.c_str());
    throw;
  }
}

NewFile::~NewFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(partial_.c_str());
}

void NewFile::take_room(uint64_t size) {
  if (size > static_cast<uint64_t>(INT64_MAX)) fail("is impossibly large", EFBIG);
  struct statvfs disk{};
  const bool known = ::fstatvfs(fd_, &disk) == 0;
  const uint64_t left = known ? static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize : 0;
  const auto full = [&] {
    throw OutOfMemory(cat("file: '", path_, "': needs ", size, " bytes, and its disk has ", left,
                          " left; make room, or name a file on another disk"));
  };
  if (known && left < size) full();
  const int error = size == 0 ? 0 : ::posix_fallocate(fd_, 0, static_cast<off_t>(size));
  if (error == ENOSPC) full();
  // Some file systems cannot; then the check above has to do.
  if (error != 0 && ::ftruncate(fd_, static_cast<off_t>(size)) != 0) fail("cannot grow to its size", errno);
}

void NewFile::write(uint64_t offset, const void* bytes, size_t count) {
  const auto* from = static_cast<const uint8_t*>(bytes);
  while (count > 0) {
    const ssize_t done = ::pwrite(fd_, from, count, static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail("cannot be written", done < 0 ? errno : EIO);
    from += done;
    offset += static_cast<uint64_t>(done);
    count -= static_cast<size_t>(done);
  }
}

void NewFile::commit() {
  if (::fsync(fd_) != 0) fail("cannot be brought to the disk", errno);
  if (::rename(partial_.c_str(), path_.c_str()) != 0) fail("cannot get its name", errno);
  ::close(fd_);
  fd_ = -1;
  // The name itself; a folder that cannot be synced has it all the same.
  const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  ::fsync(folder);
  ::close(folder);
}

void NewFile::fail(const char* what, int error) const {
  const std::string text = cat("file: '", path_, "': ", what, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) throw OutOfMemory(text + "; make room, or name a file on another disk");
  throw Error(text + "; name a file in a folder that exists and can be written");
}

}  // namespace gemlet
