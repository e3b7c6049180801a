// _core.Prompt: ids with the soft rows that stand in place of some of them. Rows that are kept, and that nobody can write
// to, are shared; others are copied once, when it is made.
#include "bind/prompt.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "bind/array.h"
#include "bind/bind.h"
#include "bind/kept_rows.h"
#include "bind/token_ids.h"
#include "core/error.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

struct PyPrompt {
  model::Prompt prompt;
  int64_t width = 0;  // of the soft rows; 0: none
};

constexpr const char* kKinds[model::kSoftKinds] = {"image", "video", "audio"};

model::SoftKind kind_of(const std::string& name) {
  for (uint8_t i = 0; i < model::kSoftKinds; ++i)
    if (name == kKinds[i]) return static_cast<model::SoftKind>(i);
  throw BadArgument(cat("prompt: expected a span of kind 'image', 'video' or 'audio', got '", name, "'"));
}

std::shared_ptr<const float> lasting(const In<float>& rows) {
  if (std::shared_ptr<const float> shared = shared_rows(rows)) return shared;
  const auto count = static_cast<size_t>(rows.size());
  const std::shared_ptr<float[]> own(new float[count]);
  std::memcpy(own.get(), rows.data(), count * sizeof(float));
  return {own, own.get()};
}

using GivenSpan = std::tuple<int64_t, std::string, In<float>, py::bytes>;  // begin, kind, rows (n, D), 16 bytes

PyPrompt make(const py::object& ids, const std::vector<GivenSpan>& spans) {
  PyPrompt made{model::Prompt(ids_from(ids)), 0};
  for (const auto& [begin, kind, rows, hash] : spans) {
    expect_dims(rows, 2, "prompt: soft rows");
    const std::string digest = hash;
    model::Span span{begin, rows.shape(0), kind_of(kind), {}, nullptr};
    if (digest.size() != sizeof span.hash)
      throw BadArgument(cat("prompt: expected a hash of ", sizeof span.hash, " bytes, got ", digest.size()));
    if (rows.shape(1) < 1 || (made.width > 0 && rows.shape(1) != made.width))
      throw BadArgument(cat("prompt: expected soft rows of equal widths, got ", made.width, " and ", rows.shape(1)));
    std::memcpy(span.hash.data(), digest.data(), sizeof span.hash);
    span.rows = lasting(rows);
    made.width = rows.shape(1);
    made.prompt.spans.push_back(std::move(span));
  }
  made.prompt.check_spans();
  return made;
}

}  // namespace

model::Prompt prompt_from(const py::object& prompt, const model::Config& config) {
  if (!py::isinstance<PyPrompt>(prompt)) return model::Prompt(ids_from(prompt));
  const auto& given = prompt.cast<const PyPrompt&>();
  if (given.width > 0 && given.width != config.width)
    throw BadArgument(cat("prompt: expected soft rows of the model's width, ", config.width, ", got ", given.width,
                          "; they were made by another model"));
  return given.prompt;
}

void register_prompt(py::module_& m) {
  py::class_<PyPrompt>(m, "Prompt", "Token ids, and the soft rows that stand in place of some of them.")
      .def(py::init(&make), py::arg("ids"), py::arg("spans"))
      .def(
          "then",
          [](const PyPrompt& p, const py::object& ids) {
            PyPrompt longer = p;
            const std::vector<int32_t> more = ids_from(ids);
            longer.prompt.ids.insert(longer.prompt.ids.end(), more.begin(), more.end());
            return longer;
          },
          py::arg("ids"))
      .def("__len__", [](const PyPrompt& p) { return p.prompt.size(); })
      .def_property_readonly("ids", [](const PyPrompt& p) { return ids_to(p.prompt.ids); })
      .def_property_readonly("spans", [](const PyPrompt& p) {
        py::list spans;
        for (const model::Span& s : p.prompt.spans)
          spans.append(py::make_tuple(s.begin, s.end(), kKinds[static_cast<uint8_t>(s.kind)]));
        return spans;
      });
}

}  // namespace gemlet::bind
