// A program that uses the installed library: loads a checkpoint and generates.
#include <stagformer/engine.hpp>
#include <stagformer/error.hpp>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    stagformer::Model model(argv[1]);
    stagformer::GenerateOptions options;
    options.max_tokens = 8;
    options.ignore_eos = true;
    const stagformer::Generation generation = model.generate("hello", options);
    std::cout << generation.token_ids.size() << " tokens, " << generation.finish_reason << '\n';
  } catch (const stagformer::Error& error) {
    std::cerr << error.what() << '\n';
    return static_cast<int>(error.code());
  }
}
