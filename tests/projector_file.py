"""The tensors of a tiny projector file ("mmproj") in the types of released ones, for the golden models with towers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def finish(writer: Any, tensors: dict[str, np.ndarray], dtype: str, large: Callable[[str], bool]) -> None:
    """Matrices that are `large` by name become dtype: F32, F16, BF16, or Q8_0 where rows are whole blocks, else F16."""
    import gguf

    kind = getattr(gguf.GGMLQuantizationType, dtype)
    for name, array in tensors.items():
        changes = array.ndim == 2 and large(name)
        if not changes or (dtype == "Q8_0" and array.shape[1] % 32):
            writer.add_tensor(name, array.astype(np.float16) if changes and dtype == "Q8_0" else array)
        else:
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
