#include "fuzz/seeds.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "checkpoint/index.hpp"
#include "import/sentencepiece_model.hpp"
#include "pipeline/machine.hpp"
#include "unit/import/gguf_bytes.hpp"
#include "unit/text/huggingface_fixture.hpp"

namespace stagformer::fuzz {
namespace {

using internal::test::Bytes;

constexpr std::uint32_t kU32 = 4, kF32 = 6, kText = 8, kArray = 9;

std::string file_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string golden(const std::string& name) {
  return STAGFORMER_GOLDEN_DIR "/" + name + ".h5";
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Metadata of a Llama with a byte-level tokenizer or a SentencePiece one, and its embedding.
std::string gguf_model(const std::string& tokenizer) {
  const bool byte_level = tokenizer == "gpt2";
  Bytes out = internal::test::gguf_start(1, 12);
  const auto integer = [&](const char* key, std::uint32_t value) {
    out.text(key).number(kU32).number(value);
  };
  out.text("general.architecture").number(kText).text("llama");
  integer("llama.block_count", 2);
  integer("llama.context_length", 64);
  integer("llama.embedding_length", 32);
  integer("llama.feed_forward_length", 64);
  integer("llama.attention.head_count", 4);
  integer("tokenizer.ggml.bos_token_id", 1);
  out.text("llama.attention.layer_norm_rms_epsilon").number(kF32).number(1e-5F);
  out.text("tokenizer.ggml.model").number(kText).text(tokenizer);
  out.text("tokenizer.ggml.tokens").number(kArray).number(kText).number<std::uint64_t>(5);
  for (const char* token : {"<unk>", "<s>", "a", "b", "ab"}) out.text(token);
  out.text("tokenizer.ggml.token_type").number(kArray).number<std::uint32_t>(5).number<std::uint64_t>(5);
  for (const std::int32_t kind : {2, 3, 1, 1, 1}) out.number(kind);
  if (byte_level)
    out.text("tokenizer.ggml.merges").number(kArray).number(kText).number<std::uint64_t>(1).text("a b");
  else
    out.text("tokenizer.ggml.scores").number(kArray).number(kF32).number<std::uint64_t>(5);
  for (const float score : {0.0F, 0.0F, -1.0F, -2.0F, -0.5F})
    if (!byte_level) out.number(score);
  internal::test::add_tensor(out, "token_embd.weight", 32, 5, 0, 0);
  return text_of(out.pad(32).zeros(32 * 5 * 4).get());
}

}  // namespace

std::vector<std::string> checkpoint_seeds() {
  std::vector<std::string> seeds;
  for (const char* name : {"separate2", "format_q4_0", "shared_window4", "sections3_linear"})
    seeds.push_back(file_text(golden(name)));
  return seeds;
}

std::vector<std::string> gguf_seeds() {
  return {gguf_model("gpt2"), gguf_model("llama")};
}

std::vector<std::string> safetensors_seeds() {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"model.norm.weight":{"dtype":"BF16","shape":[3],)"
      R"("data_offsets":[16,22]},"lm_head.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}})";
  return {text_of(Bytes().text(header).zeros(22).get())};
}

std::vector<std::string> huggingface_config_seeds() {
  return {
      R"({"architectures":["LlamaForCausalLM"],"vocab_size":64,"hidden_size":32,"intermediate_size":48,)"
      R"("num_hidden_layers":3,"num_attention_heads":4,"num_key_value_heads":2,"rms_norm_eps":1e-5,)"
      R"("max_position_embeddings":128,"tie_word_embeddings":true,"hidden_act":"silu","eos_token_id":[1,2],)"
      R"("rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,)"
      R"("original_max_position_embeddings":64}})",
      R"({"architectures":["Qwen2ForCausalLM"],"vocab_size":64,"hidden_size":32,"intermediate_size":48,)"
      R"("num_hidden_layers":3,"num_attention_heads":4,"num_key_value_heads":1,"rms_norm_eps":1e-6,)"
      R"("rope_theta":1e6,)"
      R"("max_position_embeddings":128,"sliding_window":64,"use_sliding_window":false,"bos_token_id":0})"};
}

std::vector<std::string> tokenizer_json_seeds() {
  internal::Json split = internal::fixture_json();
  split["pre_tokenizer"] = internal::Json::parse(
      R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},)"
      R"({"type":"Split","pattern":{"Regex":"\\p{L}+|\\s+(?!\\S)|[^\\r\\n]{1,3}"},"behavior":"Isolated",)"
      R"("invert":false},{"type":"ByteLevel","add_prefix_space":true,"use_regex":false}]})");
  split["normalizer"] = {{"type", "NFC"}};
  return {internal::fixture_json().dump(), split.dump()};
}

std::vector<std::string> sentencepiece_seeds() {
  internal::GgufVocabulary words;
  words.tokens = {"<unk>",
                  "<s>",
                  "</s>",
                  "\xE2\x96\x81",
                  "a",
                  "b",
                  "ab",
                  "\xE2\x96\x81"
                  "a"};
  words.kinds.assign(words.tokens.size(), internal::TokenKind::normal);
  words.kinds[0] = internal::TokenKind::unknown;
  words.kinds[1] = words.kinds[2] = internal::TokenKind::control;
  for (std::size_t i = 0; i < words.tokens.size(); ++i) words.scores.push_back(-static_cast<float>(i));
  std::vector<std::string> seeds = {text_of(internal::sentencepiece_model(words, {true, false, 0, 1, 2}))};
  const auto story = internal::read_checkpoint_index(STAGFORMER_SOURCE_DIR "/models/stories-2x3.h5");
  if (story.tokenizer_type == "sentencepiece")
    seeds.emplace_back(reinterpret_cast<const char*>(story.tokenizer_model.data()),
                       story.tokenizer_model.size());
  return seeds;
}

std::vector<std::string> chat_template_seeds() {
  return {
      "{%- for message in messages %}\n{{- '<|start|>' + message['role'] + '\n' + message.content | trim }}\n"
      "{%- if not loop.last and loop.index0 % 2 == 0 %}, {% endif %}{% endfor %}\n"
      "{%- if add_generation_prompt -%}<|end|>{{ bos_token }}{%- endif %}",
      "{% set ns = namespace(found=false, parts=[]) %}{% macro text(content, n=2) -%}\n"
      "{% if content is string %}{{ content[:n] ~ content[::-1] | replace('b', 'c') }}"
      "{% elif content is iterable %}{% for part in content if part.type == 'text' %}{{ part.text | tojson }}"
      "{% endfor %}{% endif %}{% endmacro %}{% for m in messages | rejectattr('role', 'equalto', 'system') %}"
      "{% set ns.parts = ns.parts + [text(m.content, n=3)] %}{% set ns.found = m.name is defined or ns.found "
      "%}"
      "{% endfor %}{{ ns.parts | join('|') * 2 }}{{ {'a': [1, 2.5, none]} | tojson(indent=2) }}"
      "{{ raise_exception('no') if messages | length > 99 else range(3, 9, 2) | list }}"};
}

std::vector<std::string> prompts_seeds() {
  return {
      "{\"prompt\": \"Once upon a time\", \"id\": 7, \"max_tokens\": 5, \"temperature\": 0.5, \"top_k\": 3}\n"
      "{\"prompt\": \"\\u00e9\", \"id\": \"b\", \"top_p\": 0.9, \"min_p\": 0.1, \"seed\": "
      "9223372036854775807}\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"x\"}]}], \"id\": "
      "\"m\"}\n"
      "\n{\"prompt\": \"x\", \"stop\": [\"a\", \"b\"], \"ignore_eos\": true}\r\n"};
}

std::vector<std::string> requests_seeds() {
  return {"{\"id\": 1, \"context\": \"The cat \", \"continuation\": \"sat\"}\n{\"text\": \"whole\"}\n",
          "{\"ctx\": \"a\", \"endings\": [\"b\", \"c\", \"d\"], \"label\": \"2\"}\n",
          "{\"sentence_good\": \"a b\", \"sentence_bad\": \"b a\"}\n"};
}

std::vector<std::string> config_seeds() {
  std::vector<std::string> seeds;
  for (const auto& entry : std::filesystem::directory_iterator(STAGFORMER_SOURCE_DIR "/configs/models"))
    seeds.push_back(file_text(entry.path().string()));
  std::ranges::sort(seeds);
  for (const char* name : {"rope_llama3", "mixed4", "shared4_linear"})
    seeds.push_back(internal::read_checkpoint_index(golden(name)).config.to_json());
  return seeds;
}

std::vector<std::string> machine_seeds() {
  return {internal::Machine::built_in_machine().to_json()};
}

}  // namespace stagformer::fuzz
