#include "fuzz/readers.hpp"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "checkpoint/inspect.hpp"
#include "cli/item_file.hpp"
#include "cli/prompts.hpp"
#include "fuzz/seeds.hpp"
#include "import/gguf_config.hpp"
#include "import/gguf_header.hpp"
#include "import/gguf_tokenizer.hpp"
#include "import/huggingface_config.hpp"
#include "import/safetensors.hpp"
#include "pipeline/machine.hpp"
#include "stagformer/config.hpp"
#include "stagformer/error.hpp"
#include "text/chat_template.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::fuzz {
namespace {

using namespace internal;

constexpr const char* kText = "Hello \xC3\xA9 world, 12345  ab\n\tend \xFF";

std::string text_of(Input bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A file of the process, in memory where the system has such a folder; removed at the end.
class InputFile {
 public:
  InputFile() {
    const char* folder = std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
    path_ = std::string(folder) + "/stagformer-fuzz-" + std::to_string(getpid());
  }
  ~InputFile() { std::remove(path_.c_str()); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  const std::string& holding(Input bytes) {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path_;
  }

 private:
  std::string path_;
};

void use(const Tokenizer& tokenizer) {
  const auto ids = tokenizer.encode(kText);
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= tokenizer.vocab_size()) throw std::logic_error("an id outside of the vocabulary");
    (void)tokenizer.token_bytes(id);
  }
  (void)tokenizer.decode(ids);
}

/// What was accepted is written and read once more.
template <typename Value>
void check_round_trip(const Value& value) {
  const std::string written = value.to_json();
  if (Value::from_json(written).to_json() != written)
    throw std::logic_error("not what it was when read again");
}

void read_checkpoint(Input bytes) {
  InputFile file;
  (void)inspect_checkpoint(file.holding(bytes), true);
}

void read_gguf(Input bytes) {
  const auto header = parse_gguf_header("f.gguf", bytes, static_cast<std::int64_t>(bytes.size()));
  if (!header) return;
  std::vector<std::string> warnings;
  const auto config = gguf_config(*header, std::nullopt, warnings);
  (void)config.dump();
  const SourceTokenizer tokenizer = gguf_tokenizer(*header, warnings);
  use(*make_tokenizer(tokenizer.type, tokenizer.model));
}

void read_safetensors(Input bytes) {
  (void)parse_safetensors_header("f.safetensors", bytes, static_cast<std::int64_t>(bytes.size()));
}

void read_huggingface_config(Input bytes) {
  std::vector<std::string> warnings;
  HuggingFaceConfig found = parse_huggingface_config("config.json", bytes, warnings);
  add_ends_of_generation("generation_config.json", bytes, found.config);
  found.config["sections"] = {{"count", 1}, {"layers_per_section", {found.layers}}};
  check_round_trip(ModelConfig::from_json(found.config.dump()));
}

void read_tokenizer_json(Input bytes) {
  use(*make_tokenizer("huggingface", bytes));
}

void read_sentencepiece(Input bytes) {
  use(*make_tokenizer("sentencepiece", bytes));
}

void read_prompt_lines(Input bytes) {
  InputFile file;
  (void)read_prompts(file.holding(bytes), {});
}

/// Read as one of the three, or refused as all of them.
void read_item_lines(Input bytes) {
  InputFile file;
  const std::string& path = file.holding(bytes);
  for (const auto& read : {read_requests, read_choices}) {
    try {
      (void)read(path);
      return;
    } catch (const InputError&) {
    }
  }
  (void)read_pairs(path);
}

/// Rendered where it is one.
void read_chat_template(Input bytes) {
  static const auto kMessages = nlohmann::ordered_json::parse(
      R"([{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "Hi <b>"}]},
          {"role": "assistant", "content": " yes\n"}, {"role": "user", "content": "\u00e9", "name": "x"}])");
  (void)ChatTemplate(text_of(bytes), "<s>", "</s>").render(kMessages);
}

void read_config(Input bytes) {
  check_round_trip(ModelConfig::from_json(text_of(bytes)));
}

void read_machine(Input bytes) {
  check_round_trip(Machine::from_json(text_of(bytes)));
}

/// Errors are right answers, but for those that say that the program itself is wrong.
template <void (*read)(Input)>
std::optional<std::string> refusal_of(Input bytes) {
  try {
    read(bytes);
  } catch (const Error& error) {
    if (error.code() == ExitCode::internal) throw;
    return error.what();
  }
  return std::nullopt;
}

constexpr Reader kReaders[] = {
    {"checkpoint", refusal_of<read_checkpoint>, checkpoint_seeds},
    {"gguf", refusal_of<read_gguf>, gguf_seeds},
    {"safetensors", refusal_of<read_safetensors>, safetensors_seeds},
    {"huggingface_config", refusal_of<read_huggingface_config>, huggingface_config_seeds},
    {"tokenizer_json", refusal_of<read_tokenizer_json>, tokenizer_json_seeds},
    {"sentencepiece", refusal_of<read_sentencepiece>, sentencepiece_seeds},
    {"chat_template", refusal_of<read_chat_template>, chat_template_seeds},
    {"prompts", refusal_of<read_prompt_lines>, prompts_seeds},
    {"requests", refusal_of<read_item_lines>, requests_seeds},
    {"config", refusal_of<read_config>, config_seeds},
    {"machine", refusal_of<read_machine>, machine_seeds},
};

}  // namespace

std::span<const Reader> readers() {
  return kReaders;
}

const Reader& reader_named(std::string_view name) {
  for (const Reader& reader : kReaders)
    if (name == reader.name) return reader;
  throw std::invalid_argument("no reader " + std::string(name));
}

}  // namespace stagformer::fuzz
