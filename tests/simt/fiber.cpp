#include "simt/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__x86_64__) && !defined(QTUNE_SIMT_UCONTEXT)
#define QTUNE_SIMT_X86_64
#else
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define QTUNE_SIMT_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QTUNE_SIMT_ASAN
#endif
#endif
#ifdef QTUNE_SIMT_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#ifdef QTUNE_SIMT_X86_64
// ucontext makes a system call at each switch, to keep the signal mask; fibers have no use for that.
extern "C" void qtune_simt_switch(void** save_stack, void* load_stack);
asm(R"(
.text
.globl qtune_simt_switch
.type qtune_simt_switch, @function
qtune_simt_switch:
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
.size qtune_simt_switch, .-qtune_simt_switch
)");
#endif

namespace qtune::simt {
namespace {

constexpr size_t kStackBytes = size_t{256} << 10;  // touched pages only; frames are large under AddressSanitizer

Fiber* current = nullptr;

char* make_stack() {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page, PROT_NONE);  // an overflow stops here
  return static_cast<char*>(memory) + page;
}

void free_stack(char* stack) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  munmap(stack - page, kStackBytes + page);
}

}  // namespace

struct Fiber::Context {
  char* stack = make_stack();
#ifdef QTUNE_SIMT_X86_64
  void* top = nullptr;
  void* scheduler_top = nullptr;
#else
  ucontext_t own{}, scheduler{};
#endif
  // AddressSanitizer's bookkeeping: the stack that resumed this fiber.
  const void* scheduler_stack = nullptr;
  size_t scheduler_bytes = 0;
  void* fake_stack = nullptr;
};

Fiber::Fiber() : context_(new Context) {}

Fiber::~Fiber() {
  free_stack(context_->stack);
  delete context_;
}

void Fiber::start(void (*entry)(void*), void* argument) {
  entry_ = entry;
  argument_ = argument;
#ifdef QTUNE_SIMT_X86_64
  // As if run() had been called: aligned to 16 after the return address is pushed. Six registers lie below it.
  auto* top = reinterpret_cast<void**>(context_->stack + kStackBytes);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&Fiber::run);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  context_->top = top;
#else
  getcontext(&context_->own);
  context_->own.uc_stack.ss_sp = context_->stack;
  context_->own.uc_stack.ss_size = kStackBytes;
  context_->own.uc_link = nullptr;
  makecontext(&context_->own, reinterpret_cast<void (*)()>(&Fiber::run), 0);
#endif
}

void Fiber::switch_in() {
#ifdef QTUNE_SIMT_X86_64
  qtune_simt_switch(&context_->scheduler_top, context_->top);
#else
  swapcontext(&context_->scheduler, &context_->own);
#endif
}

void Fiber::switch_out([[maybe_unused]] bool for_good) {
#ifdef QTUNE_SIMT_ASAN
  __sanitizer_start_switch_fiber(for_good ? nullptr : &context_->fake_stack, context_->scheduler_stack,
                                 context_->scheduler_bytes);
#endif
#ifdef QTUNE_SIMT_X86_64
  qtune_simt_switch(&context_->top, context_->scheduler_top);
#else
  swapcontext(&context_->own, &context_->scheduler);
#endif
#ifdef QTUNE_SIMT_ASAN
  __sanitizer_finish_switch_fiber(context_->fake_stack, &context_->scheduler_stack, &context_->scheduler_bytes);
#endif
}

void Fiber::resume() {
  current = this;
#ifdef QTUNE_SIMT_ASAN
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, context_->stack, kStackBytes);
#endif
  switch_in();
#ifdef QTUNE_SIMT_ASAN
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
  current = nullptr;
}

bool Fiber::owns(const void* address) {
  if (current == nullptr) return false;
  const char* stack = current->context_->stack;
  return address >= stack && address < stack + kStackBytes;
}

void Fiber::yield() { current->switch_out(false); }

// Not instrumented: its frame is never left, so its marks would stay on the stack.
__attribute__((no_sanitize("address"))) void Fiber::run() {
  Fiber* self = current;
#ifdef QTUNE_SIMT_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &self->context_->scheduler_stack, &self->context_->scheduler_bytes);
#endif
  self->under_way_ = true;
  self->entry_(self->argument_);
  self->under_way_ = false;
  self->switch_out(true);
  std::abort();  // an ended fiber is not resumed
}

}  // namespace qtune::simt
