#include "comm/tree_sum.hpp"

#include <cstring>

#include "base/check.hpp"

namespace stagformer::internal {
namespace {

constexpr int kSlots = 2;  // a rank may be so many calls ahead of the one that it sends to

void add(const float* left, const float* right, float* sum, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) sum[i] = left[i] + right[i];
}

}  // namespace

TreeSum::TreeSum(Transport& transport, int sections, std::size_t capacity_values, int first_tag)
    : transport_(transport), capacity_(capacity_values) {
  STAG_CHECK(capacity_values > 0, capacity_values);
  const std::vector<SumNode> plan = reduction_plan(sections, transport.size());
  const int own_sections = sections / transport.size();
  const int rank = transport.rank(), first_own = rank * own_sections;
  own_.resize(static_cast<std::size_t>(own_sections));
  // Sections that travel as they are wait for nothing: first.
  for (const SumNode& node : plan)
    if (node.left < 0 && node.left_owner == rank && node.owner != rank)
      send_section(node.lo - first_own, node.owner, first_tag + node.mid);
  std::vector<int> task_of_node(plan.size(), -1);
  for (std::size_t i = 0; i < plan.size(); ++i) {
    if (plan[i].owner != rank) continue;
    add_task(plan[i], task_of_node, first_own, first_tag);
    task_of_node[i] = static_cast<int>(tasks_.size()) - 1;
  }
  next_ = tasks_.size();
}

int TreeSum::add_send(int peer, int tag) {
  sends_.emplace_back(transport_, peer, tag, kSlots, capacity_ * sizeof(float));
  return static_cast<int>(sends_.size()) - 1;
}

int TreeSum::add_receive(int peer, int tag) {
  receives_.emplace_back(transport_, peer, tag, kSlots, capacity_ * sizeof(float));
  return static_cast<int>(receives_.size()) - 1;
}

void TreeSum::send_section(int section, int peer, int tag) {
  Task& task = tasks_.emplace_back();
  task.left.section = section;
  task.only_left = true;
  task.send = add_send(peer, tag);
}

void TreeSum::add_task(const SumNode& node, std::vector<int>& task_of_node, int first_own, int first_tag) {
  Task task;
  if (node.left_owner != node.owner)
    task.left.receive = add_receive(node.left_owner, first_tag + node.mid);
  else if (node.left < 0)
    task.left.section = node.lo - first_own;
  else
    task.left.task = task_of_node[static_cast<std::size_t>(node.left)];
  if (node.right < 0)
    task.right.section = node.hi - 1 - first_own;
  else
    task.right.task = task_of_node[static_cast<std::size_t>(node.right)];
  if (node.parent_owner >= 0 && node.parent_owner != node.owner)
    task.send = add_send(node.parent_owner, first_tag + node.parent_mid);
  else
    task.sum = AlignedBuffer<float>(capacity_);
  tasks_.push_back(std::move(task));
}

void TreeSum::start(std::span<const float* const> own_sections, std::size_t n) {
  STAG_CHECK(next_ == tasks_.size(), next_, tasks_.size());
  STAG_CHECK(own_sections.size() == own_.size() && n <= capacity_, own_sections.size(), own_.size(), n,
             capacity_);
  std::copy(own_sections.begin(), own_sections.end(), own_.begin());
  n_ = n;
  next_ = 0;
  test();
}

bool TreeSum::test() {
  while (next_ < tasks_.size()) {
    if (!run(tasks_[next_])) return false;
    ++next_;
  }
  return true;
}

// Null where the part has not arrived yet.
const float* TreeSum::find(const Part& part) {
  if (part.section >= 0) return own_[static_cast<std::size_t>(part.section)];
  if (part.task >= 0) return tasks_[static_cast<std::size_t>(part.task)].value;
  ReceiveChannel& receive = receives_[static_cast<std::size_t>(part.receive)];
  if (!receive.ready()) return nullptr;
  const std::span<const std::byte> message = receive.wait({.what = "a sum"});
  check_message_bytes(transport_, n_ * sizeof(float), message.size(), receive.peer());
  return reinterpret_cast<const float*>(message.data());
}

bool TreeSum::run(Task& task) {
  SendChannel* send = task.send >= 0 ? &sends_[static_cast<std::size_t>(task.send)] : nullptr;
  if (send != nullptr && !send->ready()) return false;
  const float* left = find(task.left);
  if (left == nullptr) return false;
  float* sum = send != nullptr ? reinterpret_cast<float*>(send->acquire().data()) : task.sum.data();
  if (task.only_left)
    std::memcpy(sum, left, n_ * sizeof(float));
  else
    add(left, find(task.right), sum, n_);
  if (task.left.receive >= 0) receives_[static_cast<std::size_t>(task.left.receive)].release();
  if (send != nullptr)
    send->post(n_ * sizeof(float));
  else
    task.value = sum;
  return true;
}

const float* TreeSum::wait(const WaitSubject& subject) {
  transport_.wait_until([this] { return test(); }, subject);
  if (transport_.rank() != transport_.size() - 1) return nullptr;
  return tasks_.empty() ? own_[0] : tasks_.back().value;
}

bool TreeSum::idle() {
  bool all = true;
  for (SendChannel& send : sends_) all = send.idle() && all;
  return all;
}

}  // namespace stagformer::internal
