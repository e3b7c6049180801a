// transformers, Gemma4TextModel.get_per_layer_inputs and project_per_layer_inputs.
#include "model/per_layer.h"

#include <cmath>

#include "core/error.h"

namespace gemlet::model {
namespace {

// out (n) <- elements [first, first + n) of row `id`, read from the file. `bytes` and `whole` are scratch.
void read_row(const RowTable& table, int64_t id, int64_t first, int64_t n, Buffer<uint8_t>& bytes, Buffer<float>& whole,
              float* out) {
  const codec::TypeInfo& type = codec::info(table.rows.type);
  const size_t row = table.offset + static_cast<size_t>(id) * table.rows.row_bytes;
  if (first % type.block == 0 && n % type.block == 0) {
    const size_t skip = static_cast<size_t>(first / type.block) * type.block_bytes;
    const size_t size = static_cast<size_t>(n / type.block) * type.block_bytes;
    uint8_t* raw = bytes.reserve(static_cast<int64_t>(size));
    table.file->read(row + skip, raw, size);
    type.decode(raw, n / type.block, out);
    return;
  }
  uint8_t* raw = bytes.reserve(static_cast<int64_t>(table.rows.row_bytes));
  table.file->read(row, raw, table.rows.row_bytes);
  float* values = whole.reserve(table.rows.cols);
  type.decode(raw, table.rows.cols / type.block, values);
  std::copy(values + first, values + first + n, out);
}

}  // namespace

void PerLayerInputs::fill(ops::Context& on, const Config& c, const Weights& w, const int32_t* ids, Rows<const float> x0,
                          int64_t from, int64_t to, ops::Quantised& scratch) {
  tokens_ = x0.rows, from_ = from, to_ = to, channels_ = c.per_layer;
  const int64_t n = (to - from) * channels_;
  if (n == 0 || tokens_ == 0) return;
  const Profile::Scope scope(on.profile, Operation::PerLayer);
  const Rows<float> inputs = inputs_.rows(tokens_, n), rows = rows_.rows(tokens_, n);

  // context = per_layer_projection_norm(per_layer_model_projection(x0) * D^-0.5)
  codec::Matrix projection = w.per_layer_model_proj;
  projection.data = projection.row(from * channels_), projection.rows = n;
  ops::linear(on, x0, {{&projection, inputs}}, scratch);
  ops::scale(on, 1.0F / std::sqrt(static_cast<float>(c.width)), inputs);
  ops::head_norm(on, inputs, channels_, w.per_layer_proj_norm, c.eps);

  // identity = embed_tokens_per_layer(ids) * sqrt(P); the input is (context + identity) * 2^-0.5
  const RowTable& table = w.per_layer_token_embd;
  if (on.profile != nullptr)
    on.profile->count(tokens_ * static_cast<int64_t>(table.rows.row_bytes) * n / table.rows.cols, 0);
  on.team.run(tokens_, [&](int64_t t, int worker) {
    if (ids[t] < 0 || ids[t] >= table.rows.rows)
      throw BadArgument(cat("per_layer_token_embd: id ", ids[t], " is outside the table's ", table.rows.rows, " rows"));
    ops::Context::Scratch& own = on.workers[static_cast<size_t>(worker)];
    read_row(table, ids[t], from * channels_, n, own.panel_bytes, own.floats, rows.row(t));
  });
  ops::add_scaled(on, rows, std::sqrt(static_cast<float>(channels_)), static_cast<float>(std::sqrt(0.5)), inputs);
}

Rows<const float> PerLayerInputs::of(int64_t layer) const {
  const int64_t stride = (to_ - from_) * channels_;
  return {inputs_.data() + (layer - from_) * channels_, tokens_, channels_, stride};
}

}  // namespace gemlet::model
