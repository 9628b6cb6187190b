// One HDF5 file being written under a temporary name. Groups, attributes and the place of datasets are
// HDF5's; the bytes of datasets go around it by pwrite, so that a full disk is met at once and with the
// system's own reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/hdf5_handle.hpp"
#include "stagformer/number_format.hpp"

namespace stagformer::internal {

class OutputFile {
 public:
  /// Creates the temporary file; it is closed again by suspend() and opened where needed.
  OutputFile(const std::string& path, std::int64_t alignment);
  /// Removes what was not published.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::string& path() const { return path_; }

  void set_string(const std::string& object, const char* name, const std::string& value);
  void set_integers(const std::string& object, const char* name, const std::vector<std::int64_t>& values);
  void set_checksum(const std::string& object, std::uint64_t value);
  void create_group(const std::string& object);

  /// Contiguous and allocated; gives the offset of its first byte. `shape` as stored.
  std::int64_t create_dataset(const std::string& object, NumberFormat format,
                              const std::vector<std::int64_t>& shape);
  void write_at(std::int64_t offset, std::span<const std::byte> bytes);

  void link_here(const std::string& object, const std::string& target);
  void link_to_file(const std::string& object, const std::string& file, const std::string& target);

  /// Closes for a while: a checkpoint may have more files than a process may hold open.
  void suspend();
  /// Everything is on disk afterwards, still under the temporary name.
  void complete();
  /// Takes the final name.
  void publish();
  /// Takes the final name back after a failure elsewhere.
  void withdraw();

 private:
  void create(std::int64_t alignment);
  void discard();
  hid_t file();
  Handle open_object(const std::string& object);
  [[noreturn]] void fail(const std::string& what, int error) const;
  Handle take(hid_t id, Handle::Close close, const char* what) const;
  void require(herr_t status, const char* what) const;

  std::string path_, temporary_;
  Handle access_, intermediate_;  // property lists: file access, links with missing groups
  Handle file_;
  int fd_ = -1;
  bool published_ = false;
};

}  // namespace stagformer::internal
