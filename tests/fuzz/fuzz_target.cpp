// libFuzzer's entry; STAGFORMER_FUZZ_READER names the reader.
#include <cstdint>

#include "checkpoint/hdf5_guard.hpp"
#include "fuzz/readers.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  stagformer::internal::Hdf5Guard::enable();
  static const stagformer::fuzz::Reader& reader = stagformer::fuzz::reader_named(STAGFORMER_FUZZ_READER);
  (void)reader.refusal(std::as_bytes(std::span(data, size)));
  return 0;
}
