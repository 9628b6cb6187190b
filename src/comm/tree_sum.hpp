// The sum of one vector a section in the fixed order of reduction_plan.hpp: the same bits for every number of
// ranks.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "comm/channel.hpp"
#include "comm/reduction_plan.hpp"
#include "comm/transport.hpp"

namespace stagformer::internal {

/// `sections` vectors on the ranks of a transport in equal neighbouring blocks; the sum ends on the last
/// rank. A call goes start(), test() as often as one likes, wait(). Uses the tags [first_tag, first_tag +
/// sections).
class TreeSum {
 public:
  TreeSum(Transport& transport, int sections, std::size_t capacity_values, int first_tag);

  /// Begins the sum of n values each; own_sections[i] is the vector of this rank's i-th section. The vectors
  /// must stay as they are until test() is true. The result of the call before is given up.
  void start(std::span<const float* const> own_sections, std::size_t n);
  /// True once this rank has done its part: added what it can and sent it on.
  bool test();
  /// The n sums on the last rank, null elsewhere; valid until the next start(). A single section's sum is its
  /// own vector.
  const float* wait(const WaitSubject& subject);
  /// Everything sent has left: to be waited for before the object is destroyed while the others go on.
  bool idle();

 private:
  /// Where a part of a sum is found: exactly one of these is set.
  struct Part {
    int section = -1;  ///< own section, counted from this rank's first
    int task = -1;     ///< sum of an earlier task
    int receive = -1;  ///< index in receives_
  };
  /// What this rank does for one node of the plan: left + right, or a single section to be passed on as it
  /// is.
  struct Task {
    Part left, right;
    bool only_left = false;
    int send = -1;                 // index in sends_ of where the sum goes, -1 = it stays here
    AlignedBuffer<float> sum;      // where it stays
    const float* value = nullptr;  // the sum of this call where it stays
  };
  void add_task(const SumNode& node, std::vector<int>& task_of_node, int first_own, int first_tag);
  void send_section(int section, int peer, int tag);
  int add_send(int peer, int tag);
  int add_receive(int peer, int tag);
  bool run(Task& task);
  const float* find(const Part& part);

  Transport& transport_;
  std::size_t capacity_;
  std::vector<SendChannel> sends_;
  std::vector<ReceiveChannel> receives_;
  std::vector<Task> tasks_;
  std::vector<const float*> own_;  // of this call
  std::size_t n_ = 0;
  std::size_t next_ = 0;  // task to do
};

}  // namespace stagformer::internal
