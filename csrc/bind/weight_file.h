// What the views of weight files share: text and paths that may hold any bytes, and tensors as Python values.
#pragma once

#include <pybind11/numpy.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "formats/tensor_info.h"

namespace gemlet::bind {

// Files may hold any bytes where text is expected; looking at them must not fail.
pybind11::str lenient_text(std::string_view bytes);
pybind11::str path_text(const std::string& path);
// str, bytes or PathLike -> the bytes of the path. `format` opens the message of a refusal.
std::string path_bytes(const pybind11::object& path, const char* format);

// A dict for each tensor: name, type, shape (outermost first), bytes, file.
pybind11::list tensor_list(const std::vector<formats::TensorInfo>& tensors,
                           const std::vector<std::shared_ptr<const MappedFile>>& files);
// A new float32 array; `where` opens the message of a refusal: "gguf: 'file'".
pybind11::array_t<float> decoded(const formats::TensorInfo& tensor, const std::string& where);

}  // namespace gemlet::bind
