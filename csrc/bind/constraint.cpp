// See constraint.h. One hold of the GIL a token: accept() also asks whether the text is whole, and for the next mask.
// Nobody may hold the GIL while waiting for the engine's thread, or the two wait for each other.
#include "bind/constraint.h"

#include <pybind11/numpy.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "bind/bind.h"
#include "core/error.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

// How many threads of ours are in Python or on their way, and whether more may go. Atomics, because a mutex could be held
// at the moment of a fork.
std::atomic<int> inside{0};
std::atomic<bool> closed{false};

constexpr std::chrono::seconds kLongestExit{5};  // for calls under way when the interpreter wants to end

class Visit {
 public:
  Visit() {
    inside.fetch_add(1);
    open_ = !closed.load();
    if (!open_) inside.fetch_sub(1);
  }
  ~Visit() {
    if (open_) inside.fetch_sub(1);
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;
  explicit operator bool() const { return open_; }

 private:
  bool open_;
};

// Called by `atexit`, with the GIL.
void close_door() {
  closed.store(true);
  const py::gil_scoped_release released;
  const auto limit = std::chrono::steady_clock::now() + kLongestExit;
  while (inside.load() > 0 && std::chrono::steady_clock::now() < limit)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

class PythonConstraint final : public engine::Constraint {
 public:
  PythonConstraint(py::object object, int64_t vocabulary)
      : object_(std::move(object)), words_((vocabulary + 31) / 32) {}
  // The last owner may be the engine's thread. With the interpreter gone the objects are no longer anybody's to free.
  ~PythonConstraint() override {
    const Visit visit;
    if (visit) {
      const py::gil_scoped_acquire gil;
      object_ = py::object();
      array_ = py::object();
    } else {
      object_.release();
      array_.release();
    }
  }
  PythonConstraint(const PythonConstraint&) = delete;
  PythonConstraint& operator=(const PythonConstraint&) = delete;

  const uint32_t* mask() override {
    if (!asked_) call([this] { ask(); });
    return mask_;
  }
  void accept(int32_t id) override {
    call([&] {
      object_.attr("accept")(id);
      finished_ = object_.attr("finished")().cast<bool>();
      asked_ = false;
      if (!finished_) ask();
    });
  }
  bool finished() override { return finished_; }

 private:
  template <class Body>
  void call(const Body& body) {
    const Visit visit;
    if (!visit) throw Cancelled("engine: Python is shutting down; the generation was stopped");
    const py::gil_scoped_acquire gil;
    body();
  }

  void ask() {
    py::object given = object_.attr("mask")();
    mask_ = nullptr;
    if (!given.is_none()) {
      const bool is_array = py::isinstance<py::array_t<int32_t, py::array::c_style>>(given) ||
                            py::isinstance<py::array_t<uint32_t, py::array::c_style>>(given);
      if (!is_array || py::reinterpret_borrow<py::array>(given).size() != words_)
        throw py::value_error(cat("constraint: mask() must give None or a contiguous int32 or uint32 array of ", words_,
                                  " words, got ", std::string(py::str(py::repr(given))).substr(0, 100)));
      mask_ = static_cast<const uint32_t*>(py::reinterpret_borrow<py::array>(given).data());
    }
    array_ = std::move(given);
    asked_ = true;
  }

  py::object object_, array_;  // array_ keeps what mask_ points to
  int64_t words_;
  const uint32_t* mask_ = nullptr;
  bool asked_ = false, finished_ = false;
};

}  // namespace

std::shared_ptr<engine::Constraint> constraint_from(py::object object, int64_t vocabulary) {
  for (const char* method : {"mask", "accept", "finished"})
    if (!py::hasattr(object, method))
      throw py::type_error(cat("constraint: expected an object with mask(), accept(id) and finished(), got ",
                               std::string(py::str(py::type::of(object).attr("__name__")))));
  return std::make_shared<PythonConstraint>(std::move(object), vocabulary);
}

void register_constraint(py::module_& /*m*/) {
  py::module_::import("atexit").attr("register")(py::cpp_function(&close_door));
}

}  // namespace gemlet::bind
