// libFuzzer target: any bytes as a tokenizer.json; what is accepted becomes a tokenizer, and encodes the same bytes as text.
// Refusals are the library's own errors; anything else is a finding.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "demand.h"
#include "engine/tokenizer_json.h"
#include "formats/json_value.h"
#include "text/tokenizer.h"

namespace {

using gemlet::text::Tokenizer;
using gemlet::text::Vocabulary;

constexpr size_t kMostText = 2000;

// Every byte is read, so that the sanitizers see a view that leaves its owner.
void touch(const Vocabulary& vocabulary) {
  size_t sum = 0;
  for (const std::string_view text : vocabulary.pieces) sum += std::string(text).size();
  for (const std::string_view text : vocabulary.merges) sum += std::string(text).size();
  for (size_t id = 0; id < vocabulary.pieces.size(); ++id) sum += static_cast<size_t>(vocabulary.kinds[id]);
  volatile size_t kept = sum;  // so that no read is optimised away
  (void)kept;
}

void explore(const Tokenizer& tokenizer, std::string_view text) {
  const auto count = static_cast<int32_t>(tokenizer.vocabulary().pieces.size());
  for (const bool parse_special : {false, true}) {
    std::vector<int32_t> ids;
    tokenizer.encode(text.substr(0, kMostText), true, parse_special, ids);
    demand(std::all_of(ids.begin(), ids.end(), [count](int32_t id) { return id >= 0 && id < count; }));
    tokenizer.decode(ids.data(), ids.size(), parse_special);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  try {
    std::unique_ptr<const Tokenizer> tokenizer;
    {
      const std::string own(text);  // gone before the tokenizer is used: it must own what it shows
      Vocabulary vocabulary = gemlet::engine::parse_tokenizer_json(own, "fuzz");
      touch(vocabulary);
      tokenizer = Tokenizer::bpe(std::move(vocabulary));
    }
    explore(*tokenizer, text);
  } catch (const gemlet::Error& e) {
    demand(!std::string(e.what()).empty());
  }
  try {
    const auto value = gemlet::formats::JsonValue::parse(text, "fuzz", "file");
    demand(value.shown().size() < 1000);
  } catch (const gemlet::Error& e) {
    demand(!std::string(e.what()).empty());
  }
  return 0;
}
