#include "gguf_model_card.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <optional>

#include "qtune/base/file.h"
#include "qtune/base/log.h"

namespace qtune {
namespace {

constexpr size_t kMaxBytes = 1 << 20;

/// The lines between the first two "---".
std::string front_matter(const std::filesystem::path& file) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored)) return "";
  const std::string text = read_file(file);
  std::string out;
  for (size_t begin = 0, line_number = 0; begin < text.size() && out.size() < kMaxBytes; ++line_number) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.pop_back();
    begin = end + 1;
    if (line_number == 0 && line != "---") return "";
    if (line_number > 0 && line == "---") break;
    if (line == "- no") line = "- \"no\"";  // Norwegian, not false
    if (line_number > 0) out += line + "\n";
  }
  for (char& c : out) c = c == '\t' ? ' ' : c;
  return out;
}

std::string text_at(const YAML::Node& card, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (const YAML::Node value = card[key]; value && value.IsScalar()) return value.Scalar();
  }
  return "";
}

/// A text, or all texts of a list; of the first key that is there.
std::vector<std::string> texts_at(const YAML::Node& card, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const YAML::Node value = card[key];
    if (!value || value.IsNull()) continue;
    std::vector<std::string> out;
    if (value.IsScalar()) out.push_back(value.Scalar());
    if (value.IsSequence()) {
      for (const YAML::Node& entry : value) {
        if (entry.IsScalar()) out.push_back(entry.Scalar());
      }
    }
    return out;
  }
  return {};
}

/// "org/name" of a hub's address or of an id; empty for other addresses.
std::string hub_id(const std::string& source) {
  for (const std::string_view host : {"https://huggingface.co/", "http://huggingface.co/"}) {
    if (!source.starts_with(host)) continue;
    const std::string id = source.substr(host.size());
    const size_t slash = id.find('/');
    const bool two = slash != std::string::npos && slash > 0 && slash + 1 < id.size() &&
                     id.find('/', slash + 1) == std::string::npos;
    return two ? id : "";
  }
  return source.find("://") == std::string::npos ? source : "";
}

GgufModelCard::Source make_source(const std::string& source, int64_t num_values) {
  GgufModelCard::Source out;
  const bool is_address =
      source.starts_with("http://") || source.starts_with("https://") || source.starts_with("ssh://");
  const GgufModelName parsed = parse_model_name(hub_id(source), num_values);
  out.name = model_title(parsed.name);
  out.organization = model_title(parsed.organization);
  out.version = parsed.version;
  if (is_address) {
    out.repo_url = source;
  } else if (!parsed.organization.empty()) {
    out.repo_url = fmt::format("https://huggingface.co/{}/{}", parsed.organization, parsed.name);
  }
  return out;
}

GgufModelCard parse_card(const YAML::Node& card, int64_t num_values) {
  GgufModelCard out;
  out.names = {.name = text_at(card, {"name", "model_name"}),
               .organization = text_at(card, {"organization", "model_organization"}),
               .basename = text_at(card, {"basename", "model_basename", "model_type"}),
               .finetune = text_at(card, {"finetune", "model_finetune"}),
               .version = text_at(card, {"version", "model_version"}),
               .size_label = text_at(card, {"size_label", "model_size_label"})};
  out.author = text_at(card, {"author", "model_author", "model_creator"});
  out.description = text_at(card, {"description", "model_description"});
  std::string license;
  for (const std::string& one : texts_at(card, {"license"})) license += (license.empty() ? "" : ",") + one;
  out.texts = {{"license", license},
               {"license.name", text_at(card, {"license_name"})},
               {"license.link", text_at(card, {"license_link"})},
               {"source.url", text_at(card, {"url", "model_url"})},
               {"source.doi", text_at(card, {"doi", "model_doi"})},
               {"source.uuid", text_at(card, {"uuid", "model_uuid"})},
               {"source.repo_url", text_at(card, {"repo_url", "model_repo_url"})}};
  const auto append = [&](std::vector<std::string>& list, const char* key) {
    for (std::string& text : texts_at(card, {key})) list.push_back(std::move(text));
  };
  for (const char* key : {"tags", "pipeline_tag"}) append(out.tags, key);
  for (const char* key : {"languages", "language"}) append(out.languages, key);
  for (const std::string& id : texts_at(card, {"base_model", "base_models", "base_model_sources"})) {
    out.base_models.push_back(make_source(id, num_values));
  }
  for (const std::string& id : texts_at(card, {"datasets", "dataset", "dataset_sources"})) {
    out.datasets.push_back(make_source(id, num_values));
  }
  return out;
}

void add_sources(GgufMetadata& metadata, const char* kind, const std::vector<GgufModelCard::Source>& sources) {
  if (sources.empty()) return;
  metadata.add_uint32(fmt::format("general.{}.count", kind), static_cast<int64_t>(sources.size()));
  for (size_t i = 0; i < sources.size(); ++i) {
    const auto add = [&](const char* key, const std::string& value) {
      if (!value.empty()) metadata.add_text(fmt::format("general.{}.{}.{}", kind, i, key), value);
    };
    add("name", sources[i].name);
    add("version", sources[i].version);
    add("organization", sources[i].organization);
    add("repo_url", sources[i].repo_url);
  }
}

}  // namespace

GgufModelCard read_gguf_model_card(const std::filesystem::path& file, int64_t num_values) {
  try {
    const YAML::Node card = YAML::Load(front_matter(file));
    if (card.IsMap()) return parse_card(card, num_values);
  } catch (const YAML::Exception&) {
    spdlog::warn("{}: its front matter is no YAML; license, tags and the like are left out", file.string());
  }
  return {};
}

void add_gguf_model_card(GgufMetadata& metadata, const GgufModelCard& card) {
  for (const auto& [key, value] : card.texts) {
    if (!value.empty()) metadata.add_text("general." + key, value);
  }
  add_sources(metadata, "base_model", card.base_models);
  add_sources(metadata, "dataset", card.datasets);
  if (!card.tags.empty()) metadata.add_texts("general.tags", card.tags);
  if (!card.languages.empty()) metadata.add_texts("general.languages", card.languages);
}

}  // namespace qtune
