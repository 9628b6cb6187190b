// Calls of the library from the command line, for comparison with the program: by itself, or under a launcher
// on all ranks.
//   library_run CHECKPOINT generate MAX_TOKENS TEMPERATURE PROMPT...   a line of token ids a prompt
//   library_run CHECKPOINT score WINDOW TEXT...                        a line a token
//   library_run CHECKPOINT not-finite     what a model without finite values says
//   library_run CHECKPOINT stuck          what rank 0 says where rank 1 never makes its call
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "stagformer/error.hpp"
#include "stagformer/mpi.hpp"

namespace {

using Words = std::vector<std::string>;

void generate(stagformer::Model& model, const Words& words, bool speaks) {
  std::vector<stagformer::Prompt> prompts;
  for (std::size_t i = 2; i < words.size(); ++i) {
    stagformer::Prompt prompt{.text = words[i]};
    prompt.options.max_tokens = std::stoll(words[0]);
    prompt.options.temperature = std::stof(words[1]);
    prompts.push_back(prompt);
  }
  for (const stagformer::Generation& generation : model.generate_all(prompts)) {
    if (!speaks) continue;
    for (const std::int32_t id : generation.token_ids) std::cout << id << ' ';
    std::cout << generation.finish_reason << '\n';
  }
}

void score(stagformer::Model& model, const Words& words, bool speaks) {
  const Words texts(words.begin() + 1, words.end());
  for (const stagformer::Scores& scores : model.score_all(texts, std::stoll(words[0])))
    for (std::size_t t = 0; t < scores.token_ids.size() && speaks; ++t)
      std::printf("%d,%.9g\n", scores.token_ids[t], static_cast<double>(scores.log_probabilities[t]));
}

/// Twice, to see that the first failure leaves the model fit for the next call.
std::string not_finite(stagformer::Model& model) {
  const std::vector<stagformer::Prompt> prompts(3, {.text = "some words"});
  const std::vector<std::string> texts(3, "enough text for several windows, in which nothing is finite");
  std::string told;
  for (int round = 0; round < 2; ++round) {
    try {
      model.score_all(texts, 8);
    } catch (const stagformer::NumericError& error) {
      told += std::string("score: ") + error.what() + "\n";
    }
    try {
      model.generate(prompts[0]);
    } catch (const stagformer::NumericError& error) {
      told += std::string("generate: ") + error.what() + "\n";
    }
    for (const stagformer::Generation& one : model.generate_all(prompts))
      told += one.finish_reason + ": " + one.error + "\n";
  }
  return told;
}

/// Every rank's words, rank by rank.
void print_all(MPI_Comm ranks, const std::string& words) {
  int rank = 0, size = 1;
  MPI_Comm_rank(ranks, &rank);
  MPI_Comm_size(ranks, &size);
  const int mine = static_cast<int>(words.size());
  if (rank > 0) MPI_Send(words.data(), mine, MPI_CHAR, 0, 0, ranks);
  if (rank > 0) return;
  std::cout << words;
  for (int other = 1; other < size; ++other) {
    MPI_Status status;
    int count = 0;
    MPI_Probe(other, 0, ranks, &status);
    MPI_Get_count(&status, MPI_CHAR, &count);
    std::string text(static_cast<std::size_t>(count), ' ');
    MPI_Recv(text.data(), count, MPI_CHAR, other, 0, ranks, MPI_STATUS_IGNORE);
    std::cout << text;
  }
}

/// Rank 1 waits for word of rank 0, which only comes when that has given up.
void stuck(stagformer::Model& model, MPI_Comm ranks) {
  int rank = 0, word = 0;
  MPI_Comm_rank(ranks, &rank);
  if (rank == 1) {
    MPI_Recv(&word, 1, MPI_INT, 0, 0, ranks, MPI_STATUS_IGNORE);
    return;
  }
  for (int round = 0; round < 2; ++round) {
    try {
      model.generate("some words");
    } catch (const stagformer::CommError& error) {
      std::cout << error.what() << std::endl;
    }
  }
  MPI_Send(&word, 1, MPI_INT, 1, 0, ranks);
}

void run(MPI_Comm ranks, bool is_alone, const Words& words) {
  const std::string& what = words.at(1);
  const stagformer::LoadOptions options{.threads = 1,
                                        .verify = what != "not-finite",
                                        .batch = 2,
                                        .stall_timeout_s = what == "stuck" ? 1.0 : 0.0};
  stagformer::Model model =
      is_alone ? stagformer::Model(words[0], options) : stagformer::load(ranks, words[0], options);
  const Words rest(words.begin() + 2, words.end());
  const bool speaks = model.placement().rank == 0;
  if (what == "generate") generate(model, rest, speaks);
  if (what == "score") score(model, rest, speaks);
  if (what == "not-finite") print_all(ranks, not_finite(model));
  if (what == "stuck") stuck(model, ranks);
}

}  // namespace

int main(int argc, char** argv) {
  int level = MPI_THREAD_SINGLE, size = 1;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  int code = 0;
  try {
    run(MPI_COMM_WORLD, size == 1, {argv + 1, argv + argc});
  } catch (const stagformer::Error& error) {
    std::cerr << error.what() << std::endl;
    code = static_cast<int>(error.code());
  }
  MPI_Finalize();
  return code;
}
