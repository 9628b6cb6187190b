// Where settings come from, in rising order: defaults, --settings FILE (JSON), environment
// (STAGFORMER_MAX_TOKENS for
// --max-tokens), flags. And where they go: the JSON record.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/settings.hpp"

namespace stagformer::internal {

using VisitSettings = std::function<void(SettingsVisitor&)>;

/// Adds every field as a flag, with its default and range in the help.
void add_flags(CLI::App& app, const VisitSettings& visit);

/// Fills fields whose flag was not given from the environment, then from the file (environment wins). An
/// unknown key of the file or a value out of range is a UsageError that names it.
void apply_other_sources(const CLI::App& app, const VisitSettings& visit, const std::string& file);

/// Throws UsageError for required fields that no source gave.
void check_required(const VisitSettings& visit);

nlohmann::json settings_record(const VisitSettings& visit);

}  // namespace stagformer::internal
