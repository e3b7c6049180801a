// Memory for values that stay while much larger ones come and go, such as soft tokens between the frames of a film. On the
// heap each would come to lie where a frame has been, and the next frame would no longer fit there. What is done with the
// values is not known here.
#pragma once

#include <cstddef>
#include <memory>

namespace gemlet {

// At least so many bytes, all zero, in pages of their own, which the system has back when the last owner leaves. Throws
// std::bad_alloc.
std::shared_ptr<std::byte> own_pages(size_t bytes);

}  // namespace gemlet
