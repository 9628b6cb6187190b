// A network switch in user space whose cables are long: every Ethernet frame arrives a given time after it
// was sent. For kernels without the netem queueing discipline.
//
//   stagformer-delay-switch DELAY_US MBIT PORT...      needs CAP_NET_ADMIN and /dev/net/tun
//
// Makes a TAP device of each name in the present network namespace, prints "ready" and runs until SIGTERM or
// SIGINT; whoever started it moves the devices into the namespaces of hosts. MBIT (0: no limit) is what a
// host can send in a second. At its end it prints how many frames came and how many it had no room for.
//
// A cable keeps what it carries in the order in which it came, and at most kCableBytes of it. Frames are
// exchanged with their offload header (virtio-net), so that one of them may be 64 KiB that no one cuts up or
// checksums on the way: that is what lets one thread keep up.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Bytes = std::span<const std::byte>;
using Address = std::array<std::byte, 6>;

constexpr std::size_t kHeaderBytes = 10;  // virtio_net_hdr, TUN's default
constexpr std::size_t kLargestFrame = kHeaderBytes + 14 + 65536;
constexpr std::size_t kWireBytes = 24;       // a frame's preamble, checksum and gap
constexpr std::size_t kSegmentBytes = 1514;  // what a frame of 64 KiB would be cut into
constexpr std::size_t kCableBytes = std::size_t{64} << 20;
constexpr int kFramesATurn = 64;  // from one port, before the others get theirs

volatile std::sig_atomic_t stop_asked = 0;

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

Address address_at(Bytes frame, std::size_t place) {
  Address address;
  std::memcpy(address.data(), frame.data() + kHeaderBytes + place, address.size());
  return address;
}

/// A TAP device: the plug of one host.
class Tap {
 public:
  explicit Tap(const std::string& name) : fd_(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)) {
    if (fd_ < 0) fail("/dev/net/tun");
    ifreq request{};
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    if (ioctl(fd_, TUNSETIFF, &request) < 0) fail(name);
    if (ioctl(fd_, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0) fail(name + ": offload");
  }
  Tap(Tap&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Tap& operator=(Tap&&) = delete;
  ~Tap() {
    if (fd_ >= 0) close(fd_);
  }

  int fd() const { return fd_; }
  /// Empty where nothing has come. Valid until the next call on any Tap.
  Bytes receive() const {
    static std::array<std::byte, kLargestFrame> buffer;
    const ssize_t count = read(fd_, buffer.data(), buffer.size());
    return {buffer.data(),
            count < static_cast<ssize_t>(kHeaderBytes + 14) ? 0 : static_cast<std::size_t>(count)};
  }
  /// A host that is down, or takes nothing in, loses the frame: nobody is told.
  void send(Bytes frame) const { (void)!write(fd_, frame.data(), frame.size()); }

 private:
  int fd_;
};

struct Frame {
  Time due;
  std::vector<std::byte> bytes;
};

/// A host's end of the switch and the cable that brings what it sends.
struct Port {
  Tap tap;
  std::optional<Address> address{};  // once it has sent something
  std::deque<Frame> cable{};
  std::size_t cable_bytes = 0;
  Time free_at{};  // when the last frame has left the host, at the given rate
};

class Switch {
 public:
  Switch(std::chrono::nanoseconds delay, double mbit, const std::vector<std::string>& names)
      : delay_(delay), ns_per_byte_(mbit > 0 ? 8e3 / mbit : 0) {
    for (const std::string& name : names) ports_.push_back({Tap(name)});
    for (const Port& port : ports_) polled_.push_back({port.tap.fd(), POLLIN, 0});
  }

  void run(const sigset_t& while_waiting) {
    while (!stop_asked) {
      wait_until(deliver_due(), while_waiting);
      for (std::size_t p = 0; p < ports_.size(); ++p)
        if (polled_[p].revents & POLLIN) take_in(ports_[p]);
    }
  }

  void print_counts() const { std::printf("frames %zu, dropped %zu\n", frames_, dropped_); }

 private:
  void take_in(Port& from) {
    for (int i = 0; i < kFramesATurn; ++i) {
      const Bytes frame = from.tap.receive();
      if (frame.empty()) return;
      ++frames_;
      from.address = address_at(frame, 6);
      const Time due = leaves_host(from, frame.size()) + delay_;
      if (from.cable_bytes + frame.size() > kCableBytes) {
        ++dropped_;
        continue;
      }
      from.cable.push_back({due, {frame.begin(), frame.end()}});
      from.cable_bytes += frame.size();
    }
  }

  /// When the last bit of a frame is on the cable.
  Time leaves_host(Port& from, std::size_t frame_bytes) const {
    const std::size_t data = frame_bytes - kHeaderBytes;
    const std::size_t segments = (data + kSegmentBytes - 1) / kSegmentBytes;
    const auto bytes = static_cast<double>(data + segments * kWireBytes);
    from.free_at = std::max(from.free_at, Clock::now()) +
                   std::chrono::nanoseconds(static_cast<std::int64_t>(bytes * ns_per_byte_));
    return from.free_at;
  }

  /// Returns when the next frame is due.
  Time deliver_due() {
    Time next = Time::max();
    for (Port& from : ports_) {
      while (!from.cable.empty() && from.cable.front().due <= Clock::now()) {
        const Bytes frame = from.cable.front().bytes;
        hand_on(from, frame);
        from.cable_bytes -= frame.size();
        from.cable.pop_front();
      }
      if (!from.cable.empty()) next = std::min(next, from.cable.front().due);
    }
    return next;
  }

  /// To the host with the frame's address; to all others where that is not known, or means all.
  void hand_on(const Port& from, Bytes frame) const {
    const Address wanted = address_at(frame, 0);
    const auto is_it = [&](const Port& port) { return port.address == wanted; };
    if (const auto found = std::ranges::find_if(ports_, is_it); found != ports_.end()) {
      found->tap.send(frame);
      return;
    }
    for (const Port& other : ports_)
      if (&other != &from) other.tap.send(frame);
  }

  void wait_until(Time next, const sigset_t& while_waiting) {
    const auto left = std::max(next - Clock::now(), std::chrono::nanoseconds(0));
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
    const timespec limit{seconds.count(), (left - seconds).count()};
    if (ppoll(polled_.data(), polled_.size(), next == Time::max() ? nullptr : &limit, &while_waiting) >= 0)
      return;
    if (errno != EINTR) fail("ppoll");
    for (pollfd& one : polled_) one.revents = 0;
  }

  std::chrono::nanoseconds delay_;
  double ns_per_byte_;
  std::vector<Port> ports_;
  std::vector<pollfd> polled_;
  std::size_t frames_ = 0, dropped_ = 0;
};

/// Frames must not wait for programs that poll: real-time where that is allowed, and timers to the
/// microsecond.
void be_punctual() {
  const sched_param priority{1};
  (void)sched_setscheduler(0, SCHED_FIFO, &priority);
  prctl(PR_SET_TIMERSLACK, 1);
}

/// Signals arrive while the switch waits and at no other time. Returns the mask to wait with.
sigset_t catch_signals() {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  for (const int number : {SIGTERM, SIGINT}) {
    sigaddset(&blocked, number);
    std::signal(number, [](int) { stop_asked = 1; });
  }
  sigprocmask(SIG_BLOCK, &blocked, &before);
  return before;
}

double number(const char* text, double most) {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= 0 && value <= most))
    throw std::runtime_error("expected a number from 0 to " + std::to_string(most) + ", found '" + text +
                             "'");
  return value;
}

int run(const std::vector<char*>& words) {
  if (words.size() < 4) throw std::runtime_error("usage: stagformer-delay-switch DELAY_US MBIT PORT...");
  const std::chrono::nanoseconds delay(static_cast<std::int64_t>(1e3 * number(words[1], 10e6)));
  const sigset_t while_waiting = catch_signals();
  Switch hub(delay, number(words[2], 1e6), {words.begin() + 3, words.end()});
  be_punctual();
  std::puts("ready");
  std::fflush(stdout);
  hub.run(while_waiting);
  hub.print_counts();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "delay-switch: error: %s\n", error.what());
    return 1;
  }
}
