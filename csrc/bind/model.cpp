// _core.Model: loading, and the calls that read a sequence. Ids are copied before the GIL is released; C++ writes into
// the output array, which this function holds until the job has ended.
#include <pybind11/stl.h>

#include "bind/array.h"
#include "bind/bind.h"
#include "bind/constraint.h"
#include "bind/prompt.h"
#include "bind/session.h"
#include "bind/stream.h"
#include "bind/wait.h"
#include "core/error.h"
#include "engine/evaluate.h"
#include "engine/generate.h"
#include "engine/inside.h"
#include "engine/profile_job.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

using engine::Engine;
using Floats = py::array_t<float, py::array::c_style>;

// The engine's thread may be in a constraint and want the GIL, which whoever drops the last reference holds.
void let_go(const Engine* e) {
  if (PyGILState_Check() == 0) {
    delete e;
    return;
  }
  const py::gil_scoped_release released;
  delete e;
}

std::shared_ptr<Engine> load(const std::string& path, int threads, int64_t context, const std::string& kv_dtype,
                             const std::string& compute, int64_t block, int64_t prefix_bytes, const std::string& draft,
                             const std::vector<std::string>& drafters, const std::vector<std::string>& projectors,
                             bool vision_overlay) {
  const py::gil_scoped_release released;
  engine::LoadOptions options;
  options.threads = threads, options.context = context, options.kv_dtype = kv_dtype, options.compute = compute,
  options.block = block, options.prefix_bytes = prefix_bytes, options.draft = draft, options.drafters = drafters,
  options.projectors = projectors, options.vision_overlay = vision_overlay;
  return {new Engine(path, options), &let_go};
}

// What the model's makers say, by the names of the options of `generate`.
py::dict generation(const model::GenerationDefaults& defaults) {
  py::dict d;
  if (defaults.temperature) d["temperature"] = *defaults.temperature;
  if (defaults.top_k) d["top_k"] = *defaults.top_k;
  if (defaults.top_p && *defaults.top_p > 0) d["top_p"] = *defaults.top_p;
  if (defaults.min_p && *defaults.min_p < 1) d["min_p"] = *defaults.min_p;
  return d;
}

py::dict info(const Engine& e) {
  const model::Config& c = e.decoder().config();
  const model::Weights& w = e.decoder().weights();
  const model::LayerConfig& layer = c.layers.front();
  py::dict d;
  d["architecture"] = c.architecture, d["name"] = c.name, d["path"] = e.decoder().file().path();
  d["layers"] = c.layers.size(), d["width"] = c.width, d["vocab_size"] = c.vocabulary, d["window"] = c.window;
  d["heads"] = layer.heads, d["kv_heads"] = layer.kv_heads, d["head_dim"] = layer.channels, d["ffn"] = layer.ffn;
  d["context"] = e.context(), d["trained_context"] = c.context;
  d["isa"] = e.kernels().name, d["threads"] = e.threads();
  d["kv_dtype"] = e.kv_type() == model::KvType::F32 ? "f32" : e.kv_type() == model::KvType::F16 ? "f16" : "q8_0";
  d["compute"] = e.options().compute;
  size_t file_bytes = 0;
  for (const auto& file : e.decoder().file().files()) file_bytes += file->size();
  d["file_bytes"] = file_bytes, d["parameters"] = w.parameters;
  const model::TokenCost cost = model::token_cost(w, c);
  d["bytes_per_token"] = cost.bytes, d["madds_per_token"] = cost.madds, d["madds_per_prompt_token"] = cost.madds_prompt;
  d["madds_head"] = cost.madds_head, d["end_ids"] = e.end_ids(), d["warnings"] = e.warnings();
  d["draft"] = engine::name_of(e.draft_kind());
  d["draft_path"] = e.drafter() ? py::object(py::str(e.drafter()->file().path())) : py::object(py::none());
  d["suppress_ids"] = c.suppress, d["file_type"] = e.decoder().file().file_type();
  d["format"] = e.decoder().file().format(), d["chat_template"] = e.decoder().file().chat_template();
  d["generation"] = generation(e.defaults());
  std::vector<size_t> global_layers;  // that see all tokens before them
  for (size_t i = 0; i < c.layers.size(); ++i)
    if (!c.layers[i].sliding) global_layers.push_back(i);
  d["global_layers"] = global_layers;
  return d;
}

py::dict memory(const Engine& e) {
  py::dict d;
  size_t file_bytes = 0;
  for (const auto& file : e.decoder().file().files()) file_bytes += file->size();
  d["weights_file"] = file_bytes, d["kv_cache"] = e.cache_bytes(), d["activations"] = e.scratch_bytes.load();
  return d;
}

void run(const std::shared_ptr<Engine>& e, const std::shared_ptr<engine::Job>& job) {
  e->scheduler().submit(job);
  wait_for(*job);
}

// Where results (n, V) go that a caller has room for, which must fit as it is: a copy would never come back to it.
Floats given_room(const Floats& room, int64_t n, int64_t width) {
  if (room.ndim() != 2 || room.shape(0) != n || room.shape(1) != width || !room.writeable())
    throw BadArgument(cat("out: expected a writable C-contiguous float32 array of shape (", n, ", ", width, ")"));
  return room;
}

Floats logits(const std::shared_ptr<Engine>& e, const py::object& ids, const std::optional<In<int64_t>>& positions,
              const std::optional<Floats>& room) {
  model::Prompt prompt = prompt_from(ids, e->decoder().config());
  std::vector<int64_t> wanted;
  if (positions) {
    expect_dims(*positions, 1, "positions");
    wanted.assign(positions->data(), positions->data() + positions->size());
  } else {
    for (size_t i = 0; i < prompt.ids.size(); ++i) wanted.push_back(static_cast<int64_t>(i));
  }
  const auto n = static_cast<int64_t>(wanted.size()), width = e->decoder().config().vocabulary;
  Floats y = room ? given_room(*room, n, width) : Floats(out_at_line<float>({n, width}));
  run(e, std::make_shared<engine::LogitsJob>(*e, std::move(prompt), std::move(wanted), y.mutable_data()));
  return y;
}

py::array_t<float> hidden(const std::shared_ptr<Engine>& e, const py::object& ids, const std::vector<int64_t>& layers) {
  model::Prompt prompt = prompt_from(ids, e->decoder().config());
  py::array_t<float> y = out<float>(
      {static_cast<int64_t>(layers.size()), static_cast<int64_t>(prompt.ids.size()), e->decoder().config().width});
  run(e, std::make_shared<engine::HiddenJob>(*e, std::move(prompt), layers, y.mutable_data()));
  return y;
}

py::array_t<float> score(const std::shared_ptr<Engine>& e, const py::object& ids, int64_t first) {
  model::Prompt prompt = prompt_from(ids, e->decoder().config());
  const auto total = static_cast<int64_t>(prompt.ids.size());
  py::array_t<float> y = out<float>({std::max<int64_t>(0, total - std::max<int64_t>(first, 0))});
  run(e, std::make_shared<engine::ScoreJob>(*e, std::move(prompt), first, y.mutable_data()));
  return y;
}

std::unique_ptr<Stream> generate(const std::shared_ptr<Engine>& e, const py::object& ids,
                                 engine::GenerateOptions options, const py::object& constraint,
                                 const py::object& session) {
  if (!constraint.is_none()) options.constraint = constraint_from(constraint, e->decoder().config().vocabulary);
  if (!session.is_none()) {
    const auto& given = session.cast<const Session&>();
    if (given.engine != e) throw BadArgument("session: it belongs to another model");
    options.session = given.read;
  }
  auto job = std::make_shared<engine::GenerateJob>(*e, prompt_from(ids, e->decoder().config()), std::move(options));
  e->scheduler().submit(job);
  return std::make_unique<Stream>(e, std::move(job));
}

// (L, T, k) expert ids, and their weights.
py::tuple routing(const std::shared_ptr<Engine>& e, const py::object& ids) {
  model::Prompt prompt = prompt_from(ids, e->decoder().config());
  const model::Config& c = e->decoder().config();
  if (c.experts == 0) throw BadArgument(cat("routing: '", c.name, "' has no experts, so nothing is routed"));
  const auto layers = static_cast<int64_t>(c.layers.size()), count = static_cast<int64_t>(prompt.ids.size());
  py::array_t<int32_t> experts = out<int32_t>({layers, count, c.experts_used});
  py::array_t<float> weights = out<float>({layers, count, c.experts_used});
  run(e, std::make_shared<engine::RoutingJob>(*e, std::move(prompt), experts.mutable_data(), weights.mutable_data()));
  return py::make_tuple(experts, weights);
}

// (layers, heads, positions, T) weights of the keys, 0 for those not seen.
py::array_t<float> attention(const std::shared_ptr<Engine>& e, const py::object& ids, std::vector<int64_t> layers,
                             std::vector<int64_t> heads, std::vector<int64_t> positions) {
  model::Prompt prompt = prompt_from(ids, e->decoder().config());
  py::array_t<float> y = out<float>({static_cast<int64_t>(layers.size()), static_cast<int64_t>(heads.size()),
                                     static_cast<int64_t>(positions.size()), static_cast<int64_t>(prompt.ids.size())});
  run(e, std::make_shared<engine::AttentionJob>(*e, std::move(prompt), std::move(layers), std::move(heads),
                                                std::move(positions), y.mutable_data()));
  return y;
}

// (positions, end - begin) mean weights of keys [begin, end).
py::array_t<float> attention_map(const std::shared_ptr<Engine>& e, const py::object& ids, std::vector<int64_t> layers,
                                 std::vector<int64_t> heads, std::vector<int64_t> positions, int64_t begin,
                                 int64_t end) {
  model::Prompt prompt = prompt_from(ids, e->decoder().config());
  py::array_t<float> y = out<float>({static_cast<int64_t>(positions.size()), std::max<int64_t>(0, end - begin)});
  run(e, std::make_shared<engine::AttentionMapJob>(*e, std::move(prompt), std::move(layers), std::move(heads),
                                                   std::move(positions), model::Block{begin, end}, y.mutable_data()));
  return y;
}

// Of prefill and decode: steps, tokens, and (operation, calls, seconds, bytes, operations) of what ran.
py::dict profile(const std::shared_ptr<Engine>& e, bool on) {
  const auto job = std::make_shared<engine::ProfileJob>(*e, on);
  run(e, job);
  py::dict d;
  for (const auto& [name, phase] :
       {std::pair("prefill", Profile::Phase::Prefill), std::pair("decode", Profile::Phase::Decode)}) {
    const Profile::Account& account = job->counted().account(phase);
    py::list parts;
    for (size_t i = 0; i < account.parts.size(); ++i) {
      const Profile::Part& part = account.parts[i];
      if (part.calls > 0)
        parts.append(py::make_tuple(kOperationNames[i], part.calls, part.seconds, part.bytes, part.operations));
    }
    py::dict one;
    one["steps"] = account.steps, one["tokens"] = account.tokens, one["parts"] = parts;
    d[name] = one;
  }
  return d;
}

void close(Engine& e) {
  const py::gil_scoped_release released;
  e.scheduler().close();
}

}  // namespace

void register_model(py::module_& m) {
  py::class_<Engine, std::shared_ptr<Engine>>(m, "Model", "A loaded model; one thread of its own runs every call.")
      .def(py::init(&load), py::arg("path"), py::arg("threads") = 0, py::arg("context") = 0,
           py::arg("kv_dtype") = "auto", py::arg("compute") = "auto", py::arg("block") = 0,
           py::arg("prefix_bytes") = 256 << 20, py::arg("draft") = "auto",
           py::arg("drafters") = std::vector<std::string>(), py::arg("projectors") = std::vector<std::string>(),
           py::arg("vision_overlay") = false)
      .def("info", &info)
      .def("memory", &memory)
      .def_property_readonly(
          "tokenizer", [](const Engine& e) { return std::const_pointer_cast<text::Tokenizer>(e.shared_tokenizer()); })
      .def("logits", &logits, py::arg("ids"), py::arg("positions") = py::none(),
           py::arg("out").noconvert() = py::none())
      .def("hidden", &hidden, py::arg("ids"), py::arg("layers"))
      .def("score", &score, py::arg("ids"), py::arg("first") = 1)
      .def("routing", &routing, py::arg("ids"))
      .def("attention", &attention, py::arg("ids"), py::arg("layers"), py::arg("heads"), py::arg("positions"))
      .def("attention_map", &attention_map, py::arg("ids"), py::arg("layers"), py::arg("heads"), py::arg("positions"),
           py::arg("begin"), py::arg("end"))
      .def("generate", &generate, py::arg("ids"), py::arg("options"), py::arg("constraint") = py::none(),
           py::arg("session") = py::none())
      .def("profile", &profile, py::arg("on"))
      .def("cancel_all", [](Engine& e) { e.scheduler().cancel_all(); })
      .def("forget", [](Engine& e) { e.prefixes().clear(); })
      .def("close", &close);
}

}  // namespace gemlet::bind
