// Small good files of every kind, from the golden checkpoints or made here.
#pragma once

#include <string>
#include <vector>

namespace stagformer::fuzz {

std::vector<std::string> checkpoint_seeds();
std::vector<std::string> gguf_seeds();
std::vector<std::string> safetensors_seeds();
std::vector<std::string> huggingface_config_seeds();
std::vector<std::string> tokenizer_json_seeds();
std::vector<std::string> sentencepiece_seeds();
std::vector<std::string> chat_template_seeds();
std::vector<std::string> prompts_seeds();
std::vector<std::string> requests_seeds();
std::vector<std::string> config_seeds();
std::vector<std::string> machine_seeds();

}  // namespace stagformer::fuzz
