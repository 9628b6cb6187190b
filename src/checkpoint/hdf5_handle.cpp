#include "checkpoint/hdf5_handle.hpp"

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

std::recursive_mutex& library_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

/// Deeper layers often repeat what the one below them said; each text is taken once.
herr_t append_description(unsigned, const H5E_error2_t* error, void* text) {
  std::string& out = *static_cast<std::string*>(text);
  if (error->desc && *error->desc && out.find(error->desc) == std::string::npos)
    out += (out.empty() ? "" : "; ") + std::string(error->desc);
  return 0;
}

}  // namespace

Hdf5Session::Hdf5Session() : lock_(library_mutex()) {
  // A damaged file can leave identifiers open inside HDF5, which it would complain about at exit. All of ours
  // are closed by then.
  H5dont_atexit();
  H5open();
  H5Eget_auto2(H5E_DEFAULT, &printer_, &printer_data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Hdf5Session::~Hdf5Session() {
  H5Eclear2(H5E_DEFAULT);
  H5Eset_auto2(H5E_DEFAULT, printer_, printer_data_);
}

std::string take_hdf5_error() {
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, append_description, &text);
  H5Eclear2(H5E_DEFAULT);
  for (char& c : text)
    if (c == '\n' || c == '\r') c = ' ';
  return text.empty() ? "no reason given" : text;
}

void throw_hdf5_error(const std::string& where, const char* what) {
  throw CheckpointError(where + ": " + what + " failed: HDF5: " + take_hdf5_error());
}

Handle checked(hid_t id, Handle::Close close, const std::string& where, const char* what) {
  if (id < 0) throw_hdf5_error(where, what);
  return {id, close};
}

}  // namespace stagformer::internal
