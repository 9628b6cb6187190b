// Values as Python writes them: str(), repr() and json.dumps().
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "text/jinja/value.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal::jinja {
namespace {

/// Python's isprintable(): neither controls, formats, surrogates and private characters nor, but for the
/// blank, separators.
bool is_printable(char32_t c) {
  if (c == ' ') return true;
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category != UTF8PROC_CATEGORY_CN && category < UTF8PROC_CATEGORY_ZS;
}

std::string escaped(char32_t c) {
  char buffer[16];
  const char* form = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
  std::snprintf(buffer, sizeof buffer, form, static_cast<unsigned>(c));
  return buffer;
}

/// Python's repr() of a string: in double quotes only where that saves escapes.
std::string quoted(const std::string& text) {
  const bool single = text.find('\'') == std::string::npos || text.find('"') != std::string::npos;
  const char quote = single ? '\'' : '"';
  std::string out(1, quote);
  const std::vector<std::size_t> starts = character_starts(text);
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
    const std::string character = text.substr(starts[i], starts[i + 1] - starts[i]);
    const char32_t c = scan_utf8(character).code_point;
    if (c == '\\' || c == static_cast<char32_t>(quote))
      out += "\\" + character;
    else if (c == '\n' || c == '\r' || c == '\t')
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    else
      out += is_printable(c) ? character : escaped(c);
  }
  return out + quote;
}

/// What prints a list or a dict marks all of its text where any of it is foreign.
bool any_foreign(const Value& value) {
  if (const Text* text = value.text()) return text->any_foreign();
  if (const List* list = value.list()) return std::ranges::any_of(list->items, any_foreign);
  if (const Dict* dict = value.dict())
    return std::ranges::any_of(dict->entries, [](const auto& entry) {
      return entry.first.any_foreign() || any_foreign(entry.second);
    });
  return false;
}

std::string repr(const Value& value);

std::string repr_list(const List& list) {
  std::string out;
  for (const Value& item : list.items) out += (out.empty() ? "" : ", ") + repr(item);
  if (!list.tuple) return "[" + out + "]";
  return "(" + out + (list.items.size() == 1 ? ",)" : ")");
}

std::string repr_dict(const Dict& dict) {
  std::string out;
  for (const auto& [key, item] : dict.entries)
    out += (out.empty() ? "" : ", ") + quoted(key.bytes()) + ": " + repr(item);
  return "{" + out + "}";
}

std::string repr(const Value& value) {
  if (value.text() && value.text()->is_safe())
    fail("a list or dict of a text behind the filter 'safe' cannot be printed");
  if (const Text* text = value.text()) return quoted(text->bytes());
  if (is_plain_list(value)) return repr_list(*value.list());
  if (const Dict* dict = value.dict()) return repr_dict(*dict);
  if (value.is_undefined()) return "Undefined";
  return to_text(value).bytes();
}

/// Digits d1 d2 ... dn and the decimal exponent of d1, as to_chars gives them.
std::pair<std::string, int> shortest_digits(double number) {
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific).ptr;
  const std::string text(buffer, end);
  const std::size_t e = text.find('e');
  std::string digits = text.substr(0, e);
  std::erase(digits, '.');
  return {digits, std::stoi(text.substr(e + 1))};
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}
  std::string take(const Value& value) {
    write(value, 0);
    return std::move(out_);
  }

 private:
  void write(const Value& value, std::int64_t depth) {
    if (out_.size() > kLongestText) fail("a text is too long");
    if (const Text* text = value.text()) return write_text(text->bytes());
    if (const List* list = value.list(); is_plain_list(value))
      return write_all("[", "]", list->items.size(), depth,
                       [&](std::size_t i) { write(list->items[i], depth + 1); });
    if (const Dict* dict = value.dict()) return write_dict(*dict, depth);
    if (value.is_none()) {
      out_ += "null";
    } else if (const bool* flag = value.get<bool>()) {
      out_ += *flag ? "true" : "false";
    } else if (value.get<std::int64_t>() || value.get<double>()) {
      out_ += to_text(value).bytes();
    } else {
      fail(std::string("tojson: ") + value.type_name() + " has no JSON form");
    }
  }

  void write_dict(const Dict& dict, std::int64_t depth) {
    auto entries = dict.entries;
    if (style_.sort_keys)
      std::ranges::sort(entries, [](const auto& a, const auto& b) { return a.first < b.first; });
    write_all("{", "}", entries.size(), depth, [&](std::size_t i) {
      write_text(entries[i].first.bytes());
      out_ += style_.key_separator;
      write(entries[i].second, depth + 1);
    });
  }

  template <typename WriteItem>
  void write_all(const char* open, const char* close, std::size_t count, std::int64_t depth,
                 const WriteItem& write_item) {
    out_ += open;
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) out_ += style_.item_separator;
      break_line(depth + 1);
      write_item(i);
    }
    if (count > 0) break_line(depth);
    out_ += close;
  }

  void break_line(std::int64_t depth) {
    if (style_.indent >= 0) out_ += "\n" + std::string(static_cast<std::size_t>(depth * style_.indent), ' ');
  }

  void write_text(const std::string& text) {
    static constexpr std::string_view kEscaped = "\"\\\n\r\t\b\f", kLetters = "\"\\nrtbf";
    out_ += '"';
    for (const char c : text) {
      const std::size_t known = kEscaped.find(c);
      char buffer[8];
      if (known != std::string_view::npos) {
        out_ += {'\\', kLetters[known]};
      } else if (static_cast<unsigned char>(c) < 0x20) {
        std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(c));
        out_ += buffer;
      } else {
        out_ += c;
      }
    }
    out_ += '"';
  }

  const JsonStyle& style_;
  std::string out_;
};

}  // namespace

std::string float_text(double number) {
  if (!std::isfinite(number)) fail("a float that is not finite");
  const std::string sign = std::signbit(number) ? "-" : "";
  auto [digits, exponent] = shortest_digits(std::abs(number));
  const auto count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    const std::string power = std::to_string(std::abs(exponent));
    if (count > 1) digits.insert(1, ".");
    return sign + digits + (exponent < 0 ? "e-" : "e+") + (power.size() < 2 ? "0" : "") + power;
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1)
    return sign + digits + std::string(static_cast<std::size_t>(exponent + 1 - count), '0') + ".0";
  return sign + digits.insert(static_cast<std::size_t>(exponent + 1), ".");
}

Text to_text(const Value& value) {
  if (const Text* text = value.text()) return *text;
  if (value.is_undefined()) return Text();
  if (value.is_none()) return "None";
  if (const bool* flag = value.get<bool>()) return *flag ? "True" : "False";
  if (const std::int64_t* integer = value.get<std::int64_t>()) return std::to_string(*integer);
  if (const double* number = value.get<double>()) return float_text(*number);
  if (is_plain_list(value) || value.dict()) return Text(repr(value), any_foreign(value));
  fail(std::string("a ") + value.type_name() + " cannot be printed");
}

Text to_json_text(const Value& value, const JsonStyle& style) {
  return Text(JsonWriter(style).take(value), any_foreign(value));
}

}  // namespace stagformer::internal::jinja
