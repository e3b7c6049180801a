// The errors of the library, one class for each Python exception of the same name, and `cat`, which builds a message.
// A message names the thing, what was expected, what came, and the remedy. Nothing here prints or aborts.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace gemlet {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct BadFile : Error {
  using Error::Error;
};
struct ModelNotFound : Error {
  using Error::Error;
};
struct UnsupportedModel : Error {
  using Error::Error;
};
struct ContextOverflow : Error {
  using Error::Error;
};
struct OutOfMemory : Error {
  using Error::Error;
};
struct SchemaError : Error {
  using Error::Error;
};
struct Cancelled : Error {
  using Error::Error;
};
// A wrong argument: ValueError in Python.
struct BadArgument : Error {
  using Error::Error;
};

// cat("blk.", 3, ": expected ", rows) -> one string.
template <class... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace gemlet
