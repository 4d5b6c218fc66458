// Runs the blocks of a grid one after another, each block's threads as fibers that meet at barriers and warp
// collectives. What hardware leaves undefined is a Failure here: a thread missing at a barrier, threads at different
// barriers, a mask that names a lane which does not come or leaves out the one that calls.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fiber.h"

namespace simt {

constexpr int kWarp = 32;
constexpr int kMaxThreads = 1024;
constexpr std::size_t kMaxSharedBytes = 48 << 10;

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

struct Extent {
  unsigned x = 1, y = 1, z = 1;
  Extent(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// In which order threads (between meeting points) and blocks run. Results that differ between orders are a race.
enum class Order { kAscending, kDescending, kShuffled };
inline Order order = Order::kAscending;

// Of the pretended device: few, so that kernels that stride over the grid do stride.
inline int multiprocessors = 2;

// One warp collective that lanes of `mask` come to: each brings a value, and all leave with everyone's.
struct Meeting {
  const char* name;
  unsigned mask;
  int line;
  unsigned arrived = 0;
  std::uint64_t value[kWarp] = {};
};

struct Thread {
  Index index;
  int linear = 0;
  bool waiting = false;       // for a meeting or the barrier
  int barrier_line = 0;       // of the __syncthreads that it waits at, or 0
  std::shared_ptr<Meeting> meeting;
};

class Block {
 public:
  Block(Extent grid, Extent block, std::size_t shared_bytes) : grid_(grid), extent_(block) {
    const std::uint64_t n = std::uint64_t{block.x} * block.y * block.z;
    if (n == 0 || n > kMaxThreads) fail("a block has 1 to 1024 threads, got " + std::to_string(n));
    if (shared_bytes > kMaxSharedBytes) fail("a block has 48 KB of shared memory, got " + std::to_string(shared_bytes));
    threads_.resize(n);
    open_.resize((n + kWarp - 1) / kWarp);
    shared_.reset(static_cast<char*>(std::aligned_alloc(16, (shared_bytes + 15) / 16 * 16 + 16 * (shared_bytes == 0))));
    shared_bytes_ = shared_bytes;
    while (fibers().size() < n) fibers().push_back(std::make_unique<Fiber>());
  }

  void run(Index block_index, const std::function<void()>& kernel) {
    index_ = block_index;
    std::memset(shared_.get(), 0xff, shared_bytes_);  // shared memory starts as NaN, never as zeros
    for (auto& meetings : open_) meetings.clear();
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      Thread& thread = threads_[i] = Thread{};
      thread.linear = static_cast<int>(i);
      thread.index.x = static_cast<unsigned>(i % extent_.x);
      thread.index.y = static_cast<unsigned>(i / extent_.x % extent_.y);
      thread.index.z = static_cast<unsigned>(i / extent_.x / extent_.y);
      fibers()[i]->start([this, &kernel, i] {
        try {
          kernel();
          leave(threads_[i]);
        } catch (const Failure& failure) {
          if (failure_.empty()) failure_ = failure.what();
        }
      });
    }
    current() = this;
    while (pass()) {}
    current() = nullptr;
    if (failure_.empty()) check_all_left();
    if (!failure_.empty()) throw Failure(place() + failure_);
  }

  static Block*& current() {
    static Block* block = nullptr;
    return block;
  }

  const Index& thread_index() const { return self_->index; }
  const Index& block_index() const { return index_; }
  const Extent& block_extent() const { return extent_; }
  const Extent& grid_extent() const { return grid_; }
  void* shared() const { return shared_.get(); }

  void barrier(int line) {
    self_->barrier_line = line;
    if (++at_barrier_ == threads_.size()) {
      for (const Thread& thread : threads_) {
        if (thread.barrier_line != line) {
          fail("divergent barrier: thread " + std::to_string(self_->linear) + " is at the __syncthreads of line " +
               std::to_string(line) + ", thread " + std::to_string(thread.linear) + " at the one of line " +
               std::to_string(thread.barrier_line));
        }
      }
      at_barrier_ = 0;
      for (Thread& thread : threads_) {
        thread.waiting = false;
        thread.barrier_line = 0;
      }
      return;
    }
    wait();
  }

  // Brings `value` to the collective and returns everyone's values, by lane.
  std::shared_ptr<const Meeting> meet(const char* name, unsigned mask, std::uint64_t value, int line) {
    const int warp = self_->linear / kWarp, lane = self_->linear % kWarp;
    if (!(mask >> lane & 1)) fail(std::string(name) + ": mask " + hex(mask) + " leaves out its caller, lane " + std::to_string(lane));
    for (int other = 0; other < kWarp; ++other) {
      if (!(mask >> other & 1)) continue;
      const std::size_t linear = static_cast<std::size_t>(warp) * kWarp + other;
      if (linear >= threads_.size() || fibers()[linear]->finished()) {
        fail(std::string(name) + " (line " + std::to_string(line) + "): mask " + hex(mask) + " names lane " +
             std::to_string(other) + ", which " + (linear >= threads_.size() ? "does not exist" : "has returned"));
      }
    }
    auto& meetings = open_[warp];
    std::shared_ptr<Meeting> meeting;
    for (auto& candidate : meetings) {
      if (candidate->line == line && candidate->mask == mask && candidate->name == name && !(candidate->arrived >> lane & 1)) {
        meeting = candidate;
      }
    }
    if (!meeting) meetings.push_back(meeting = std::make_shared<Meeting>(Meeting{name, mask, line}));
    meeting->arrived |= 1u << lane;
    meeting->value[lane] = value;
    self_->meeting = meeting;
    if (meeting->arrived == mask) {
      std::erase(meetings, meeting);
      for (int other = 0; other < kWarp; ++other) {
        if (mask >> other & 1) threads_[warp * kWarp + other].waiting = false;
      }
    } else {
      wait();
    }
    self_->meeting = nullptr;
    return meeting;
  }

  [[noreturn]] static void fail(const std::string& message) { throw Failure(message); }

 private:
  static std::vector<std::unique_ptr<Fiber>>& fibers() {
    static std::vector<std::unique_ptr<Fiber>> pool;
    return pool;
  }

  static std::string hex(unsigned value) {
    char text[16];
    std::snprintf(text, sizeof text, "0x%08x", value);
    return text;
  }

  std::string place() const {
    return "block (" + std::to_string(index_.x) + ", " + std::to_string(index_.y) + ", " + std::to_string(index_.z) + "): ";
  }

  void wait() {
    Thread* self = self_;
    self->waiting = true;
    fibers()[self->linear]->yield();
    self_ = self;
  }

  // Lets each warp in turn run as far as it gets without the others, so that warps drift apart as far as barriers
  // allow; false when nobody could go on.
  bool pass() {
    bool ran = false;
    const std::size_t n_warps = open_.size();
    for (std::size_t step = 0; step < n_warps; ++step) {
      const std::size_t warp = order == Order::kDescending ? n_warps - 1 - step : step;
      while (failure_.empty() && run_warp(warp)) ran = true;
    }
    return ran && failure_.empty();
  }

  // Runs every lane that can go on up to its next meeting point; false when there was none.
  bool run_warp(std::size_t warp) {
    bool ran = false;
    for (std::size_t step = 0; step < kWarp && failure_.empty(); ++step) {
      std::size_t lane = step;
      if (order == Order::kDescending) lane = kWarp - 1 - step;
      if (order == Order::kShuffled) lane = (step * 13 + 7) % kWarp;
      const std::size_t i = warp * kWarp + lane;
      if (i >= threads_.size() || threads_[i].waiting || fibers()[i]->finished()) continue;
      self_ = &threads_[i];
      fibers()[i]->resume();
      ran = true;
    }
    return ran;
  }

  void leave(const Thread& thread) const {
    for (const auto& meeting : open_[thread.linear / kWarp]) {
      if (meeting->mask >> (thread.linear % kWarp) & 1) {
        fail(std::string(meeting->name) + " (line " + std::to_string(meeting->line) + "): mask " + hex(meeting->mask) +
             " names lane " + std::to_string(thread.linear % kWarp) + ", which has returned");
      }
    }
  }

  // Nobody can go on: fine when all have returned, else somebody waits for one who does not come.
  void check_all_left() {
    std::string waiting;
    int missing = -1, named = 0;
    for (const Thread& thread : threads_) {
      if (fibers()[thread.linear]->finished()) {
        missing = thread.linear;
        continue;
      }
      if (++named > 4) continue;
      waiting += std::string(waiting.empty() ? "" : "; ") + "thread " + std::to_string(thread.linear) + " waits at ";
      if (thread.meeting) {
        waiting += std::string(thread.meeting->name) + " (line " + std::to_string(thread.meeting->line) + ", mask " +
                   hex(thread.meeting->mask) + ", arrived " + hex(thread.meeting->arrived) + ")";
      } else {
        waiting += "__syncthreads (line " + std::to_string(thread.barrier_line) + ")";
      }
    }
    if (named == 0) return;
    failure_ = std::to_string(named) + " of " + std::to_string(threads_.size()) + " threads wait for ever: " + waiting +
               (named > 4 ? "; ..." : "") + (missing < 0 ? "" : "; thread " + std::to_string(missing) + " has returned");
  }

  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };

  Extent grid_, extent_;
  Index index_;
  std::vector<Thread> threads_;
  std::vector<std::vector<std::shared_ptr<Meeting>>> open_;  // by warp
  std::unique_ptr<char, Free> shared_;
  std::size_t shared_bytes_ = 0;
  std::size_t at_barrier_ = 0;
  Thread* self_ = nullptr;
  std::string failure_;
};

inline void launch(Extent grid, Extent block, std::size_t shared_bytes, const std::function<void()>& kernel) {
  const std::uint64_t n = std::uint64_t{grid.x} * grid.y * grid.z;
  if (n == 0 || grid.x > 0x7fffffffu || grid.y > 0xffffu || grid.z > 0xffffu) {
    Block::fail("a grid has 1 to (2^31 - 1, 65535, 65535) blocks");
  }
  Block runner(grid, block, shared_bytes);
  for (std::uint64_t step = 0; step < n; ++step) {
    const std::uint64_t i = order == Order::kDescending ? n - 1 - step : step;
    Index index;
    index.x = static_cast<unsigned>(i % grid.x);
    index.y = static_cast<unsigned>(i / grid.x % grid.y);
    index.z = static_cast<unsigned>(i / grid.x / grid.y);
    runner.run(index, kernel);
  }
}

}  // namespace simt
