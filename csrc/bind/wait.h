// Waiting for a job from Python: in slices, without the GIL, looking for signals in between, so that Ctrl-C cancels.
#pragma once

#include <pybind11/pybind11.h>

#include "engine/scheduler.h"

namespace gemlet::bind {

constexpr int kSliceMs = 50;

inline void wait_for(engine::Job& job) {
  for (;;) {
    {
      const pybind11::gil_scoped_release released;
      if (job.wait(kSliceMs)) break;
    }
    if (PyErr_CheckSignals() != 0) {
      job.cancel();
      {
        const pybind11::gil_scoped_release released;
        while (!job.wait(1000)) {
        }
      }
      throw pybind11::error_already_set();
    }
  }
  job.rethrow();
}

}  // namespace gemlet::bind
