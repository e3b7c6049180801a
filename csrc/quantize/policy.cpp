// After llama.cpp's choices, but for the dense part of mixtures: four bits there cost more than they save.
#include "quantize/policy.h"

#include "core/error.h"

namespace gemlet::quantize {
namespace {

using codec::Type;

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// The router decides which experts run: an error there is not an error of size but another model.
bool is_router(std::string_view tensor) { return contains(tensor, "ffn_gate_inp"); }

bool is_careful(std::string_view tensor, bool experts) {
  if (tensor == "token_embd.weight" || tensor == "output.weight" || tensor == "per_layer_model_proj.weight")
    return true;
  const bool dense = contains(tensor, ".ffn_") && !contains(tensor, "_exps.");
  return experts && dense;
}

}  // namespace

Policy policy_for(const std::string& name) {
  if (name == "q8_0") return {name, Type::Q8_0, Type::Q8_0, 7};
  if (name == "q4_0") return {name, Type::Q4_0, Type::Q8_0, 2};
  if (name == "f16") return {name, Type::F16, Type::F16, 1};
  for (const char* later :
       {"q2_k", "q3_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_1",   "q4_k",   "q4_k_s", "q4_k_m", "q5_0",
        "q5_1", "q5_k", "q5_k_s", "q5_k_m", "q6_k",   "iq4_nl", "iq4_xs", "mxfp4",  "bf16",   "f32"})
    if (name == later)
      throw BadArgument(cat("quantize: this version reads ", name, " but does not write it; use q8_0, q4_0 or f16"));
  throw BadArgument(cat("quantize: expected the format q8_0, q4_0 or f16, got '", name, "'"));
}

Type type_for(const Policy& policy, std::string_view tensor, const std::vector<int64_t>& shape, Type source,
              bool experts) {
  if (shape.size() < 2 || is_router(tensor)) return Type::F32;
  const Type wanted = is_careful(tensor, experts) ? policy.careful : policy.most;
  if (shape.back() % codec::info(wanted).block == 0) return wanted;
  return source == Type::BF16 ? Type::BF16 : Type::F16;  // of the same size, and BF16 loses nothing
}

}  // namespace gemlet::quantize
