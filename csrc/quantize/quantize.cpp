// The header first, checked by reading it back, since a file that says other sizes than its source is worse than none;
// then the tensors, some megabytes at a time.
#include "quantize/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/new_file.h"
#include "core/parallel.h"
#include "core/tensor.h"
#include "formats/gguf_header.h"
#include "model/weights.h"
#include "quantize/metadata.h"
#include "quantize/policy.h"

namespace gemlet::quantize {
namespace {

using codec::Type;
using formats::TensorInfo;

constexpr int64_t kElementsAtOnce = int64_t{1} << 22U;  // 16 MiB as float32
constexpr float kLargestHalf = 65504.0F;

struct Planned {
  std::string name;
  const TensorInfo* from = nullptr;  // null: `values`
  Type type = Type::F32;
  int64_t rows = 0, cols = 0;
  std::vector<float> values;
};

// blk.2 before blk.10, and what belongs to no layer first, as a reader goes through them.
std::pair<int64_t, std::string> place_of(std::string_view name) {
  if (name.substr(0, 4) != "blk.") return {-1, std::string(name)};
  const size_t dot = name.find('.', 4);
  return {std::stoll(std::string(name.substr(4, dot - 4))), std::string(name)};
}

// Divisors of the frequencies of full layers; 1e30 stops a pair.
std::vector<float> rope_divisors(const model::Config& c) {
  const auto pairs = static_cast<int64_t>(c.rope_full.size());
  const std::vector<float> plain = model::rope_frequencies(c.rope_base_full, 2 * pairs, 1.0, pairs);
  std::vector<float> divisors;
  for (size_t d = 0; d < plain.size(); ++d) divisors.push_back(c.rope_full[d] == 0 ? 1e30F : plain[d] / c.rope_full[d]);
  return divisors;
}

class Job {
 public:
  Job(const Source& source, std::string path, const std::string& format, int threads, const Progress& progress)
      : source_(source),
        path_(std::move(path)),
        policy_(policy_for(format)),
        team_(threads),
        progress_(progress),
        sizes_(source.weights.config()) {}

  Summary run();

 private:
  void plan();
  void plan_tensor(const std::string& name);
  void check_header(const std::string& partial) const;
  void write_tensor(NewFile& file, const Planned& tensor, uint64_t offset);
  void encode(const Planned& tensor, int64_t rows, const uint8_t* raw, uint8_t* out);
  void check_values(const Planned& tensor, const float* values, int64_t count) const;
  std::string where() const { return cat(source_.weights.format(), ": '", source_.weights.path(), "'"); }

  const Source& source_;
  std::string path_;
  Policy policy_;
  Team team_;
  const Progress& progress_;
  model::Config sizes_;
  std::vector<Planned> tensors_;
  Buffer<uint8_t> raw_, out_;
  std::vector<Buffer<float>> rows_;
  uint64_t done_ = 0, total_ = 0;
  Summary summary_;
};

void Job::plan_tensor(const std::string& name) {
  const TensorInfo& from = *source_.weights.tensor(name);
  if (from.type != Type::F32 && from.type != Type::F16 && from.type != Type::BF16)
    throw UnsupportedModel(cat(where(), ": tensor '", name, "': expected F32, F16 or BF16, got ",
                               codec::info(from.type).name,
                               "; quantising twice would lose more: start from the original weights"));
  Planned planned;
  planned.name = name;
  planned.from = &from;
  planned.type = type_for(policy_, name, from.shape, from.type, sizes_.experts > 0);
  planned.cols = from.shape.back();
  planned.rows = 1;
  for (size_t i = 0; i + 1 < from.shape.size(); ++i) planned.rows *= from.shape[i];
  total_ += from.bytes;
  summary_.parameters += planned.rows * planned.cols;
  tensors_.push_back(std::move(planned));
}

void Job::plan() {
  // Weights' own checks, so that everything below finds what it expects; and the tensors that nothing reads.
  model::Weights::from(source_.weights, sizes_);
  std::set<std::string> dead;
  for (size_t i = 0; i < sizes_.layers.size(); ++i)
    for (const char* name : {"attn_k.weight", "attn_v.weight", "attn_k_norm.weight"})
      if (sizes_.layers[i].kv_source != static_cast<int64_t>(i)) dead.insert(cat("blk.", i, ".", name));
  std::vector<std::string> names;
  for (const std::string_view name : source_.weights.names())
    if (dead.count(std::string(name)) == 0 && name != "rope_freqs.weight") names.emplace_back(name);
  std::sort(names.begin(), names.end(),
            [](const std::string& a, const std::string& b) { return place_of(a) < place_of(b); });
  if (sizes_.architecture == "gemma4") {
    Planned rope;
    rope.name = "rope_freqs.weight";
    rope.rows = 1;
    if (const TensorInfo* own = source_.weights.tensor(rope.name)) {
      rope.values.resize(own->bytes / sizeof(float));
      std::memcpy(rope.values.data(), own->data, own->bytes);
    } else {
      rope.values = rope_divisors(sizes_);
    }
    rope.cols = static_cast<int64_t>(rope.values.size());
    tensors_.push_back(std::move(rope));
  }
  for (const std::string& name : names) plan_tensor(name);
}

bool near(float a, float b) { return std::fabs(a - b) <= 1e-6F * std::fabs(b); }

bool near(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](float x, float y) { return near(x, y); });
}

// The first thing that a file says differently; null if none.
const char* difference(const model::Config& a, const model::Config& b) {
  if (a.width != b.width || a.vocabulary != b.vocabulary || a.window != b.window || a.context != b.context ||
      a.layers.size() != b.layers.size())
    return "sizes";
  if (!near(a.eps, b.eps)) return "rms_norm_eps";
  if (!near(a.attention_scale, b.attention_scale)) return "the scale of the attention (query_pre_attn_scalar)";
  if (!near(a.logit_cap, b.logit_cap)) return "final_logit_softcapping";
  if (a.per_layer != b.per_layer || a.experts != b.experts || a.experts_used != b.experts_used ||
      a.expert_ffn != b.expert_ffn)
    return "per-layer embeddings or experts";
  for (size_t i = 0; i < a.layers.size(); ++i) {
    const model::LayerConfig &x = a.layers[i], &y = b.layers[i];
    if (x.sliding != y.sliding || x.kv_source != y.kv_source) return "which layers slide or share keys";
    if (x.heads != y.heads || x.kv_heads != y.kv_heads || x.channels != y.channels || x.ffn != y.ffn ||
        x.keys_are_values != y.keys_are_values)
      return "the sizes of a layer";
  }
  if (!near(a.rope_sliding, b.rope_sliding) || !near(a.rope_full, b.rope_full)) return "the rotary frequencies";
  return a.suppress != b.suppress ? "suppress_tokens" : nullptr;
}

// Reads what was just written as a model would.
void Job::check_header(const std::string& partial) const {
  const auto written = model::checkpoint_of(std::make_shared<const formats::Gguf>(formats::Gguf::open(partial)));
  const model::Config found = written->config();
  if (const char* what = difference(found, sizes_))
    throw UnsupportedModel(cat(where(), ": a GGUF file of the architecture ", sizes_.architecture, " cannot say ", what,
                               " as this model has it; run the model as it is"));
  model::Weights::from(*written, found);
}

// Numbers only, and for half precision only those it has.
void Job::check_values(const Planned& tensor, const float* values, int64_t count) const {
  const float most = tensor.type == Type::F16 ? kLargestHalf : std::numeric_limits<float>::max();
  for (int64_t i = 0; i < count; ++i)
    if (!(std::fabs(values[i]) <= most))
      throw BadFile(cat(where(), ": tensor '", tensor.name, "': expected numbers up to ", most, ", got ", values[i],
                        std::isfinite(values[i]) ? "; half precision does not hold it, use q8_0"
                                                 : "; the file is damaged, download it again"));
}

void Job::encode(const Planned& tensor, int64_t rows, const uint8_t* raw, uint8_t* out) {
  const codec::TypeInfo &from = codec::info(tensor.from->type), &to = codec::info(tensor.type);
  const size_t in_row = codec::row_bytes(from.type, tensor.cols), out_row = codec::row_bytes(to.type, tensor.cols);
  const bool add_one = tensor.from->shape.size() == 1 && source_.weights.norms_lack_one();
  team_.run(rows, [&](int64_t r, int worker) {
    float* values = rows_[static_cast<size_t>(worker)].reserve(tensor.cols);
    from.decode(raw + static_cast<size_t>(r) * in_row, tensor.cols, values);
    check_values(tensor, values, tensor.cols);
    if (add_one)
      for (int64_t i = 0; i < tensor.cols; ++i) values[i] += 1.0F;
    to.encode(values, tensor.cols / to.block, out + static_cast<size_t>(r) * out_row);
  });
}

void Job::write_tensor(NewFile& file, const Planned& tensor, uint64_t offset) {
  if (tensor.from == nullptr) return file.write(offset, tensor.values.data(), tensor.values.size() * sizeof(float));
  const size_t in_row = codec::row_bytes(tensor.from->type, tensor.cols);
  const size_t out_row = codec::row_bytes(tensor.type, tensor.cols);
  const int64_t step = std::max<int64_t>(1, kElementsAtOnce / tensor.cols);
  const MappedFile& source = *source_.weights.files()[static_cast<size_t>(tensor.from->file_index)];
  for (int64_t first = 0; first < tensor.rows; first += step) {
    const int64_t rows = std::min(step, tensor.rows - first);
    const size_t in = static_cast<size_t>(rows) * in_row, at = static_cast<size_t>(first);
    uint8_t* raw = raw_.reserve(static_cast<int64_t>(in));
    uint8_t* out = out_.reserve(rows * static_cast<int64_t>(out_row));
    source.read(tensor.from->file_offset + at * in_row, raw, in);
    encode(tensor, rows, raw, out);
    file.write(offset + at * out_row, out, static_cast<size_t>(rows) * out_row);
    done_ += in;
    if (progress_) progress_(done_, total_);
  }
}

Summary Job::run() {
  plan();
  formats::GgufHeader header;
  if (source_.file != nullptr)
    copy_description(*source_.file, policy_, header);
  else
    describe(source_.weights, sizes_, *source_.vocabulary, policy_, header);
  for (const Planned& tensor : tensors_)
    header.add_tensor(tensor.name, tensor.type,
                      tensor.from == nullptr ? std::vector<int64_t>{tensor.cols} : tensor.from->shape);
  const std::string start = header.bytes();
  summary_.bytes = start.size() + header.data_bytes();
  NewFile file(path_, summary_.bytes);
  file.write(0, start.data(), start.size());
  const auto write = [&](bool made_here) {
    for (size_t i = 0; i < tensors_.size(); ++i)
      if ((tensors_[i].from == nullptr) == made_here)
        write_tensor(file, tensors_[i], start.size() + header.data_offset(i));
  };
  write(true);  // part of what the file says of its sizes
  check_header(file.partial());
  rows_.resize(static_cast<size_t>(team_.threads()));
  write(false);
  file.commit();
  if (source_.vocabulary != nullptr && !source_.vocabulary->added.empty())
    summary_.notes.push_back(
        cat(source_.vocabulary->added.size(), " added tokens take white space along or are looked ",
            "for after the others, which a GGUF file cannot say: text with them is split otherwise"));
  return std::move(summary_);
}

}  // namespace

Summary quantize(const Source& source, const std::string& path, const std::string& format, int threads,
                 const Progress& progress) {
  return Job(source, path, format, choose_threads(threads), progress).run();
}

}  // namespace gemlet::quantize
