// GGUF tensor names -> Weights.
#include "model/weights.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <string>

#include "core/error.h"

namespace gemlet::model {
namespace {

using formats::TensorInfo;
using Shape = std::vector<int64_t>;

std::string text(const Shape& shape) {
  std::string s;
  for (const int64_t n : shape) s += cat(s.empty() ? "(" : ", ", n);
  return s + ")";
}

// A drafter's layers read another model's keys, whatever their numbers are there.
bool owns_keys(const Config& c, size_t layer) {
  return c.backbone == 0 && c.layers[layer].kv_source == static_cast<int64_t>(layer);
}

class Reader {
 public:
  Reader(const Checkpoint& file, Weights& into) : file_(file), into_(into) {}

  bool has(const std::string& name) const { return file_.tensor(name) != nullptr; }

  codec::Matrix matrix(const std::string& name, int64_t rows, int64_t cols) {
    const TensorInfo& tensor = find(name, {rows, cols});
    return {tensor.data, tensor.type, rows, cols, codec::row_bytes(tensor.type, cols)};
  }

  RowTable table(const std::string& name, int64_t rows, int64_t cols) {
    const TensorInfo& tensor = find(name, {rows, cols});
    return {{tensor.data, tensor.type, rows, cols, codec::row_bytes(tensor.type, cols)},
            file_.files()[static_cast<size_t>(tensor.file_index)].get(),
            tensor.file_offset};
  }

  // `parts` matrices (rows, cols) of each expert lie behind one another; this is the one numbered `part`.
  ExpertMatrix experts(const std::string& name, int64_t count, int64_t rows, int64_t cols, int64_t part = 0,
                       int64_t parts = 1) {
    const TensorInfo& tensor = find(name, {count, parts * rows, cols});
    const size_t row = codec::row_bytes(tensor.type, cols), one = static_cast<size_t>(rows) * row;
    return {{tensor.data + static_cast<size_t>(part) * one, tensor.type, rows, cols, row},
            static_cast<size_t>(parts) * one};
  }

  const float* vector(const std::string& name, int64_t size) { return widened(find(name, {size}), size); }

  const float* norm(const std::string& name, int64_t size) {
    float* values = widened(find(name, {size}), size);
    if (file_.norms_lack_one())
      for (int64_t i = 0; i < size; ++i) values[i] += 1.0F;
    return values;
  }

  // Whole numbers (size).
  std::vector<int64_t> integers(const std::string& name, int64_t size) {
    const TensorInfo& tensor = find(name, {size}, true);
    std::vector<int64_t> values;
    for (int64_t i = 0; i < size; ++i) {
      int64_t wide = 0;
      int32_t narrow = 0;
      if (tensor.type == codec::Type::I64)
        std::memcpy(&wide, tensor.data + i * 8, sizeof wide);
      else
        std::memcpy(&narrow, tensor.data + i * 4, sizeof narrow), wide = narrow;
      values.push_back(wide);
    }
    return values;
  }

  [[noreturn]] void refuse(const std::string& name, const std::string& problem) const {
    throw BadFile(cat(file_.format(), ": '", file_.path(), "': tensor '", name, "': ", problem));
  }

  float scalar_or(const std::string& name, float otherwise) { return has(name) ? *vector(name, 1) : otherwise; }

  // What a model of another kind has and this one would ignore in silence.
  void refuse_unused(const Config& c) const {
    std::set<std::string> dead = {"rope_freqs.weight"};
    for (size_t i = 0; i < c.layers.size(); ++i)
      for (const char* name : {"attn_k.weight", "attn_v.weight", "attn_k_norm.weight"})
        if (!owns_keys(c, i)) dead.insert(cat("blk.", i, ".", name));
    for (const std::string_view name : file_.names())
      if (used_.count(std::string(name)) == 0 && dead.count(std::string(name)) == 0)
        throw UnsupportedModel(cat(file_.format(), ": '", file_.path(), "': tensor '", name, "' ",
                                   text(file_.tensor(name)->shape), " has no place in a ", c.architecture,
                                   " text model of these sizes; running without it would give wrong answers"));
  }

 private:
  float* widened(const TensorInfo& tensor, int64_t size) {
    into_.vectors.emplace_back(new float[static_cast<size_t>(size)]);
    float* values = into_.vectors.back().get();
    codec::decode_row({tensor.data, tensor.type, 1, size, codec::row_bytes(tensor.type, size)}, 0, values);
    return values;
  }

  const TensorInfo& find(const std::string& name, const Shape& shape, bool whole_numbers = false) {
    const TensorInfo* tensor = file_.tensor(name);
    if (tensor == nullptr)
      throw BadFile(cat(file_.format(), ": '", file_.path(), "': tensor '", name, "' ", text(shape),
                        " is missing; the file is incomplete or not a text model"));
    if (tensor->shape != shape)
      throw BadFile(cat(file_.format(), ": '", file_.path(), "': tensor '", name, "': expected ", text(shape), ", got ",
                        text(tensor->shape), "; the file's sizes and its tensors do not belong together"));
    if (whole_numbers && tensor->type != codec::Type::I32 && tensor->type != codec::Type::I64)
      throw BadFile(cat(file_.format(), ": '", file_.path(), "': tensor '", name, "': expected I32 or I64, got ",
                        codec::info(tensor->type).name));
    if (!whole_numbers && codec::info(tensor->type).decode == nullptr)
      throw UnsupportedModel(cat(file_.format(), ": '", file_.path(), "': tensor '", name, "': type ",
                                 codec::info(tensor->type).name, " cannot be a weight"));
    if (used_.insert(name).second) {
      int64_t elements = 1;
      for (const int64_t n : shape) elements *= n;
      into_.parameters += elements;
    }
    return *tensor;
  }

  const Checkpoint& file_;
  Weights& into_;
  std::set<std::string> used_;
};

void read_attention(Reader& read, const std::string& p, int64_t d, const LayerConfig& s, bool owner, Layer& l) {
  const int64_t q = s.heads * s.channels, kv = s.kv_heads * s.channels;
  l.attn_norm = read.norm(p + "attn_norm.weight", d);
  l.attn_q = read.matrix(p + "attn_q.weight", q, d);
  l.attn_q_norm = read.norm(p + "attn_q_norm.weight", s.channels);
  if (owner) {
    l.attn_k = read.matrix(p + "attn_k.weight", kv, d);
    l.attn_k_norm = read.norm(p + "attn_k_norm.weight", s.channels);
    if (!s.keys_are_values) l.attn_v = read.matrix(p + "attn_v.weight", kv, d);
  }
  l.attn_output = read.matrix(p + "attn_output.weight", d, q);
  l.post_attention_norm = read.norm(p + "post_attention_norm.weight", d);
}

void read_mixture(Reader& read, const std::string& p, const Config& c, Layer& l) {
  const int64_t d = c.width, e = c.experts, f = c.expert_ffn;
  l.ffn_gate_inp = read.matrix(p + "ffn_gate_inp.weight", e, d);
  l.ffn_gate_inp_scale = read.vector(p + "ffn_gate_inp.scale", d);
  if (read.has(p + "ffn_gate_up_exps.weight")) {  // fused: the gate's rows first
    l.ffn_gate_exps = read.experts(p + "ffn_gate_up_exps.weight", e, f, d, 0, 2);
    l.ffn_up_exps = read.experts(p + "ffn_gate_up_exps.weight", e, f, d, 1, 2);
  } else {
    l.ffn_gate_exps = read.experts(p + "ffn_gate_exps.weight", e, f, d);
    l.ffn_up_exps = read.experts(p + "ffn_up_exps.weight", e, f, d);
  }
  l.ffn_down_exps = read.experts(p + "ffn_down_exps.weight", e, d, f);
  l.ffn_down_exps_scale = read.vector(p + "ffn_down_exps.scale", e);
  l.post_ffw_norm_1 = read.norm(p + "post_ffw_norm_1.weight", d);
  l.pre_ffw_norm_2 = read.norm(p + "pre_ffw_norm_2.weight", d);
  l.post_ffw_norm_2 = read.norm(p + "post_ffw_norm_2.weight", d);
}

Layer read_layer(Reader& read, size_t index, const Config& c) {
  const LayerConfig& s = c.layers[index];
  const std::string p = cat("blk.", index, ".");
  const int64_t d = c.width;
  Layer l{};
  read_attention(read, p, d, s, owns_keys(c, index), l);
  l.ffn_norm = read.norm(p + "ffn_norm.weight", d);
  l.ffn_gate = read.matrix(p + "ffn_gate.weight", s.ffn, d);
  l.ffn_up = read.matrix(p + "ffn_up.weight", s.ffn, d);
  l.ffn_down = read.matrix(p + "ffn_down.weight", d, s.ffn);
  l.post_ffw_norm = read.norm(p + "post_ffw_norm.weight", d);
  if (c.experts > 0) read_mixture(read, p, c, l);
  if (c.per_layer > 0) {
    l.inp_gate = read.matrix(p + "inp_gate.weight", c.per_layer, d);
    l.proj = read.matrix(p + "proj.weight", d, c.per_layer);
    l.post_norm = read.norm(p + "post_norm.weight", d);
  }
  if (c.architecture != "gemma3") l.layer_output_scale = read.scalar_or(p + "layer_output_scale.weight", 1.0F);
  return l;
}

// Which ids belong to which centroid. Files tell it in either of two ways: the ids, centroid after centroid, or each id's
// centroid.
std::vector<int32_t> read_ordering(Reader& read, const Config& c) {
  const std::string name = "mtp.token_ordering.weight";
  const std::vector<int64_t> values = read.integers(name, c.vocabulary);
  const int64_t each = c.vocabulary / c.centroids;
  std::vector<int64_t> used(static_cast<size_t>(c.centroids));
  std::vector<int32_t> ids(values.size());
  std::vector<bool> seen(values.size());
  const bool by_id = std::all_of(values.begin(), values.end(), [&](int64_t v) { return v >= 0 && v < c.centroids; });
  for (size_t i = 0; i < values.size(); ++i) {
    if (!by_id || each == 1) {
      if (values[i] < 0 || values[i] >= c.vocabulary || seen[static_cast<size_t>(values[i])])
        read.refuse(name, cat("expected every id from 0 to ", c.vocabulary - 1, " once, got ", values[i], " at ", i));
      seen[static_cast<size_t>(values[i])] = true;
      ids[i] = static_cast<int32_t>(values[i]);
      continue;
    }
    int64_t& count = used[static_cast<size_t>(values[i])];
    if (count == each) read.refuse(name, cat("expected ", each, " ids for each centroid, got more for ", values[i]));
    ids[static_cast<size_t>(values[i] * each + count++)] = static_cast<int32_t>(i);
  }
  return ids;
}

void read_drafter(Reader& read, const Config& c, Weights& w) {
  w.pre_projection = read.matrix("nextn.pre_projection.weight", c.width, 2 * c.backbone);
  w.post_projection = read.matrix("nextn.post_projection.weight", c.backbone, c.width);
  if (c.centroids == 0) return;
  w.centroids = read.matrix("mtp.centroids.weight", c.centroids, c.width);
  w.ordering = read_ordering(read, c);
}

int64_t bytes_of(const codec::Matrix& m) { return m.rows * static_cast<int64_t>(m.row_bytes); }
int64_t madds_of(const codec::Matrix& m) { return m.rows * m.cols; }

// Of every matrix of a layer that one token goes through.
template <class Count>
int64_t sum_layer(const Layer& l, const Config& c, const Count& count) {
  int64_t total = 0;
  for (const codec::Matrix* m : {&l.attn_q, &l.attn_k, &l.attn_v, &l.attn_output, &l.ffn_gate, &l.ffn_up, &l.ffn_down,
                                 &l.inp_gate, &l.proj, &l.ffn_gate_inp})
    total += count(*m);
  for (const ExpertMatrix* m : {&l.ffn_gate_exps, &l.ffn_up_exps, &l.ffn_down_exps})
    total += c.experts_used * count(m->first);
  return total;
}

}  // namespace

Weights Weights::from(const Checkpoint& file, const Config& c) {
  Weights w;
  Reader read(file, w);
  w.token_embd = read.matrix("token_embd.weight", c.vocabulary, c.width);
  w.output = read.has("output.weight") ? read.matrix("output.weight", c.vocabulary, c.width) : w.token_embd;
  w.output_norm = read.norm("output_norm.weight", c.width);
  if (c.per_layer > 0) {
    const int64_t all = static_cast<int64_t>(c.layers.size()) * c.per_layer;
    w.per_layer_token_embd = read.table("per_layer_token_embd.weight", c.vocabulary, all);
    w.per_layer_model_proj = read.matrix("per_layer_model_proj.weight", all, c.width);
    w.per_layer_proj_norm = read.norm("per_layer_proj_norm.weight", c.per_layer);
  }
  if (c.backbone > 0) read_drafter(read, c, w);
  for (size_t i = 0; i < c.layers.size(); ++i) w.layers.push_back(read_layer(read, i, c));
  read.refuse_unused(c);
  return w;
}

TokenCost token_cost(const Weights& w, const Config& c) {
  TokenCost cost;
  const size_t owner = c.last_owner();
  for (size_t i = 0; i < w.layers.size(); ++i) {
    const int64_t madds = sum_layer(w.layers[i], c, madds_of);
    cost.bytes += sum_layer(w.layers[i], c, bytes_of);
    cost.madds += madds;
    if (i < owner) cost.madds_prompt += madds;
    if (i == owner) cost.madds_prompt += madds_of(w.layers[i].attn_k) + madds_of(w.layers[i].attn_v);
  }
  cost.bytes += bytes_of(w.output) + bytes_of(w.per_layer_model_proj);
  cost.madds += madds_of(w.per_layer_model_proj);
  cost.madds_prompt += static_cast<int64_t>(owner) * c.per_layer * c.width;
  cost.madds_head = madds_of(w.output);
  return cost;
}

}  // namespace gemlet::model
