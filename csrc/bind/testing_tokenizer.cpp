// gemlet._core.testing, the tokenizer's part: vocabularies out of Python's objects, and how long building one takes.
#include <pybind11/stl.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bind/bind.h"
#include "core/error.h"
#include "engine/vocabulary.h"
#include "formats/gguf.h"
#include "text/tokenizer.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

using text::Tokenizer;

// A vocabulary made of Python's objects, for tests with tiny vocabularies.
struct Arrays {
  std::vector<std::string> pieces;
  std::vector<float> scores;
  std::vector<int32_t> kinds;
  std::vector<std::string> merges;
};

std::shared_ptr<Tokenizer> from_arrays(std::vector<py::bytes> pieces, std::vector<float> scores,
                                       std::vector<int32_t> kinds, int32_t bos, bool add_space_prefix,
                                       const std::vector<py::bytes>& merges) {
  auto arrays = std::make_shared<Arrays>(Arrays{{}, std::move(scores), std::move(kinds), {}});
  for (const py::bytes& piece : pieces) arrays->pieces.emplace_back(piece);
  for (const py::bytes& merge : merges) arrays->merges.emplace_back(merge);
  const auto fits = [&](size_t size) { return size == 0 || size == pieces.size(); };
  if (!fits(arrays->scores.size()) || !fits(arrays->kinds.size()))
    throw BadArgument(cat("vocabulary: expected ", pieces.size(), " scores and kinds, got ", arrays->scores.size(),
                          " and ", arrays->kinds.size()));
  text::Vocabulary vocabulary;
  vocabulary.pieces.assign(arrays->pieces.begin(), arrays->pieces.end());
  vocabulary.scores = arrays->scores.empty() ? nullptr : arrays->scores.data();
  vocabulary.kinds = arrays->kinds.empty() ? nullptr : arrays->kinds.data();
  vocabulary.merges.assign(arrays->merges.begin(), arrays->merges.end());
  vocabulary.bos = bos;
  vocabulary.add_space_prefix = add_space_prefix;
  vocabulary.owner = arrays;
  return std::const_pointer_cast<Tokenizer>(
      std::shared_ptr<const Tokenizer>(engine::tokenizer_of(std::move(vocabulary))));
}

// Seconds that each part of opening a file's tokenizer took: the file, its vocabulary, the tokenizer's tables.
std::vector<double> build_seconds(const std::string& path) {
  using Clock = std::chrono::steady_clock;
  const py::gil_scoped_release released;
  std::vector<Clock::time_point> times = {Clock::now()};
  const auto file = std::make_shared<const formats::Gguf>(formats::Gguf::open(path));
  times.push_back(Clock::now());
  text::Vocabulary vocabulary = engine::vocabulary_from(file);
  times.push_back(Clock::now());
  const auto built = engine::tokenizer_of(std::move(vocabulary));
  times.push_back(Clock::now());
  std::vector<double> seconds;
  for (size_t i = 1; i < times.size(); ++i)
    seconds.push_back(std::chrono::duration<double>(times[i] - times[i - 1]).count());
  return seconds;
}

}  // namespace

void register_testing_tokenizer(py::module_& testing) {
  testing.def("tokenizer_from_arrays", &from_arrays, py::arg("pieces"), py::arg("scores"), py::arg("kinds"),
              py::arg("bos") = -1, py::arg("add_space_prefix") = false, py::arg("merges") = std::vector<py::bytes>());
  testing.def("tokenizer_build_seconds", &build_seconds, py::arg("path"));
}

}  // namespace gemlet::bind
