// What may be generated, one token at a time: the engine's side of a grammar. Who decides (a grammar library, a test) is
// behind the interface; the engine knows bits and ids only.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace gemlet::engine {

// Called on the engine's thread only, and by one generation only. Whatever it throws ends that generation and reaches the
// caller.
class Constraint {
 public:
  virtual ~Constraint() = default;
  // What may come next, (V + 31) / 32 words that stay valid until accept(): bit i = id i may; null: everything may. An id
  // that ends generations is to be set where the text may end, and nowhere else.
  virtual const uint32_t* mask() = 0;
  // `id` was generated. Ids that end a generation are not told.
  virtual void accept(int32_t id) = 0;
  // True once the text is whole and nothing can follow it.
  virtual bool finished() = 0;
};

// The constraint of one generation, or none: when it opens, and what the next token's mask spares the engine.
class Gate {
 public:
  // opens_after: the id behind which the constraint begins, -1: with the first token. every_logit: no row of the head is
  // left out, because somebody wants them all.
  Gate(std::shared_ptr<Constraint> constraint, int32_t opens_after, int64_t vocabulary, bool every_logit);

  // Looks at what may come next; valid until accept(). Throws SchemaError if nothing may.
  void look();
  const uint32_t* mask() const { return mask_; }  // null: everything may come
  int32_t forced() const { return forced_; }      // the only id that may come, so that no logits are needed; else -1
  // Ascending: the only rows of the head that are needed. Empty: all.
  const std::vector<int32_t>& rows() const { return rows_; }

  void accept(int32_t id);
  bool finished() const { return finished_; }
  bool waiting() const { return constraint_ != nullptr && !open_; }  // for the id that opens it
  int32_t opens_after() const { return opens_after_; }

 private:
  std::shared_ptr<Constraint> constraint_;
  int32_t opens_after_;
  int64_t vocabulary_;
  bool every_logit_;
  bool open_;
  bool finished_ = false;
  const uint32_t* mask_ = nullptr;
  int32_t forced_ = -1;
  std::vector<int32_t> rows_;
};

}  // namespace gemlet::engine
