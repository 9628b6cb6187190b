#include "checkpoint/inspect.hpp"

#include <iomanip>
#include <ostream>
#include <sstream>

#include "base/host_info.hpp"
#include "base/text_table.hpp"
#include "checkpoint/dataset_stream.hpp"
#include "checkpoint/sharing.hpp"

namespace stagformer::internal {
namespace {

/// Number of the section that a dataset belongs to, -1 for none.
int section_of(const std::string& name) {
  constexpr std::size_t kPrefix = 9;  // "sections/"
  return name.compare(0, kPrefix, "sections/") == 0 ? std::stoi(name.substr(kPrefix)) : -1;
}

SectionReport describe_section(const ModelConfig& config, int section) {
  SectionReport report;
  report.layers = config.sections.layers_per_section[section];
  report.start = config.starts_from_embedding(section) ? "embedding" : "chained";
  for (int layer = 0; layer < report.layers; ++layer)
    report.cross_attention += config.has_cross_attention(section, layer);
  return report;
}

/// Shared objects count once in the amounts, but for every section in what its rank reads.
void count_datasets(const CheckpointIndex& index, InspectReport& report) {
  const Sharing sharing = sharing_of(index);
  report.linked_datasets = sharing.linked_datasets;
  for (const std::string& name : sharing.stored) {
    const DatasetInfo& info = index.datasets.at(name);
    const int section = section_of(name);
    report.total.add(info);
    report.formats[name_of(info.format)].add(info);
    (section < 0 ? report.outside : report.sections[section].own).add(info);
    report.with_checksum += info.checksum.has_value();
  }
  for (const auto& [name, info] : index.datasets)
    if (const int section = section_of(name); section >= 0) report.sections[section].bytes += info.bytes;
}

void verify_datasets(const CheckpointIndex& index) {
  TensorReader reader(index, true);
  reader.check_files();
  for (const std::string& name : sharing_of(index).stored)
    stream_dataset(index, reader, name, [](const RowSlice&) {});
}

std::string number(std::int64_t value) {
  return std::to_string(value);
}

void print_line(std::ostream& out, const char* key, const std::string& value) {
  if (!value.empty()) out << std::left << std::setw(18) << key << value << '\n';
}

std::string hidden_sizes(const ModelConfig& c) {
  std::ostringstream text;
  text << "vocabulary " << c.vocab_size << ", width " << c.hidden_size << ", feed-forward "
       << c.intermediate_size << ", heads " << c.num_attention_heads << "/" << c.num_key_value_heads << " of "
       << c.head_dim << ", context " << c.max_position_embeddings
       << (c.tie_word_embeddings ? ", tied head" : ", own head");
  return text.str();
}

std::string sections_summary(const ModelConfig& c) {
  const CrossAttentionConfig& x = c.sections.cross_attention;
  std::ostringstream text;
  text << c.sections.count << (c.sections.weights == SectionWeights::shared ? " sharing weights" : "")
       << ", read-out " << (c.sections.readout == Readout::last ? "last" : "linear_combination");
  bool memory = false;
  for (int s = 0; s < c.sections.count; ++s) memory = memory || c.has_memory(s);
  if (memory)
    text << ", cross-attention window " << (x.window ? number(*x.window) : "unbounded") << ", lag " << x.lag;
  return text.str();
}

std::string tokenizer_summary(const InspectReport& report) {
  if (report.tokenizer_type.empty()) return "none";
  const std::string chat = report.has_chat_template ? ", with a chat template" : "";
  if (report.tokenizer_bytes == 0) return report.tokenizer_type + chat;
  return report.tokenizer_type + ", " + format_bytes(report.tokenizer_bytes) + chat;
}

void print_head(const InspectReport& r, std::ostream& out) {
  print_line(out, "checkpoint", r.path);
  print_line(out, "format version", number(r.format_version));
  print_line(out, "written by", r.writer);
  print_line(out, "created", r.created);
  print_line(out, "source", r.source);
  print_line(out, "model", hidden_sizes(r.config));
  print_line(out, "sections", sections_summary(r.config));
  const std::string refusal = r.config.recurrent_refusal();
  print_line(out, "recurrent decode", refusal.empty() ? "possible" : "no: " + refusal);
  const std::string no_drafts = r.config.draft_refusal();
  print_line(out, "drafts", no_drafts.empty() ? "possible" : "no: " + no_drafts);
  print_line(out, "tokenizer", tokenizer_summary(r));
  print_line(out, "parameters", number(r.total.parameters));
  print_line(out, "stored",
             format_bytes(r.total.bytes) + " in " + number(r.total.datasets) + " datasets, " +
                 number(r.linked_datasets) + " further names (links)");
  print_line(out, "checksums", number(r.with_checksum) + " of " + number(r.total.datasets) + " datasets");
  std::ostringstream digest;
  digest << std::hex << std::setw(16) << std::setfill('0') << r.digest;
  print_line(out, "digest", digest.str());
  print_line(out, "verified",
             r.verified ? "every checksum, shape and value" : "shapes only (not the values)");
}

void print_table(std::ostream& out, const TextTable& table) {
  out << '\n';
  for (const std::string& line : table.lines()) out << line << '\n';
}

void print_formats(const InspectReport& r, std::ostream& out) {
  TextTable table({"number format", "datasets", "parameters", "size"});
  for (const auto& [name, amount] : r.formats)
    table.add({name, number(amount.datasets), number(amount.parameters), format_bytes(amount.bytes)});
  print_table(out, table);
}

void print_sections(const InspectReport& r, std::ostream& out) {
  TextTable table(
      {"part", "layers", "starts from", "cross-attention", "parameters", "stored", "read by a rank"});
  for (std::size_t s = 0; s < r.sections.size(); ++s) {
    const SectionReport& section = r.sections[s];
    table.add({"section " + number(static_cast<std::int64_t>(s)), number(section.layers), section.start,
               number(section.cross_attention), number(section.own.parameters),
               format_bytes(section.own.bytes), format_bytes(section.bytes)});
  }
  table.add(
      {"embedding, head", "-", "-", "-", number(r.outside.parameters), format_bytes(r.outside.bytes), "-"});
  print_table(out, table);
}

void print_files(const InspectReport& r, std::ostream& out) {
  TextTable table({"file", "size"});
  for (const FileInfo& file : r.files) table.add({file.name, format_bytes(file.bytes)});
  print_table(out, table);
}

}  // namespace

void StoredAmount::add(const DatasetInfo& info) {
  ++datasets;
  parameters += info.rows() * info.columns();
  bytes += info.bytes;
}

InspectReport inspect_checkpoint(const std::string& path, bool verify) {
  const CheckpointIndex index = read_checkpoint_index(path);
  InspectReport report;
  report.path = path;
  report.format_version = index.format_version;
  report.writer = index.writer;
  report.created = index.created;
  report.source = index.source;
  report.config = index.config;
  report.digest = index.digest();
  for (int s = 0; s < index.config.sections.count; ++s)
    report.sections.push_back(describe_section(index.config, s));
  count_datasets(index, report);
  report.tokenizer_type = index.tokenizer_type;
  report.tokenizer_bytes = static_cast<std::int64_t>(index.tokenizer_model.size());
  report.has_chat_template = !index.chat.chat_template.empty();
  report.files = index.files;
  report.warnings = index.warnings;
  if (verify) verify_datasets(index);
  report.verified = verify;
  return report;
}

void InspectReport::print(std::ostream& out) const {
  print_head(*this, out);
  print_formats(*this, out);
  print_sections(*this, out);
  print_files(*this, out);
}

}  // namespace stagformer::internal
