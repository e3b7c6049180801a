// Layout, little-endian: magic, version, fingerprint, then notes, snapshots (ids, since version 2 the spans of soft rows,
// and for each layer the numbers of its pages), the pages' layers, the pages themselves, and a checksum of all before it.
#include "engine/session_file.h"

#include <cstring>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/new_file.h"

namespace gemlet::engine {
namespace {

using Page = std::shared_ptr<uint8_t>;

constexpr char kMagic[8] = {'g', 'e', 'm', 'l', 'e', 't', 'K', 'V'};
constexpr uint64_t kVersion = 2, kOldest = 1, kMostSnapshots = 1 << 16;
constexpr uint64_t kMostNotes = uint64_t{1} << 30;  // soft rows may be among them
constexpr int64_t kGone = -1;                       // the number of a page that was given back

// FNV-1a over words of eight bytes, the last one filled up with zeros: for damage, not for forgery.
class Checksum {
 public:
  void add(const void* from, size_t count) {
    const auto* bytes = static_cast<const uint8_t*>(from);
    for (size_t i = 0; i < count; i += 8) {
      uint64_t word = 0;
      std::memcpy(&word, bytes + i, std::min<size_t>(8, count - i));
      value_ = (value_ ^ word) * 0x100000001B3ULL;
    }
  }
  void add(uint64_t number) { add(&number, sizeof number); }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xCBF29CE484222325ULL;
};

// A path that cannot be written is the caller's mistake. How much will be written is not known yet.
NewFile created(const std::string& path) {
  try {
    return {path, 0};
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& e) {
    throw BadArgument(cat("session: cannot write '", path, "': ", e.what()));
  }
}

class Writer {
 public:
  explicit Writer(const std::string& path) : file_(created(path)) {}
  void bytes(const void* from, size_t count) {
    sum_.add(from, count);
    file_.write(written_, from, count);
    written_ += count;
  }
  void number(uint64_t n) { bytes(&n, sizeof n); }
  void finish() {
    const uint64_t sum = sum_.value();
    file_.write(written_, &sum, sizeof sum);
    file_.commit();
  }

 private:
  NewFile file_;
  uint64_t written_ = 0;
  Checksum sum_;
};

// Every read is checked against what is left of the file.
class Reader {
 public:
  explicit Reader(const std::string& path) : file_(MappedFile::open(path)) {}
  std::string where() const { return cat("session: '", file_->path(), "'"); }

  void bytes(void* into, size_t count) {
    if (count > left())
      throw BadFile(cat(where(), ": ends after ", file_->size(), " bytes, in the middle; save it anew"));
    file_->read(at_, into, count);
    sum_.add(into, count);
    at_ += count;
  }
  uint64_t number(const char* what, uint64_t most) {
    uint64_t n = 0;
    bytes(&n, sizeof n);
    if (n > most)
      throw BadFile(cat(where(), ": ", what, ": expected at most ", most, ", got ", n, "; the file is damaged"));
    return n;
  }
  size_t left() const { return file_->size() - at_; }
  void finish() {
    const uint64_t expected = sum_.value();
    uint64_t stored = 0;
    bytes(&stored, sizeof stored);
    if (stored != expected || left() != 0)
      throw BadFile(cat(where(), ": its checksum does not fit its content; the file is damaged"));
  }

 private:
  std::shared_ptr<const MappedFile> file_;
  size_t at_ = 0;
  Checksum sum_;
};

// All pages of all snapshots, each once, in the order in which they are met.
struct PageTable {
  std::unordered_map<const uint8_t*, int64_t> numbers;
  std::vector<std::pair<Page, size_t>> pages;  // with their layer

  int64_t number(const Page& page, size_t layer) {
    if (page == nullptr) return kGone;
    const auto [entry, fresh] = numbers.emplace(page.get(), static_cast<int64_t>(pages.size()));
    if (fresh) pages.emplace_back(page, layer);
    return entry->second;
  }
};

std::vector<std::vector<int64_t>> read_numbers(Reader& in, const Engine& engine, size_t layers, uint64_t tokens) {
  const uint64_t pages = (tokens + kernels::kPageKeys - 1) / kernels::kPageKeys * 2;
  std::vector<std::vector<int64_t>> numbers(layers);
  const model::KvCache blank = engine.new_cache();
  for (size_t layer = 0; layer < layers; ++layer) {
    const uint64_t expected = blank.page_bytes(layer) > 0 ? pages : 0;
    if (in.number("pages of a layer", expected) != expected)
      throw BadFile(cat(in.where(), ": layer ", layer, ": expected ", expected, " pages; the file is damaged"));
    numbers[layer].resize(expected);
    in.bytes(numbers[layer].data(), expected * sizeof(int64_t));
  }
  return numbers;
}

struct Stored {
  model::Prompt read;
  std::vector<std::vector<int64_t>> numbers;  // of each layer's pages
};

void write_spans(Writer& out, const std::vector<model::Span>& spans) {
  out.number(spans.size());
  for (const model::Span& span : spans) {
    out.number(static_cast<uint64_t>(span.begin));
    out.number(static_cast<uint64_t>(span.count));
    out.number(static_cast<uint64_t>(span.kind));
    for (const uint64_t half : span.hash) out.number(half);
  }
}

// Spans may reach past the tokens read: a sound can be read in parts.
std::vector<model::Span> read_spans(Reader& in, const Engine& engine, uint64_t tokens) {
  const auto context = static_cast<uint64_t>(engine.context());
  std::vector<model::Span> spans(in.number("spans", tokens));
  uint64_t free = 0;
  for (model::Span& span : spans) {
    const uint64_t begin = in.number("begin of a span", tokens - 1), count = in.number("length of a span", context);
    if (begin < free || count < 1) throw BadFile(cat(in.where(), ": spans overlap; the file is damaged"));
    free = begin + count;
    span.begin = static_cast<int64_t>(begin), span.count = static_cast<int64_t>(count);
    span.kind = static_cast<model::SoftKind>(in.number("kind of a span", model::kSoftKinds - 1));
    for (uint64_t& half : span.hash) half = in.number("hash of a span", UINT64_MAX);
  }
  return spans;
}

Stored read_snapshot(Reader& in, const Engine& engine, size_t layers, uint64_t version) {
  Stored s;
  const uint64_t tokens = in.number("tokens", static_cast<uint64_t>(engine.context()));
  if (tokens > in.left() / sizeof(int32_t)) throw BadFile(cat(in.where(), ": ends in the middle; save it anew"));
  std::vector<int32_t>& ids = s.read.ids;
  ids.resize(tokens);
  in.bytes(ids.data(), tokens * sizeof(int32_t));
  try {
    engine.check_ids(ids);
  } catch (const Error& e) {
    throw BadFile(cat(in.where(), ": ", e.what(), "; the file is damaged"));
  }
  if (version >= 2) s.read.spans = read_spans(in, engine, tokens);
  s.read.find_blocks(engine.decoder().config().vision != model::VisionMask::Causal);
  s.numbers = read_numbers(in, engine, layers, tokens);
  return s;
}

std::vector<Page> read_pages(Reader& in, const Engine& engine, std::vector<size_t>& layer_of) {
  const model::KvCache blank = engine.new_cache();
  const uint64_t count = in.number("pages", in.left() / sizeof(uint64_t));
  for (uint64_t i = 0; i < count; ++i) {
    layer_of.push_back(in.number("a page's layer", blank.layers() - 1));
    if (blank.page_bytes(layer_of.back()) == 0)
      throw BadFile(cat(in.where(), ": layer ", layer_of.back(), " has no pages of its own; the file is damaged"));
  }
  std::vector<Page> pages;
  for (const size_t layer : layer_of) {
    const size_t bytes = blank.page_bytes(layer);
    if (bytes > in.left()) throw BadFile(cat(in.where(), ": ends in the middle of a page; save it anew"));
    pages.push_back(blank.new_page(layer));
    in.bytes(pages.back().get(), bytes);
  }
  return pages;
}

std::vector<std::vector<Page>> held(const Reader& in, const Stored& s, const std::vector<Page>& pages,
                                    const std::vector<size_t>& layer_of) {
  std::vector<std::vector<Page>> all(s.numbers.size());
  for (size_t layer = 0; layer < s.numbers.size(); ++layer)
    for (const int64_t n : s.numbers[layer]) {
      if (n != kGone && (n < 0 || n >= static_cast<int64_t>(pages.size()) || layer_of[static_cast<size_t>(n)] != layer))
        throw BadFile(cat(in.where(), ": layer ", layer, " names page ", n,
                          ", which is not one of its own; the file is damaged"));
      all[layer].push_back(n == kGone ? nullptr : pages[static_cast<size_t>(n)]);
    }
  return all;
}

// Only whole pages below the window may be missing, keys and values alike.
bool continues(const model::KvCache& kv) {
  for (size_t layer = 0; layer < kv.layers(); ++layer) {
    const std::vector<Page> pages = kv.held(layer);
    bool began = false;
    for (const Page& page : pages) {
      if (began && page == nullptr) return false;
      began = began || page != nullptr;
    }
  }
  return kv.reaches(kv.length());
}

}  // namespace

uint64_t fingerprint(const Engine& engine) {
  constexpr size_t kSample = 256;
  Checksum sum;
  const model::Checkpoint& file = engine.decoder().file();
  const model::Config& c = engine.decoder().config();
  for (const int64_t n : {c.width, c.vocabulary, c.window, c.per_layer, c.experts}) sum.add(static_cast<uint64_t>(n));
  sum.add(static_cast<uint64_t>(engine.kv_type()));
  sum.add(engine.options().compute.data(), engine.options().compute.size());
  if (c.vision == model::VisionMask::Overlay) sum.add(static_cast<uint64_t>(c.vision));
  std::vector<uint8_t> sample(kSample);
  for (const std::string_view name : file.names()) {
    const formats::TensorInfo& t = *file.tensor(name);
    sum.add(name.data(), name.size());
    sum.add(static_cast<uint64_t>(t.type));
    for (const int64_t n : t.shape) sum.add(static_cast<uint64_t>(n));
    const size_t count = std::min(kSample, t.bytes);
    file.files()[static_cast<size_t>(t.file_index)]->read(t.file_offset + (t.bytes - count) / 2, sample.data(), count);
    sum.add(sample.data(), count);
  }
  return sum.value();
}

void save_session(const Engine& engine, const PrefixCache& session, const std::string& notes, const std::string& path) {
  Writer out(path);
  out.bytes(kMagic, sizeof kMagic);
  out.number(kVersion);
  out.number(fingerprint(engine));
  out.number(notes.size());
  out.bytes(notes.data(), notes.size());
  const Snapshots snapshots = session.all();
  out.number(snapshots.size());
  PageTable table;
  for (const std::shared_ptr<const Snapshot>& s : snapshots) {
    out.number(s->read.ids.size());
    out.bytes(s->read.ids.data(), s->read.ids.size() * sizeof(int32_t));
    write_spans(out, s->read.spans);
    for (size_t layer = 0; layer < s->kv.layers(); ++layer) {
      std::vector<int64_t> numbers;
      for (const Page& page : s->kv.held(layer)) numbers.push_back(table.number(page, layer));
      out.number(numbers.size());
      out.bytes(numbers.data(), numbers.size() * sizeof(int64_t));
    }
  }
  out.number(table.pages.size());
  for (const auto& [page, layer] : table.pages) out.number(layer);
  const model::KvCache blank = engine.new_cache();
  for (const auto& [page, layer] : table.pages) out.bytes(page.get(), blank.page_bytes(layer));
  out.finish();
}

std::string load_session(const Engine& engine, PrefixCache& session, const std::string& path) {
  Reader in(path);
  char magic[sizeof kMagic] = {};
  in.bytes(magic, sizeof magic);
  if (std::memcmp(magic, kMagic, sizeof magic) != 0) throw BadFile(cat(in.where(), ": this is no session file"));
  const uint64_t version = in.number("version", UINT64_MAX);
  if (version < kOldest || version > kVersion)
    throw BadFile(cat(in.where(), ": version ", version, ", expected ", kOldest, " to ", kVersion,
                      "; it was written by another release"));
  if (in.number("fingerprint", UINT64_MAX) != fingerprint(engine))
    throw BadFile(cat(in.where(),
                      ": made with another model, or with another kv_dtype or compute; its keys and values ",
                      "mean nothing to '", engine.decoder().file().path(), "' as it is loaded here"));
  std::string notes(in.number("length of the notes", std::min<uint64_t>(kMostNotes, in.left())), '\0');
  in.bytes(notes.data(), notes.size());
  const size_t layers = engine.decoder().config().layers.size();
  std::vector<Stored> stored;
  for (uint64_t n = in.number("snapshots", kMostSnapshots); n > 0; --n)
    stored.push_back(read_snapshot(in, engine, layers, version));
  std::vector<size_t> layer_of;
  const std::vector<Page> pages = read_pages(in, engine, layer_of);
  in.finish();
  std::vector<Snapshot> made;
  for (Stored& s : stored) {
    const int64_t length = s.read.size();
    made.push_back({std::move(s.read), engine.cache_of(length, held(in, s, pages, layer_of)), false});
    if (!continues(made.back().kv)) throw BadFile(cat(in.where(), ": pages that the next token sees are missing"));
  }
  for (Snapshot& s : made) session.add(std::move(s.read), s.kv);
  return notes;
}

}  // namespace gemlet::engine
