#include "cli/bench_output.hpp"

#include <algorithm>

#include "base/markdown_table.hpp"
#include "base/text_table.hpp"

namespace stagformer::internal {
namespace {

using Record = BenchOutput::Record;

/// Names and values of all that is no list, nested names joined by dots.
void flatten(const Record& value, const std::string& name, std::vector<std::pair<std::string, Record>>& out) {
  if (value.is_array()) return;
  if (!value.is_object()) return out.emplace_back(name, value), void();
  for (const auto& [key, inner] : value.items()) flatten(inner, name.empty() ? key : name + "." + key, out);
}

std::string csv_field(const Record& value) {
  if (!value.is_string()) return value.is_null() ? "" : value.dump();
  const auto text = value.get<std::string>();
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string csv_lines(const Record& record, bool with_header) {
  std::vector<std::pair<std::string, Record>> fields;
  flatten(record, "", fields);
  std::string header, line;
  for (const auto& [name, value] : fields) {
    header += (header.empty() ? "" : ",") + name;
    line += (&value == &fields.front().second ? "" : ",") + csv_field(value);
  }
  return (with_header ? header + "\n" : "") + line + "\n";
}

std::string dump(const Record& record, int indent) {
  return record.dump(indent, ' ', false, Record::error_handler_t::replace);
}

/// Three to four significant digits.
std::string figure(double value) {
  return fixed(value, value < 10 ? 2 : value < 1000 ? 1 : 0);
}

std::string percent(double share) {
  return fixed(100 * share, 1);
}

struct Parameter {
  const char* key;
  const char* title;
  bool decode_only, prefill_only;
};
constexpr Parameter kParameters[] = {
    {"weights", "weights", false, false},     {"threads", "threads", false, false},
    {"schedule", "schedule", false, false},   {"head", "head", false, false},
    {"batch", "batch", false, false},         {"groups", "groups", true, false},
    {"prompt_tokens", "prompt", false, true}, {"depth", "depth", true, false},
    {"decode_tokens", "steps", true, false}};

std::string value_text(const Record& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// The parameters that differ between the points become columns, the others are said once.
class Report {
 public:
  explicit Report(const std::vector<Record>& records) : records_(records) {}

  std::string text() const {
    return heading() + "\nDecode: " + said_once(true) + "\n\n" + decode() + "\nPrefill: " + said_once(false) +
           "\n\n" + prefill() + "\nWhere a decode step goes, microseconds:\n\n" + breakdown();
  }

 private:
  bool varies(const Parameter& p) const {
    return std::ranges::any_of(records_, [&](const Record& r) { return r[p.key] != records_[0][p.key]; });
  }
  static bool fits(const Parameter& p, bool decode) { return decode ? !p.prefill_only : !p.decode_only; }

  std::string said_once(bool decode) const {
    std::string text;
    for (const Parameter& p : kParameters)
      if (fits(p, decode) && !varies(p))
        text += (text.empty() ? "" : ", ") + std::string(p.title) + " " + value_text(records_[0][p.key]);
    return text + ", " + value_text(records_[0]["repetitions"]) + " repetitions";
  }

  std::vector<std::string> row(const Record* record, bool decode,
                               const std::vector<std::string>& rest) const {
    std::vector<std::string> cells;
    for (const Parameter& p : kParameters)
      if (fits(p, decode) && varies(p)) cells.push_back(record ? value_text((*record)[p.key]) : p.title);
    cells.insert(cells.end(), rest.begin(), rest.end());
    return cells;
  }

  std::string heading() const {
    const Record &r = records_[0], &m = r["model"], &p = r["provenance"];
    std::string hosts;
    for (const Record& rank : r["per_rank"])
      if (const auto host = rank["host"].get<std::string>(); hosts.find(host) == std::string::npos)
        hosts += (hosts.empty() ? "" : ", ") + host;
    return value_text(m["file"]) + ": " + fixed(m["parameters"].get<double>() / 1e6, 1) + " M parameters, " +
           value_text(m["sections"]) + " section(s) of " + value_text(m["layers"]) + " layers, d " +
           value_text(m["hidden_size"]) + ", f " + value_text(m["intermediate_size"]) + ", vocabulary " +
           value_text(m["vocab_size"]) + "\n" + value_text(r["ranks"]) + " rank(s), " +
           value_text(r["replicas"]) + " replica(s) on " + hosts + ": " + value_text(p["cpu"]) + ", " +
           value_text(p["kernels"]) + "; stagformer " + value_text(p["version"]) + " (" +
           value_text(p["commit"]) + ")\n" + emulation();
  }

  std::string emulation() const {
    const std::string machine = value_text(records_[0]["emulated"]);
    if (machine.empty()) return "";
    return "EMULATED: ranks sleep as long as machine '" + machine +
           "' would compute; messages are real. Tokens mean nothing.\n";
  }

  /// How near the step is to the longest rank's own work says something only where ranks work together.
  std::string decode() const {
    const bool together = records_[0]["ranks"] != records_[0]["replicas"];
    std::vector<std::string> head = {"tokens/s", "min",         "max", "ms/step",    "MB/step",
                                     "GB/s",     "stream GB/s", "%",   "outside us", "%"};
    if (together) head.insert(head.end(), {"longest us", "efficiency %"});
    MarkdownTable table(row(nullptr, true, head));
    for (const Record& record : records_) {
      const Record &d = record["decode"], &speed = d["tokens_per_s"];
      const double bytes = d["weight_bytes"].get<double>() + d["cache_bytes"].get<double>();
      std::vector<std::string> cells = {figure(speed["median"]),
                                        figure(speed["min"]),
                                        figure(speed["max"]),
                                        fixed(d["step_ms"], 3),
                                        figure(bytes / 1e6),
                                        figure(d["gb_per_s"]),
                                        figure(d["stream_gb_per_s"]),
                                        percent(d["share_of_stream"]),
                                        figure(d["outside_compute_us"]),
                                        percent(d["outside_compute_share"])};
      if (together) cells.insert(cells.end(), {figure(d["longest_compute_us"]), percent(d["efficiency"])});
      table.add(row(&record, true, cells));
    }
    return table.text();
  }

  std::string prefill() const {
    MarkdownTable table(row(nullptr, false, {"tokens/s", "min", "max", "GFLOP/s", "peak GFLOP/s", "%"}));
    for (const Record& record : records_) {
      const Record &p = record["prefill"], &speed = p["tokens_per_s"];
      table.add(row(&record, false,
                    {figure(speed["median"]), figure(speed["min"]), figure(speed["max"]),
                     figure(p["gflop_per_s"]), figure(p["peak_gflop_per_s"]), percent(p["share_of_peak"])}));
    }
    return table.text();
  }

  std::string breakdown() const {
    MarkdownTable table(
        row(nullptr, true,
            {"rank", "sections", "self-att", "cross-att", "memory", "feed-fwd", "head", "choice", "embed",
             "wait mem", "wait in", "wait z", "wait cand", "wait send", "other", "all"}));
    for (const Record& record : records_)
      for (const Record& rank : record["per_rank"]) {
        std::vector<std::string> cells = {value_text(rank["rank"]), value_text(rank["sections"])};
        for (const char* phase :
             {"self_attention", "cross_attention", "memory_projection", "feed_forward", "head", "sampling",
              "embedding", "wait_memory", "wait_input", "wait_z", "wait_candidates", "wait_send", "other"})
          cells.push_back(figure(rank["step_phases_us"][phase]));
        cells.push_back(figure(rank["step_us"]));
        table.add(row(&record, true, cells));
      }
    table.drop_columns_of("0.00");
    return table.text();
  }

  const std::vector<Record>& records_;
};

}  // namespace

std::string BenchOutput::add(const Record& record) {
  records_.push_back(record);
  if (format_ == "jsonl") return dump(record, -1) + "\n";
  return format_ == "csv" ? csv_lines(record, records_.size() == 1) : "";
}

std::string BenchOutput::finish() const {
  if (format_ == "json") return dump(records_, 2) + "\n";
  return format_ == "md" ? Report(records_).text() : "";
}

}  // namespace stagformer::internal
