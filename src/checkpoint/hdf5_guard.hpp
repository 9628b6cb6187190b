// HDF5 libraries trust what a file says about itself: there are damaged files over which some versions crash,
// or never come to an end. Neither can be caught as an error, but the program can end with a line that names
// the file.
#pragma once

#include <ctime>
#include <string>

namespace stagformer::internal {

/// While one lives in a thread, a crash inside of the HDF5 library, or kMostSeconds of computing, ends the
/// process with an error line about `path` and the exit code of a bad checkpoint. Other crashes are what they
/// were before. At most one a thread.
class Hdf5Guard {
 public:
  /// Guards do nothing before this: only a program that owns its process may take signals and end it.
  static void enable();

  static constexpr int kMostSeconds = 5;  // of the thread's own time; an index takes milliseconds

  explicit Hdf5Guard(const std::string& path);
  ~Hdf5Guard();
  Hdf5Guard(const Hdf5Guard&) = delete;
  Hdf5Guard& operator=(const Hdf5Guard&) = delete;

 private:
  std::string crashed_, endless_;
  timer_t timer_{};
  bool has_timer_ = false;
};

}  // namespace stagformer::internal
