// A thread of a CUDA block on the CPU: a function with its own stack that runs until it yields to the scheduler.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace simt {

#if defined(__x86_64__)
// Saves the callee-saved registers on this stack and its pointer in *save, then goes on where `load` was saved.
extern "C" void simt_switch(void** save, void* load);
asm(R"(
.text
.type simt_switch, @function
simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_switch, .-simt_switch
)");
#endif

class Fiber {
 public:
  static constexpr std::size_t kStackBytes = 256 << 10;

  Fiber() {
    void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    stack_ = static_cast<char*>(memory);
  }
  ~Fiber() { munmap(stack_, kStackBytes); }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Makes `body` what the next resume() starts. It must not throw.
  void start(std::function<void()> body) {
    body_ = std::move(body);
    finished_ = false;
#if defined(__SANITIZE_ADDRESS__)
    fake_stack_ = nullptr;  // the frames of an abandoned run leave poisoned redzones behind
    __asan_unpoison_memory_region(stack_, kStackBytes);
#endif
#if defined(__x86_64__)
    // A stack on which simt_switch "returns" to enter(): six registers, the address, and a zero where enter's caller
    // would be; the pointer is 8 past a multiple of 16 when enter begins, as the ABI wants.
    auto* top = reinterpret_cast<std::uintptr_t*>(stack_ + kStackBytes);
    *--top = 0;
    *--top = reinterpret_cast<std::uintptr_t>(&Fiber::enter);
    for (int i = 0; i < 6; ++i) *--top = 0;
    inside_ = top;
#else
    getcontext(&inside_);
    inside_.uc_stack.ss_sp = stack_;
    inside_.uc_stack.ss_size = kStackBytes;
    inside_.uc_link = nullptr;
    makecontext(&inside_, &Fiber::enter, 0);
#endif
  }

  bool finished() const { return finished_; }

  // Called by the scheduler: runs the fiber until it yields or finishes.
  void resume() {
    starting_ = this;
#if defined(__SANITIZE_ADDRESS__)
    void* own = nullptr;
    __sanitizer_start_switch_fiber(&own, stack_, kStackBytes);
    switch_to_fiber();
    __sanitizer_finish_switch_fiber(own, nullptr, nullptr);
#else
    switch_to_fiber();
#endif
  }

  // Called by the fiber: goes back to the scheduler until the next resume().
  void yield() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(finished_ ? nullptr : &fake_stack_, scheduler_stack_, scheduler_stack_bytes_);
    switch_to_scheduler();
    __sanitizer_finish_switch_fiber(fake_stack_, &scheduler_stack_, &scheduler_stack_bytes_);
#else
    switch_to_scheduler();
#endif
  }

 private:
  static void enter() {
    Fiber* self = starting_;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &self->scheduler_stack_, &self->scheduler_stack_bytes_);
#endif
    self->body_();
    self->finished_ = true;
    self->yield();
    __builtin_unreachable();
  }

#if defined(__x86_64__)
  void switch_to_fiber() { simt_switch(&outside_, inside_); }
  void switch_to_scheduler() { simt_switch(&inside_, outside_); }
  void* inside_ = nullptr;
  void* outside_ = nullptr;
#else
  void switch_to_fiber() { swapcontext(&outside_, &inside_); }
  void switch_to_scheduler() { swapcontext(&inside_, &outside_); }
  ucontext_t inside_, outside_;
#endif

  static inline Fiber* starting_ = nullptr;
  char* stack_ = nullptr;
  std::function<void()> body_;
  bool finished_ = true;
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack_ = nullptr;
  const void* scheduler_stack_ = nullptr;
  std::size_t scheduler_stack_bytes_ = 0;
#endif
};

}  // namespace simt
