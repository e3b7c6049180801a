// Where a Whisper model comes from: a Hugging Face folder or one of CTranslate2's, under one set of names. Sizes are checked
// for bounds, not yet against the tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/file.h"

namespace gemlet::model {

struct WhisperConfig {
  int64_t mels = 80;
  int64_t width = 0;  // D
  int64_t encoder_layers = 0, encoder_heads = 0, encoder_ffn = 0;
  int64_t decoder_layers = 0, decoder_heads = 0, decoder_ffn = 0;
  int64_t vocabulary = 0;
  int64_t places = 1500;    // of the encoder's output: half as many as frames
  int64_t positions = 448;  // tokens that prompt and text may have together
};

// Values as the file has them. Integers stand for value / scale, with one scale a row, or one for all.
struct WhisperTensor {
  enum class Type { F32, F16, BF16, I8, I16 };
  Type type = Type::F32;
  std::vector<int64_t> shape;      // outermost first
  const uint8_t* data = nullptr;   // at any byte; nullptr: there is no such tensor
  const uint8_t* scale = nullptr;  // float32, of integers
  bool scale_by_row = false;
  explicit operator bool() const { return data != nullptr; }
};

class WhisperFile {
 public:
  virtual ~WhisperFile() = default;
  virtual const std::string& path() const = 0;
  virtual const char* format() const = 0;
  virtual const WhisperConfig& config() const = 0;
  virtual const char* weight_type() const = 0;  // of its matrices, as the format calls it
  // By Hugging Face's names without "model.": "encoder.layers.0.self_attn.q_proj.weight". A part of a fused matrix comes as
  // a tensor of its own.
  virtual WhisperTensor tensor(const std::string& name) const = 0;
  virtual std::vector<std::shared_ptr<const MappedFile>> files() const = 0;
};

// A folder with model.bin, or with safetensors and config.json. Throws ModelNotFound, BadFile, UnsupportedModel.
std::shared_ptr<const WhisperFile> open_whisper(const std::string& folder);
std::shared_ptr<const WhisperFile> whisper_of_ctranslate2(const std::string& folder);
std::shared_ptr<const WhisperFile> whisper_of_folder(const std::string& folder);

}  // namespace gemlet::model
