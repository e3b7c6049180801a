// Fragments of one text to ids: cut into words, a word seen before from the cache, a new one with its spaces as marks through
// the merger. Made for one call of encode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/call_cache.h"
#include "text/merge.h"
#include "text/word_split.h"

namespace gemlet::text {

// Rules: as merge.h has it; what they emit goes to `ids`.
template <class Rules>
class WordEncoder {
 public:
  WordEncoder(const WordSplitter& splitter, size_t text_bytes, Rules rules, std::vector<int32_t>& ids)
      : splitter_(splitter), ids_(ids), words_(text_bytes), merger_(rules) {}
  WordEncoder(const WordEncoder&) = delete;
  WordEncoder& operator=(const WordEncoder&) = delete;

  void encode(std::string_view fragment) {
    for (size_t begin = 0; begin < fragment.size();) {
      const size_t end = splitter_.end_of_word(fragment, begin);
      encode_word(fragment.substr(begin, end - begin));
      begin = end;
    }
  }

 private:
  void encode_word(std::string_view word);

  const WordSplitter& splitter_;
  std::vector<int32_t>& ids_;
  WordCache words_;
  std::string marked_;  // the word with its spaces as marks
  Merger<Rules> merger_;
};

template <class Rules>
void WordEncoder<Rules>::encode_word(std::string_view word) {
  bool found = false;
  WordCache::Entry* const entry = words_.place(word, found);
  if (found) {
    ids_.insert(ids_.end(), entry->ids.begin(), entry->ids.begin() + entry->count);
    return;
  }
  const size_t before = ids_.size();
  std::string_view marked = word;
  if (word.find(' ') != std::string_view::npos) {
    marked_.clear();
    for (const char c : word)
      if (c == ' ')
        marked_ += kSpaceMark;
      else
        marked_ += c;
    marked = marked_;
  }
  merger_.run(marked);
  if (entry != nullptr) WordCache::keep(*entry, word, ids_.data() + before, ids_.size() - before);
}

}  // namespace gemlet::text
