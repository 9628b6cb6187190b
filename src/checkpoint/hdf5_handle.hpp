// HDF5 identifiers that close themselves, and the library's error stack as text instead of output on stderr.
#pragma once

#include <hdf5.h>

#include <mutex>
#include <string>
#include <utility>

namespace stagformer::internal {

/// Held by every public function of this layer while it calls HDF5: the library is not thread-safe, and it
/// prints its errors unless told otherwise. May be nested.
class Hdf5Session {
 public:
  Hdf5Session();
  ~Hdf5Session();
  Hdf5Session(const Hdf5Session&) = delete;
  Hdf5Session& operator=(const Hdf5Session&) = delete;

 private:
  std::unique_lock<std::recursive_mutex> lock_;
  H5E_auto2_t printer_ = nullptr;  // what printed errors before
  void* printer_data_ = nullptr;
};

/// HDF5's error stack in one line, most specific first; empties the stack.
std::string take_hdf5_error();

/// Owns one identifier; negative = none.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);

  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() { reset(); }

  hid_t get() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }
  /// Closes now; false where HDF5 could not.
  bool reset() { return id_ < 0 || close_(std::exchange(id_, H5I_INVALID_HID)) >= 0; }

 private:
  hid_t id_ = H5I_INVALID_HID;
  Close close_ = nullptr;
};

/// Takes over an identifier that HDF5 returned; throws CheckpointError "WHERE: WHAT failed: HDF5's text" for
/// a bad one.
Handle checked(hid_t id, Handle::Close close, const std::string& where, const char* what);
/// The same for results that are counts or states.
template <typename Result>
Result checked(Result result, const std::string& where, const char* what);
[[noreturn]] void throw_hdf5_error(const std::string& where, const char* what);

template <typename Result>
Result checked(Result result, const std::string& where, const char* what) {
  if (result < 0) throw_hdf5_error(where, what);
  return result;
}

}  // namespace stagformer::internal
