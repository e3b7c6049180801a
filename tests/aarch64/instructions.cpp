// A plugin of the emulator: counts the instructions that a program runs and writes their number to standard error at its
// end. The few declarations are those of the emulator's plugin interface, version 1; there is no package with its header.
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>

extern "C" {
struct qemu_plugin_tb;
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*callback)(uint64_t id, qemu_plugin_tb* block));
void qemu_plugin_register_vcpu_tb_exec_inline(qemu_plugin_tb* block, int operation, void* number, uint64_t add);
size_t qemu_plugin_tb_n_insns(const qemu_plugin_tb* block);
void qemu_plugin_register_atexit_cb(uint64_t id, void (*callback)(uint64_t id, void* data), void* data);

[[gnu::visibility("default")]] int qemu_plugin_version = 1;
[[gnu::visibility("default")]] int qemu_plugin_install(uint64_t id, const void* info, int count, char** arguments);
}

namespace {

constexpr int kAdd = 0;  // QEMU_PLUGIN_INLINE_ADD_U64
uint64_t instructions = 0;

void translated(uint64_t /*id*/, qemu_plugin_tb* block) {
  qemu_plugin_register_vcpu_tb_exec_inline(block, kAdd, &instructions, qemu_plugin_tb_n_insns(block));
}

void tell(uint64_t /*id*/, void* /*data*/) { std::fprintf(stderr, "%" PRIu64 "\n", instructions); }

}  // namespace

int qemu_plugin_install(uint64_t id, const void* /*info*/, int /*count*/, char** /*arguments*/) {
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, tell, nullptr);
  return 0;
}
