// Opening files read-only and reading attributes, whatever writer they come from; every failure names file
// and object.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/hdf5_handle.hpp"

namespace stagformer::internal {

struct ReadableFile {
  Handle file;
  Handle links;  ///< link access: how the files behind external links are opened
};

/// Opens an HDF5 file for reading. Missing, unreadable, foreign and truncated files each get a message of
/// their own. Where the file system has no locks the file, and those it links to, are opened without.
ReadableFile open_read_only(const std::string& path);

/// Name of the file that an object lies in, as HDF5 opened it.
std::string file_name_of(hid_t object);

// Attributes of an object; `where` names it in errors. Nothing where the attribute is absent.

/// Fixed- or variable-length, of any padding, scalar or one element.
std::optional<std::string> string_attribute(hid_t object, const char* name, const std::string& where);
std::optional<std::vector<std::int64_t>> integer_attribute(hid_t object, const char* name,
                                                           const std::string& where);
std::optional<std::uint64_t> checksum_attribute(hid_t object, const char* name, const std::string& where);

/// "float32", "big-endian float64", "int16", "string", ...: what a datatype is, for messages.
std::string describe_type(hid_t type);
/// Extents of a dataset; empty for a scalar.
std::vector<std::int64_t> extents_of(hid_t dataset, const std::string& where);

/// Follows a link; throws with the reason (dangling, missing file, loop) where it leads nowhere. `where`
/// names the link.
Handle open_object(hid_t group, const std::string& name, const Handle& links, const std::string& where);
/// Names of a group's links.
std::vector<std::string> link_names(hid_t group, const std::string& where);

}  // namespace stagformer::internal
