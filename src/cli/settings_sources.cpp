#include "cli/settings_sources.hpp"

#include <charconv>
#include <cstdlib>
#include <set>
#include <sstream>
#include <type_traits>

#include "cli/files.hpp"
#include "cli/json_text.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

std::string range_text(std::int64_t least, std::int64_t most) {
  if (most == kAnyInteger) return "at least " + std::to_string(least);
  return "from " + std::to_string(least) + " to " + std::to_string(most);
}

std::string range_text(double least, double most) {
  std::ostringstream text;
  text << "from " << least << " to " << most;
  return text.str();
}

std::string joined(const SettingsVisitor::Choices& choices, const char* separator) {
  std::string text;
  for (const char* choice : choices) text += (text.empty() ? "" : separator) + std::string(choice);
  return text;
}

template <typename Number>
std::optional<Number> number_in(const std::string& text) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end) return std::nullopt;
  return value;
}

/// Checks a flag's text, and writes whole numbers anew: the parser would take 010 for octal and cut off what
/// is too large. Says nothing in the help, where the ranges would drown the meaning.
template <typename Number>
CLI::Validator in_range(Number least, Number most) {
  return CLI::Validator(
      [=](std::string& text) {
        const std::optional<Number> value = number_in<Number>(text);
        if (!value) return "'" + text + "' is no number";
        if (!(*value >= least && *value <= most)) return "'" + text + "' is not " + range_text(least, most);
        if constexpr (std::is_integral_v<Number>) text = std::to_string(*value);
        return std::string();
      },
      "");
}

CLI::Validator one_of(const SettingsVisitor::Choices& choices) {
  return CLI::Validator(
      [choices](const std::string& text) {
        for (const char* choice : choices)
          if (text == choice) return std::string();
        return "'" + text + "' is none of " + joined(choices, ", ");
      },
      "");
}

class FlagAdder final : public SettingsVisitor {
 public:
  explicit FlagAdder(CLI::App& app) : app_(app) {}

  void text(const char* name, std::optional<std::string>& value, const char* help, bool required) override {
    app_.add_option(flag_of(name), value, std::string(help) + (required ? " (required)" : ""))
        ->type_name("TEXT");
  }
  void choice(const char* name, std::string& value, const Choices& choices, const char* help) override {
    app_.add_option(flag_of(name), value, help)
        ->check(one_of(choices))
        ->capture_default_str()
        ->type_name(joined(choices, "|"));
  }
  void integer(const char* name, std::int64_t& value, std::int64_t least, std::int64_t most,
               const char* help) override {
    app_.add_option(flag_of(name), value, help)
        ->transform(in_range(least, most))
        ->capture_default_str()
        ->type_name("N");
  }
  void integer(const char* name, std::optional<std::int64_t>& value, std::int64_t least, std::int64_t most,
               const char* help) override {
    app_.add_option(flag_of(name), value, help)->transform(in_range(least, most))->type_name("N");
  }
  void number(const char* name, double& value, double least, double most, const char* help) override {
    app_.add_option(flag_of(name), value, help)
        ->transform(in_range(least, most))
        ->capture_default_str()
        ->type_name("X");
  }
  void flag(const char* name, bool& value, const char* help) override {
    app_.add_flag(flag_of(name), value, help);
  }
  void list(const char* name, std::vector<std::string>& values, const char* help) override {
    app_.add_option(flag_of(name), values, help)->type_name("TEXT")->allow_extra_args(false);
  }

 private:
  static std::string flag_of(const char* name) { return std::string("--") + name; }
  CLI::App& app_;
};

/// Takes values from a lookup (environment or file) for the fields whose flag was not given.
class SourceReader : public SettingsVisitor {
 public:
  SourceReader(std::set<std::string>& filled, std::string source)
      : filled_(filled), source_(std::move(source)) {}

  void text(const char* name, std::optional<std::string>& value, const char*, bool) override {
    if (const auto found = take(name, true)) value = string_of(name, *found);
  }
  void choice(const char* name, std::string& value, const Choices& choices, const char*) override {
    const auto found = take(name, true);
    if (!found) return;
    value = string_of(name, *found);
    for (const char* choice : choices)
      if (value == choice) return;
    fail(name, "unknown value '" + value + "'");
  }
  void integer(const char* name, std::int64_t& value, std::int64_t least, std::int64_t most,
               const char*) override {
    if (const auto found = take(name)) value = integer_of(name, *found, least, most);
  }
  void integer(const char* name, std::optional<std::int64_t>& value, std::int64_t least, std::int64_t most,
               const char*) override {
    if (const auto found = take(name)) value = integer_of(name, *found, least, most);
  }
  void number(const char* name, double& value, double least, double most, const char*) override {
    const auto found = take(name);
    if (!found) return;
    if (!found->is_number()) fail(name, "needs a number");
    value = found->get<double>();
    if (!(value >= least && value <= most)) fail(name, "is out of range");
  }
  void flag(const char* name, bool& value, const char*) override {
    const auto found = take(name);
    if (!found) return;
    if (!found->is_boolean()) fail(name, "needs true or false");
    value = found->get<bool>();
  }
  void list(const char* name, std::vector<std::string>& values, const char*) override {
    const auto found = take(name, true);
    if (!found) return;
    values.clear();
    if (found->is_array())
      for (const json& entry : *found) values.push_back(string_of(name, entry));
    else
      values.push_back(string_of(name, *found));
  }

 protected:
  /// as_text: the field is a text; a source of texts must not read it as a number.
  virtual std::optional<json> look_up(const std::string& name, bool as_text) = 0;

 private:
  std::optional<json> take(const char* name, bool as_text = false) {
    std::optional<json> found = look_up(name, as_text);
    if (!found || filled_.contains(name)) return std::nullopt;
    filled_.insert(name);
    return found;
  }
  [[noreturn]] void fail(const char* name, const std::string& problem) const {
    throw UsageError(source_ + ": " + name + ": " + problem);
  }
  std::string string_of(const char* name, const json& value) const {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number() || value.is_boolean()) return value.dump();
    fail(name, "needs a text");
  }
  std::int64_t integer_of(const char* name, const json& value, std::int64_t least, std::int64_t most) const {
    if (!value.is_number_integer()) fail(name, "needs a whole number");
    const auto number = value.get<std::int64_t>();
    if (number < least || number > most)
      fail(name, std::to_string(number) + " is not " + range_text(least, most));
    return number;
  }

  std::set<std::string>& filled_;
  std::string source_;
};

class EnvironmentReader final : public SourceReader {
 public:
  explicit EnvironmentReader(std::set<std::string>& filled) : SourceReader(filled, "environment") {}

 private:
  std::optional<json> look_up(const std::string& name, bool as_text) override {
    std::string variable = "STAGFORMER_";
    for (const char c : name) variable += c == '-' ? '_' : static_cast<char>(std::toupper(c));
    const char* value = std::getenv(variable.c_str());
    if (!value || !*value) return std::nullopt;
    if (as_text) return json(value);
    const json parsed = json::parse(value, nullptr, false);
    return parsed.is_number() || parsed.is_boolean() ? parsed : json(value);
  }
};

class FileReader final : public SourceReader {
 public:
  FileReader(std::set<std::string>& filled, const std::string& path)
      : SourceReader(filled, path), path_(path) {
    settings_ = parse_json(text_of(path));
    if (!settings_.is_object()) throw UsageError("--settings: " + path + " holds no JSON object");
  }
  void check_all_known() const {
    for (const auto& [key, value] : settings_.items())
      if (!asked_.contains(key)) throw UsageError(path_ + ": unknown setting '" + key + "'");
  }

 private:
  static std::string text_of(const std::string& path) {
    try {
      return read_file(path);
    } catch (const InputError& error) {
      throw UsageError(std::string("--settings: ") + error.what());
    }
  }
  std::optional<json> look_up(const std::string& name, bool) override {
    asked_.insert(name);
    const auto found = settings_.find(name);
    return found == settings_.end() ? std::nullopt : std::optional<json>(*found);
  }
  std::string path_;
  json settings_;
  std::set<std::string> asked_;
};

class RequiredChecker final : public SettingsVisitor {
 public:
  void text(const char* name, std::optional<std::string>& value, const char*, bool required) override {
    if (required && !value) throw UsageError("--" + std::string(name) + " is required");
  }
  void choice(const char*, std::string&, const Choices&, const char*) override {}
  void integer(const char*, std::int64_t&, std::int64_t, std::int64_t, const char*) override {}
  void integer(const char*, std::optional<std::int64_t>&, std::int64_t, std::int64_t, const char*) override {}
  void number(const char*, double&, double, double, const char*) override {}
  void flag(const char*, bool&, const char*) override {}
  void list(const char*, std::vector<std::string>&, const char*) override {}
};

class Recorder final : public SettingsVisitor {
 public:
  json record = json::object();

  void text(const char* name, std::optional<std::string>& value, const char*, bool) override {
    record[name] = value ? json(*value) : json();
  }
  void choice(const char* name, std::string& value, const Choices&, const char*) override {
    record[name] = value;
  }
  void integer(const char* name, std::int64_t& value, std::int64_t, std::int64_t, const char*) override {
    record[name] = value;
  }
  void integer(const char* name, std::optional<std::int64_t>& value, std::int64_t, std::int64_t,
               const char*) override {
    record[name] = value ? json(*value) : json();
  }
  void number(const char* name, double& value, double, double, const char*) override { record[name] = value; }
  void flag(const char* name, bool& value, const char*) override { record[name] = value; }
  void list(const char* name, std::vector<std::string>& values, const char*) override {
    record[name] = values;
  }
};

}  // namespace

void add_flags(CLI::App& app, const VisitSettings& visit) {
  FlagAdder adder(app);
  visit(adder);
}

void apply_other_sources(const CLI::App& app, const VisitSettings& visit, const std::string& file) {
  std::set<std::string> filled;
  for (const CLI::Option* option : app.get_options())
    if (option->count() > 0) filled.insert(option->get_single_name());
  EnvironmentReader environment(filled);
  visit(environment);
  if (file.empty()) return;
  FileReader reader(filled, file);
  visit(reader);
  reader.check_all_known();
}

void check_required(const VisitSettings& visit) {
  RequiredChecker checker;
  visit(checker);
}

nlohmann::json settings_record(const VisitSettings& visit) {
  Recorder recorder;
  visit(recorder);
  return recorder.record;
}

}  // namespace stagformer::internal
