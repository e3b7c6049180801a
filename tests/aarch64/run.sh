#!/usr/bin/env bash
# Builds the two programs of this folder for 64-bit ARM and runs them under an emulator: every kernel against the scalar set
# on processors with more and less, then whole models against this machine's module. Nothing about speed is learnt here.
#   apt-get install g++-aarch64-linux-gnu qemu-user
# PYTHON has the module in place and what builds it. GEMLET_AARCH64_DIR names the build folder.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${GEMLET_AARCH64_DIR:-build/aarch64}
emulator=(qemu-aarch64 -L /usr/aarch64-linux-gnu)
for program in aarch64-linux-gnu-g++ "${emulator[0]}"; do
  command -v "$program" >/dev/null ||
    { echo "no $program: apt-get install g++-aarch64-linux-gnu qemu-user" >&2; exit 1; }
done

mkdir -p "$build"
# The kernels are compiled as in a release; for the rest -O1 takes half the time.
cmake -S . -B "$build" -G Ninja -DGEMLET_PROGRAMS=ON -DGEMLET_WERROR=ON -DPython_EXECUTABLE="${PYTHON:-$(command -v python3)}" \
  -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" >"$build/configure.log" || { cat "$build/configure.log"; exit 1; }
cmake --build "$build"
"${PYTHON:-python3}" tools/check_symbols.py "$build" --tools aarch64-linux-gnu-

kernels() { # PROCESSOR SET...: those that it must have
  local said status=0
  said=$("${emulator[@]}" -cpu "$1" "$build/tests/aarch64/kernels" "${@:2}") || status=$?
  echo "$1: $said"
  return "$status"
}
kernels max neon dotprod i8mm &
everything=$!
kernels cortex-a72 neon         # the Raspberry Pi 4's
kernels cortex-a76 neon dotprod # the Raspberry Pi 5's
wait "$everything"
PYTHONPATH=python "${PYTHON:-python3}" tests/aarch64/same_as_here.py "$build/tests/aarch64/decode" "${emulator[@]}"
