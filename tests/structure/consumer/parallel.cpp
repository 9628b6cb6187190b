// A parallel program with work of its own: two ranks of it run a model, the others compute something else.
// usage: mpirun -n 4 parallel CHECKPOINT PROMPT
#include <stagformer/error.hpp>
#include <stagformer/mpi.hpp>

#include <iostream>

namespace {

constexpr int kModelRanks = 2;

void tell_story(MPI_Comm ranks, const std::string& checkpoint, const std::string& prompt) {
  stagformer::Model model = stagformer::load(ranks, checkpoint, {.threads = 1});
  // Every rank makes the call and has the result; one of them prints.
  const stagformer::Generation story = model.generate(prompt, {.max_tokens = 8, .ignore_eos = true});
  if (model.placement().rank == 0)
    std::cout << story.token_ids.size() << " tokens on " << model.placement().ranks << " ranks, "
              << story.finish_reason << ":" << story.text << std::endl;
}

double quarter_of_pi(MPI_Comm ranks) {
  int rank = 0, size = 1;
  MPI_Comm_rank(ranks, &rank);
  MPI_Comm_size(ranks, &size);
  double mine = 0, sum = 0;
  for (int k = rank; k < 1000000; k += size) mine += (k % 2 == 0 ? 1.0 : -1.0) / (2 * k + 1);
  MPI_Allreduce(&mine, &sum, 1, MPI_DOUBLE, MPI_SUM, ranks);
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  int thread_level = MPI_THREAD_SINGLE, rank = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &thread_level);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm part = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, rank < kModelRanks ? 0 : 1, rank, &part);
  int code = argc == 3 ? 0 : 2;
  if (code == 0) {
    try {
      if (rank < kModelRanks)
        tell_story(part, argv[1], argv[2]);
      else if (const double result = quarter_of_pi(part); rank == kModelRanks)
        std::cout << "meanwhile: pi is " << 4 * result << std::endl;
    } catch (const stagformer::Error& error) {  // the same on all ranks of the model
      if (rank == 0) std::cerr << error.what() << std::endl;
      code = static_cast<int>(error.code());
    }
  }
  MPI_Comm_free(&part);
  MPI_Finalize();
  return code;
}
