// The message tags of the engine, all in one place, so that no two purposes share one.
#pragma once

namespace stagformer::internal {

enum class Tag : int {
  hidden_states = 10,  ///< a section's outputs to the next section
  clock_question = 20,
  clock_answer = 21,
  latency = 22,         ///< start-up round trips for --head auto
  result = 30,          ///< leaders of replicas to world rank 0: results, questions, signs of life
  stop = 31,            ///< a rank asks the last one to stop (--head last)
  orders = 32,          ///< world rank 0 to the leaders: prompts, stop, end
  trace = 33,           ///< a rank's spans to world rank 0
  prompts = 34,         ///< inside a replica: the prompts that its leader was given
  turn = 35,            ///< chat: rank 0 to the others, what the user said
  z = 100,              ///< read-out: final hidden states
  picks = 200,          ///< read-out: chosen tokens, --head last
  drafts = 300,         ///< tokens that the last section guessed
  candidates = 1000,    ///< read-out: candidates; grows when the exchange is widened
  outputs_sum = 20000,  ///< read-out: weighted sum of the sections' outputs, one tag a section
};
constexpr int tag(Tag purpose) {
  return static_cast<int>(purpose);
}

}  // namespace stagformer::internal
