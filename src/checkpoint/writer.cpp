#include "checkpoint/writer.hpp"

#include <xxhash.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "base/check.hpp"
#include "checkpoint/output_file.hpp"
#include "checkpoint/schema.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kFormatVersion = 1;

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

/// Where an object of a checkpoint lies: in which file, and under which path there.
struct Place {
  std::size_t file = 0;
  std::string path;
};

}  // namespace

/// "model.h5" has the sections "model.section-0.h5", ...; any extension but HDF5's own counts as a part of
/// the name.
std::vector<std::string> checkpoint_files(const std::string& path, int sections, bool split) {
  std::vector<std::string> files = {path};
  const std::filesystem::path root(path);
  const bool known = root.extension() == ".h5" || root.extension() == ".hdf5";
  const std::string name = known ? root.stem().string() : root.filename().string();
  for (int s = 0; split && s < sections; ++s)
    files.push_back((root.parent_path() / (name + ".section-" + std::to_string(s) + ".h5")).string());
  return files;
}

/// Everything that needs HDF5 lives here, so that the header is free of it.
struct CheckpointWriter::State {
  State(const std::string& path, const std::string& json, const WriterOptions& options);

  OutputFile& open_file(std::size_t file);
  Place place_of(const std::string& name) const;
  void write_root_attributes(const std::string& json);
  void check_complete() const;
  bool is_linked(const std::string& name) const;

  ModelConfig config;
  WriterOptions options;
  std::map<std::string, DatasetRequest> schema;
  std::vector<std::string> paths;
  std::vector<std::unique_ptr<OutputFile>> files;  // made when first needed; the root's stays open
  std::size_t open_section = 0;                    // index of the one section file that is open, 0 = none
  std::set<std::string> written, linked;

  /// The dataset between begin() and end().
  struct Current {
    std::string name;
    Place place;
    std::int64_t offset = 0, bytes = 0, done = 0;
  };
  std::optional<Current> current;
  struct FreeHash {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, FreeHash> hash{XXH3_createState()};
};

CheckpointWriter::State::State(const std::string& path, const std::string& json, const WriterOptions& opts)
    : config(ModelConfig::from_json(json)), options(opts) {
  STAG_CHECK(options.alignment >= 1, options.alignment);
  for (DatasetRequest& request : schema_of(config)) schema.emplace(request.name, request);
  paths = checkpoint_files(path, config.sections.count, options.split);
  for (const std::string& each : paths)
    if (std::filesystem::is_directory(each)) throw InputError(each + ": cannot be written: is a directory");
  files.resize(paths.size());
  write_root_attributes(json);
}

void CheckpointWriter::State::write_root_attributes(const std::string& json) {
  OutputFile& root = open_file(0);
  root.set_string("/", "format", "stagformer");
  root.set_integers("/", "format_version", {kFormatVersion});
  root.set_string("/", "config", json);
  root.set_string("/", "writer", options.writer.empty() ? "stagformer " STAGFORMER_VERSION : options.writer);
  root.set_string("/", "created", options.created.empty() ? utc_now() : options.created);
  root.set_string("/", "source", options.source);
  for (std::size_t i = 1; i < paths.size(); ++i)
    root.link_to_file("/sections/" + std::to_string(i - 1),
                      std::filesystem::path(paths[i]).filename().string(), "/");
}

/// At most the root and one section file are open at a time.
OutputFile& CheckpointWriter::State::open_file(std::size_t file) {
  if (file != 0 && open_section != 0 && open_section != file) files[open_section]->suspend();
  if (file != 0) open_section = file;
  if (!files[file]) files[file] = std::make_unique<OutputFile>(paths[file], options.alignment);
  return *files[file];
}

/// In split files a section's own file holds what stands below sections/S, at its root.
Place CheckpointWriter::State::place_of(const std::string& name) const {
  const std::string prefix = "sections/";
  if (!options.split || name.compare(0, prefix.size(), prefix) != 0) return {0, "/" + name};
  std::size_t end = 0;
  const int section = std::stoi(name.substr(prefix.size()), &end);
  return {static_cast<std::size_t>(section) + 1, name.substr(prefix.size() + end)};
}

/// The name itself or a group above it is a link.
bool CheckpointWriter::State::is_linked(const std::string& name) const {
  for (std::size_t end = name.find('/'); end != std::string::npos; end = name.find('/', end + 1))
    if (linked.count(name.substr(0, end))) return true;
  return linked.count(name) > 0;
}

void CheckpointWriter::State::check_complete() const {
  for (const auto& [name, request] : schema)
    if (!request.optional && !written.count(name) && !is_linked(name))
      throw CheckpointError(paths.front(), name, "is missing: it was never given to the writer");
}

CheckpointWriter::CheckpointWriter(const std::string& path, const std::string& config_json,
                                   const WriterOptions& options) {
  const Hdf5Session session;
  state_ = std::make_unique<State>(path, config_json, options);
}

CheckpointWriter::~CheckpointWriter() {
  const Hdf5Session session;
  state_.reset();
}

void CheckpointWriter::set_tokenizer(const std::string& type, std::span<const std::byte> model) {
  const Hdf5Session session;
  OutputFile& root = state_->open_file(0);
  root.create_group("/tokenizer");
  root.set_string("/tokenizer", "type", type);
  if (model.empty()) return;
  // Any block format's storage type will do: bytes.
  const std::int64_t offset =
      root.create_dataset("/tokenizer/model", NumberFormat::q8_0, {static_cast<std::int64_t>(model.size())});
  root.write_at(offset, model);
  root.set_checksum("/tokenizer/model", XXH3_64bits(model.data(), model.size()));
}

void CheckpointWriter::set_chat(const ChatText& chat) {
  const Hdf5Session session;
  OutputFile& root = state_->open_file(0);
  const auto set = [&](const char* name, const std::string& text) {
    if (!text.empty()) root.set_string("/tokenizer", name, text);
  };
  set("chat_template", chat.chat_template);
  set("bos_token", chat.bos_token);
  set("eos_token", chat.eos_token);
}

void CheckpointWriter::write(const std::string& name, NumberFormat format,
                             std::span<const std::byte> stored) {
  begin(name, format);
  append(stored);
  end();
}

void CheckpointWriter::begin(const std::string& name, NumberFormat format) {
  const Hdf5Session session;
  const auto request = state_->schema.find(name);
  STAG_CHECK(request != state_->schema.end(), "not in the schema:", name);
  STAG_CHECK(!request->second.f32_only || format == NumberFormat::f32, name, name_of(format));
  STAG_CHECK(!state_->current && !state_->written.count(name), name);
  std::vector<std::int64_t> shape = request->second.shape;
  shape.back() = is_block_format(format) ? stored_row_bytes(format, shape.back()) : shape.back();
  State::Current current{name, state_->place_of(name)};
  OutputFile& file = state_->open_file(current.place.file);
  current.offset = file.create_dataset(current.place.path, format, shape);
  current.bytes = stored_row_bytes(format, request->second.shape.back()) *
                  (shape.size() > 1 ? shape.front() : std::int64_t{1});
  file.set_string(current.place.path, "number_format", name_of(format));
  if (is_block_format(format)) file.set_integers(current.place.path, "shape", request->second.shape);
  XXH3_64bits_reset(state_->hash.get());
  state_->current = std::move(current);
}

void CheckpointWriter::append(std::span<const std::byte> stored) {
  STAG_CHECK(state_->current.has_value());
  State::Current& current = *state_->current;
  const auto size = static_cast<std::int64_t>(stored.size());
  STAG_CHECK(size <= current.bytes - current.done, current.name, current.done, size, current.bytes);
  state_->open_file(current.place.file).write_at(current.offset + current.done, stored);
  XXH3_64bits_update(state_->hash.get(), stored.data(), stored.size());
  current.done += size;
}

void CheckpointWriter::end() {
  const Hdf5Session session;
  STAG_CHECK(state_->current.has_value());
  const State::Current& current = *state_->current;
  STAG_CHECK(current.done == current.bytes, current.name, current.done, current.bytes);
  state_->open_file(current.place.file)
      .set_checksum(current.place.path, XXH3_64bits_digest(state_->hash.get()));
  state_->written.insert(current.name);
  state_->current.reset();
}

void CheckpointWriter::alias(const std::string& name, const std::string& target) {
  const Hdf5Session session;
  const Place from = state_->place_of(name), to = state_->place_of(target);
  OutputFile& file = state_->open_file(from.file);
  if (from.file == to.file)
    file.link_here(from.path, to.path);
  else
    file.link_to_file(from.path, std::filesystem::path(state_->paths[to.file]).filename().string(), to.path);
  state_->linked.insert(name);
}

void CheckpointWriter::finish() {
  const Hdf5Session session;
  STAG_CHECK(!state_->current);
  state_->check_complete();
  for (std::size_t i = 0; i < state_->files.size(); ++i) {
    state_->open_file(i);  // a section that consists of nothing but links elsewhere has its file already
    state_->files[i]->complete();
  }
  try {
    // The root last: a reader finds either the whole checkpoint or none.
    for (std::size_t i = state_->files.size(); i-- > 0;) state_->files[i]->publish();
  } catch (...) {
    for (const auto& file : state_->files) file->withdraw();
    throw;
  }
}

}  // namespace stagformer::internal
