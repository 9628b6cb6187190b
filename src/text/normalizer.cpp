#include "text/normalizer.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr int kDeepestSequence = 16;

std::string map_text(const std::string& text, int options) {
  utf8proc_uint8_t* mapped = nullptr;
  const auto* source = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto size = utf8proc_map(source, static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                 static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (size < 0) throw InputError(std::string("the text cannot be normalised: ") + utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(size)};
}

bool is_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

Normalizer::Normalizer(const std::optional<JsonNode>& node) {
  if (node) add(*node, 0);
}

void Normalizer::add(const JsonNode& node, int depth) {
  const std::string& type = node.at("type").string();
  if (depth > kDeepestSequence) node.refuse("sequences are nested too deeply");
  if (type == "NFC") return options_.push_back(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  if (type == "NFD") return options_.push_back(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
  if (type == "NFKC") return options_.push_back(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
  if (type == "NFKD") return options_.push_back(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
  if (type != "Sequence") node.refuse_type();
  const JsonNode members = node.at("normalizers");
  for (std::size_t i = 0; i < members.array().size(); ++i) add(members.element(i), depth + 1);
}

std::string Normalizer::normalize(std::string text) const {
  if (is_ascii(text)) return text;  // the same in every form
  for (const int options : options_) text = map_text(text, options);
  return text;
}

}  // namespace stagformer::internal
