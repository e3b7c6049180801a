// Continuous batching; see batch.h.
#include "engine/batch.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "engine/engine.h"

namespace gemlet::engine {
namespace {

struct Member {
  Turn* turn;
  SequenceJob* job;
  model::Piece piece;
  Rows<const float> h;
  int64_t logits_rows() const { return job->wants_logits() ? h.rows : 0; }
};

// Runs `work` for one job's account: what it throws is the job's failure. True: it did not throw.
template <class Work>
bool on_account_of(Turn& turn, const Work& work) {
  try {
    work();
    return true;
  } catch (...) {
    turn.failure = std::current_exception();
    return false;
  }
}

// Everyone who decodes runs; prompts share the room that is left, first come, first served.
std::vector<Member> gather(Engine& engine, std::vector<Turn>& turns) {
  std::vector<Member> members;
  const auto add = [&](Turn& turn, int64_t room) {
    auto* job = static_cast<SequenceJob*>(turn.job.get());
    return on_account_of(turn, [&] { members.push_back({&turn, job, job->piece(room, turns.size() == 1), {}}); });
  };
  const auto reads = [](const Turn& turn) { return static_cast<const SequenceJob*>(turn.job.get())->reads(); };
  for (Turn& turn : turns)
    if (!turn.failure && !reads(turn)) add(turn, 0);
  int64_t room = members.empty() ? engine.block() : std::min(engine.block(), kSharedBlockTokens);
  for (Turn& turn : turns) {
    if (turn.failure || room <= 0 || !reads(turn)) continue;
    if (add(turn, room)) room -= members.back().piece.count;
  }
  return members;
}

void forward(Engine& engine, std::vector<Member>& members) {
  std::vector<model::Piece> pieces;
  for (const Member& m : members) pieces.push_back(m.piece);
  Rows<const float> h;
  engine.on().team.region([&] { h = engine.decoder().forward(engine.on(), pieces, engine.state()); });
  int64_t row = 0;
  for (Member& m : members) {
    const auto n = static_cast<int64_t>(m.piece.wanted.size());
    m.h = {h.row(row), n, h.cols, h.stride};
    row += n;
  }
}

// Takes the rows of members [first, last), whose logits, if they want any, are computed together.
void take_some(Engine& engine, std::vector<Member>& members, size_t first, size_t last) {
  const int64_t v = engine.decoder().config().vocabulary, d = engine.decoder().config().width;
  int64_t rows = 0;
  for (size_t i = first; i < last; ++i) rows += members[i].logits_rows();
  Rows<float> logits;
  if (rows > 0) {
    logits = engine.logits().rows(rows, v);
    const Rows<float> h = engine.gathered().rows(rows, d);
    int64_t to = 0;
    for (size_t i = first; i < last; ++i)
      for (int64_t r = 0; r < members[i].logits_rows(); ++r)
        std::memcpy(h.row(to++), members[i].h.row(r), static_cast<size_t>(d) * sizeof(float));
    engine.on().team.region([&] { engine.decoder().head(engine.on(), h, logits, engine.state()); });
  }
  int64_t from = 0;
  for (size_t i = first; i < last; ++i) {
    Member& m = members[i];
    const int64_t n = m.logits_rows();
    const Rows<const float> own = n > 0 ? Rows<const float>(logits.row(from), n, v) : Rows<const float>();
    from += n;
    on_account_of(*m.turn, [&] { m.turn->done = m.job->take(m.h, own); });
  }
}

void take(Engine& engine, std::vector<Member>& members) {
  for (size_t first = 0, last = 0; first < members.size(); first = last) {
    int64_t rows = 0;  // bounded, for each costs V floats
    for (; last < members.size(); ++last) {
      if (rows > 0 && rows + members[last].logits_rows() > kHeadRows) break;
      rows += members[last].logits_rows();
    }
    try {
      take_some(engine, members, first, last);
    } catch (...) {  // the head's memory: the tokens are run, so there is no trying again
      for (size_t i = first; i < last; ++i)
        if (!members[i].turn->failure) members[i].turn->failure = std::current_exception();
    }
  }
}

}  // namespace

bool SequenceJob::step() { throw Error("engine: a job of tokens was run without the others"); }

void step_together(Engine& engine, std::vector<Turn>& turns) {
  const bool reads = std::any_of(turns.begin(), turns.end(), [](const Turn& turn) {
    return !turn.failure && static_cast<const SequenceJob*>(turn.job.get())->reads();
  });
  const Profile::Step step(engine.on().profile, reads ? Profile::Phase::Prefill : Profile::Phase::Decode);
  std::vector<Member> members = gather(engine, turns);
  bool together = true;
  try {
    if (!members.empty()) forward(engine, members);
  } catch (...) {
    // Whose fault it was is not known, and nothing was committed: the same pieces run again, each at its own risk, and
    // the one that cannot run throws once more, to its own caller.
    together = false;
  }
  if (together) take(engine, members);
  for (Member& m : members) {
    if (together) break;
    std::vector<Member> alone = {m};
    if (on_account_of(*m.turn, [&] { forward(engine, alone); })) take(engine, alone);
  }
  engine.note_scratch();
}

}  // namespace gemlet::engine
