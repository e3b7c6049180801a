// _core.GenerateOptions (one struct across the boundary) and _core.Stream (one generation under way).
#include <pybind11/stl.h>

#include "bind/bind.h"
#include "bind/stream.h"
#include "engine/generate.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

using engine::Event;
using engine::GenerateOptions;

py::list logprobs_of(const Event& event) {
  py::list all;
  for (const sampling::Choice& choice : event.choices) {
    py::list top;
    for (const sampling::LogProb& entry : choice.top) top.append(py::make_tuple(entry.id, entry.logprob));
    py::dict d;
    d["id"] = choice.id, d["logprob"] = choice.logprob, d["top"] = top;
    all.append(d);
  }
  return all;
}

py::dict dict_of(const Event& event) {
  py::dict d;
  switch (event.kind) {
    case Event::Kind::Prefill:
      d["kind"] = "prefill", d["done"] = event.done, d["total"] = event.total;
      break;
    case Event::Kind::Tokens:
      d["kind"] = "tokens", d["text"] = event.text, d["ids"] = event.ids;
      if (!event.choices.empty()) d["logprobs"] = logprobs_of(event);
      break;
    case Event::Kind::End:
      d["kind"] = "end", d["text"] = event.text, d["finish_reason"] = event.finish_reason;
      d["stop"] = event.stop.empty() ? py::object(py::none()) : py::object(py::str(event.stop));
      d["prompt_tokens"] = event.prompt_tokens, d["completion_tokens"] = event.completion_tokens;
      d["cached_tokens"] = event.cached_tokens;
      d["draft"] = py::make_tuple(engine::name_of(event.drafts), event.drafted, event.accepted);
      d["queue_s"] = event.queue_s, d["prefill_s"] = event.prefill_s, d["decode_s"] = event.decode_s;
      break;
  }
  return d;
}

py::object next(Stream& stream, int timeout_ms) {
  Event event;
  bool got = false;
  {
    const py::gil_scoped_release released;
    got = stream.job().next(timeout_ms, event);
  }
  return got ? py::object(dict_of(event)) : py::object(py::none());
}

template <class T>
void option(py::class_<GenerateOptions>& c, const char* name, T sampling::Options::* member) {
  c.def_property(
      name, [member](const GenerateOptions& o) { return o.sampling.*member; },
      [member](GenerateOptions& o, const T& value) { o.sampling.*member = value; });
}

}  // namespace

void register_generate(py::module_& m) {
  py::class_<GenerateOptions> options(m, "GenerateOptions", "How to generate; checked when a generation starts.");
  options.def(py::init<>())
      .def_readwrite("max_tokens", &GenerateOptions::max_tokens)
      .def_readwrite("ignore_eos", &GenerateOptions::ignore_eos)
      .def_readwrite("stop", &GenerateOptions::stop)
      .def_readwrite("constraint_after", &GenerateOptions::constraint_after)
      .def_readwrite("drafts", &GenerateOptions::drafts)
      .def_readwrite("marks", &GenerateOptions::marks);
  option(options, "temperature", &sampling::Options::temperature);
  option(options, "top_k", &sampling::Options::top_k);
  option(options, "top_p", &sampling::Options::top_p);
  option(options, "min_p", &sampling::Options::min_p);
  option(options, "repeat_penalty", &sampling::Options::repeat_penalty);
  option(options, "presence_penalty", &sampling::Options::presence_penalty);
  option(options, "frequency_penalty", &sampling::Options::frequency_penalty);
  option(options, "penalty_window", &sampling::Options::penalty_window);
  option(options, "logit_bias", &sampling::Options::logit_bias);
  option(options, "seed", &sampling::Options::seed);
  option(options, "logprobs", &sampling::Options::logprobs);

  py::class_<Stream>(m, "Stream", "One generation under way.")
      .def("next", &next, py::arg("timeout_ms"))
      .def("cancel", [](Stream& stream) { stream.job().cancel(); });
}

}  // namespace gemlet::bind
