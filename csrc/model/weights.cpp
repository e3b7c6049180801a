// GGUF tensor names -> Weights.
#include "model/weights.h"

#include "core/error.h"

namespace gemlet::model {
namespace {

class Reader {
 public:
  Reader(const formats::Gguf& file, Weights& into) : file_(file), into_(into) {}

  codec::Matrix matrix(const std::string& name, int64_t rows, int64_t cols) {
    const formats::TensorInfo& tensor = find(name, {rows, cols});
    return {tensor.data, tensor.type, rows, cols, codec::row_bytes(tensor.type, cols)};
  }

  const float* vector(const std::string& name, int64_t size) {
    const formats::TensorInfo& tensor = find(name, {size});
    into_.vectors.emplace_back(new float[static_cast<size_t>(size)]);
    float* values = into_.vectors.back().get();
    codec::decode_row({tensor.data, tensor.type, 1, size, codec::row_bytes(tensor.type, size)}, 0, values);
    return values;
  }

 private:
  static std::string text(const std::vector<int64_t>& shape) {
    std::string s;
    for (const int64_t n : shape) s += cat(s.empty() ? "(" : ", ", n);
    return s + ")";
  }

  const formats::TensorInfo& find(const std::string& name, const std::vector<int64_t>& shape) {
    const formats::TensorInfo* tensor = file_.tensor(name);
    if (tensor == nullptr)
      throw BadFile(cat("gguf: '", file_.path(), "': tensor '", name, "' ", text(shape),
                        " is missing; the file is incomplete or not a text model"));
    if (tensor->shape != shape)
      throw BadFile(cat("gguf: '", file_.path(), "': tensor '", name, "': expected ", text(shape), ", got ",
                        text(tensor->shape), "; the file's sizes and its tensors do not belong together"));
    if (codec::info(tensor->type).decode == nullptr)
      throw UnsupportedModel(cat("gguf: '", file_.path(), "': tensor '", name, "': type ",
                                 codec::info(tensor->type).name, " cannot be a weight"));
    int64_t elements = 1;
    for (const int64_t n : shape) elements *= n;
    into_.parameters += elements;
    return *tensor;
  }

  const formats::Gguf& file_;
  Weights& into_;
};

int64_t bytes_of(const codec::Matrix& m) { return m.rows * static_cast<int64_t>(m.row_bytes); }

template <class Count>
int64_t sum_layers(const std::vector<Layer>& layers, const Count& count) {
  int64_t total = 0;
  for (const Layer& l : layers)
    for (const codec::Matrix* m :
         {&l.attn_q, &l.attn_k, &l.attn_v, &l.attn_output, &l.ffn_gate, &l.ffn_up, &l.ffn_down})
      total += count(*m);
  return total;
}

}  // namespace

Weights Weights::from(const formats::Gguf& file, const Config& c) {
  Weights w;
  Reader read(file, w);
  const int64_t d = c.width;
  w.token_embd = read.matrix("token_embd.weight", c.vocabulary, d);
  w.output = file.tensor("output.weight") != nullptr ? read.matrix("output.weight", c.vocabulary, d) : w.token_embd;
  w.output_norm = read.vector("output_norm.weight", d);
  for (size_t i = 0; i < c.layers.size(); ++i) {
    const LayerConfig& s = c.layers[i];
    const std::string p = cat("blk.", i, ".");
    const int64_t q = s.heads * s.channels, kv = s.kv_heads * s.channels;
    Layer l{};
    l.attn_norm = read.vector(p + "attn_norm.weight", d);
    l.attn_q = read.matrix(p + "attn_q.weight", q, d);
    l.attn_k = read.matrix(p + "attn_k.weight", kv, d);
    l.attn_v = read.matrix(p + "attn_v.weight", kv, d);
    l.attn_q_norm = read.vector(p + "attn_q_norm.weight", s.channels);
    l.attn_k_norm = read.vector(p + "attn_k_norm.weight", s.channels);
    l.attn_output = read.matrix(p + "attn_output.weight", d, q);
    l.post_attention_norm = read.vector(p + "post_attention_norm.weight", d);
    l.ffn_norm = read.vector(p + "ffn_norm.weight", d);
    l.ffn_gate = read.matrix(p + "ffn_gate.weight", s.ffn, d);
    l.ffn_up = read.matrix(p + "ffn_up.weight", s.ffn, d);
    l.ffn_down = read.matrix(p + "ffn_down.weight", d, s.ffn);
    l.post_ffw_norm = read.vector(p + "post_ffw_norm.weight", d);
    w.layers.push_back(l);
  }
  return w;
}

int64_t Weights::bytes_per_token() const { return sum_layers(layers, bytes_of) + bytes_of(output); }

int64_t Weights::madds_per_token() const {
  return sum_layers(layers, [](const codec::Matrix& m) { return m.rows * m.cols; });
}

}  // namespace gemlet::model
