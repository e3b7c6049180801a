// Walks over JSON that nobody has vouched for, a value at a time: the caller says what it expects and gets it or BadFile.
// Builds no tree, so memory grows only with what the caller keeps; knows nothing of what the members mean.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace gemlet::formats {

enum class JsonKind { Null, Bool, Number, String, Array, Object };

class JsonCursor {
 public:
  // `where` opens every message: "safetensors: 'file'". `part` names the text: "header". `text` must outlive the cursor.
  JsonCursor(std::string_view text, std::string where, std::string part)
      : text_(text), where_(std::move(where)), part_(std::move(part)), subject_(part_) {}

  // What is being read, for messages: "tensor 'a'". Without an argument: the whole text again.
  void reading(std::string subject) { subject_ = std::move(subject); }
  void reading() { subject_ = part_; }

  // What comes next; the value itself is still to be read, and need not be sound.
  JsonKind kind();

  // An object: each(key) must consume the value. A key that comes twice is refused; `kind` says what keys name.
  template <class Each>
  void members(const char* kind, Each each) {
    std::unordered_set<std::string> seen;
    entries([&](std::string_view name) {
      const auto [at, fresh] = seen.emplace(name);
      if (!fresh) twice(kind, *at);
      each(*at);
    });
  }
  // The same without the check, for objects so large that the caller notices a second key by other means. The view that
  // each() gets lasts until it reads on.
  template <class Each>
  void entries(Each each) {
    open('{', "an object");
    std::string unescaped;
    for (bool first = true; another('}', first); first = false) {
      const std::string_view key = text(unescaped);
      expect(':');
      each(key);
    }
  }

  // An array: each() must consume one element.
  template <class Each>
  void elements(Each each) {
    open('[', "an array");
    for (bool first = true; another(']', first); first = false) each();
  }

  std::string string();  // valid UTF-8, escapes resolved
  // The same without a copy where it has no escapes: a view into the whole text, else into `unescaped`.
  std::string_view text(std::string& unescaped);
  uint64_t unsigned_integer();  // digits alone
  std::string_view number();    // as it is written
  bool boolean();
  void null();
  void skip() { skip(0); }  // any value, checked but not kept
  void end();               // nothing but white space is left

  // Throws BadFile: "<where>: <subject>: <problem>".
  [[noreturn]] void refuse(const std::string& problem) const;
  const std::string& where() const { return where_; }

 private:
  void skip(int depth);
  void skip_number();
  bool skip_digits();
  void skip_space();
  void open(char bracket, const char* wanted);
  void expect(char wanted);
  bool another(char close, bool first);
  void expect_word(std::string_view word);
  bool at(char c) const { return at_ < text_.size() && text_[at_] == c; }
  void escape(std::string& out);
  uint32_t code_unit();
  void pass_character();
  [[noreturn]] void unexpected(const std::string& wanted) const;
  [[noreturn]] void twice(const char* kind, const std::string& key) const;

  std::string_view text_;
  size_t at_ = 0;
  std::string where_, part_, subject_;
};

}  // namespace gemlet::formats
