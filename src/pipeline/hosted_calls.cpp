// The calls of HostedModel: what all ranks of a loaded model do together.
#include <algorithm>

#include "base/byte_string.hpp"
#include "comm/mpi_communicator.hpp"
#include "kernels/kernels.hpp"
#include "pipeline/agreed_kinds.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/hosted_model.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

/// A callback may throw anything; the other ranks are told in one line.
[[noreturn]] void throw_for_others(const std::exception_ptr& given_up) {
  try {
    std::rethrow_exception(given_up);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(ExitCode::interrupted, std::string("the callback threw: ") + error.what());
  } catch (...) {
    throw Error(ExitCode::interrupted, "the callback threw");
  }
}

class Busy {
 public:
  explicit Busy(std::atomic<bool>& is_busy) : is_busy_(is_busy) {
    if (is_busy.exchange(true)) throw UsageError("another call of this model is running");
  }
  ~Busy() { is_busy_ = false; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  std::atomic<bool>& is_busy_;
};

std::string bytes_of(const std::vector<GenerationResult>& results) {
  ByteWriter bytes;
  for (const GenerationResult& r : results)
    bytes.add(r.index)
        .add(r.text)
        .add(r.token_ids)
        .add(r.log_probabilities)
        .add(r.finish_reason)
        .add(r.error);
  return bytes.bytes();
}

void take_results(const Bytes& bytes, std::vector<GenerationResult>& all) {
  const std::string text = to_text(bytes);
  for (ByteReader reader(text); !reader.at_end();) {
    GenerationResult r;
    reader.take(r.index);
    reader.take(r.text);
    reader.take(r.token_ids);
    reader.take(r.log_probabilities);
    reader.take(r.finish_reason);
    reader.take(r.error);
    all.push_back(std::move(r));
  }
}

}  // namespace

void HostedModel::call(const CallId& id, const std::function<void()>& work) {
  const Busy busy(is_busy_);
  if (!in_step_)
    throw CommError("an earlier call of this model failed on its way: its ranks may have parted");
  if (on_mpi_) check_mpi_thread();
  use_instruction_set(instruction_set_);  // another model's ranks may have agreed on another
  in_step_ = false;
  try {
    agree_on(*world_, "call", id.digest, id.text);
  } catch (const AgreedError& error) {
    in_step_ = true;
    throw_as_its_kind(error);
  }
  in_step_ = true;
  work();
}

void HostedModel::end_passes(const std::exception_ptr& given_up) {
  try {
    agree(*world_, [&] {
      if (given_up) throw_for_others(given_up);
    });
  } catch (const AgreedError& error) {
    renew();
    in_step_ = true;
    if (given_up) std::rethrow_exception(given_up);
    throw_as_its_kind(error);
  }
}

std::vector<Bytes> HostedModel::from_replicas(const std::string& mine) {
  const std::vector<Bytes> all = world_->all_gather(replica_->rank() == 0 ? to_bytes(mine) : Bytes());
  std::vector<Bytes> leaders;
  for (std::size_t rank = 0; rank < all.size(); rank += static_cast<std::size_t>(grid_.ranks_per_replica()))
    leaders.push_back(all[rank]);
  return leaders;
}

std::vector<GenerationResult> HostedModel::run(std::vector<GenerationRequest> requests,
                                               const Model::OnBatchText& on_text) {
  std::vector<GenerationResult> results;
  std::exception_ptr given_up;
  Generator::Events events;
  if (on_text)
    events.on_text = [&](const GenerationRequest& request, const std::string& text, auto) {
      try {
        if (!given_up) on_text(static_cast<std::size_t>(request.index), text);
      } catch (...) {
        given_up = std::current_exception();
      }
    };
  events.on_result = [&](GenerationResult&& result) { results.push_back(std::move(result)); };
  events.should_stop = [&] { return given_up != nullptr; };
  {  // its messages for guesses end with it, before anything that they go through
    Generator generator(*engine_, *replica_, config(), *tokenizer_, options_, std::move(events));
    generator.run(std::move(requests));
  }
  end_passes(given_up);
  return results;
}

std::vector<Generation> HostedModel::generate(std::span<const Prompt> prompts,
                                              const Model::OnBatchText& on_text) {
  std::vector<Generation> generations(prompts.size());
  call(id_of_generate(prompts), [&] {
    std::vector<GenerationRequest> requests = make_requests(prompts, rules());
    std::erase_if(requests, [&](const GenerationRequest& request) {
      return !is_mine(static_cast<std::size_t>(request.index));
    });
    in_step_ = false;
    std::vector<GenerationResult> results = run(std::move(requests), on_text);
    if (grid_.replicas > 1) {
      const std::string mine = bytes_of(results);
      results.clear();
      for (const Bytes& bytes : from_replicas(mine)) take_results(bytes, results);
    }
    in_step_ = true;
    for (GenerationResult& r : results)
      generations[static_cast<std::size_t>(r.index)] = {std::move(r.text), std::move(r.token_ids),
                                                        std::move(r.finish_reason),
                                                        std::move(r.log_probabilities), std::move(r.error)};
  });
  return generations;
}

std::vector<Scores> HostedModel::score(std::span<const std::string> texts, std::int64_t window) {
  ScoringWork work;
  call(id_of_score(texts, window), [&] {
    work = make_windows(texts, window, rules());
    std::vector<Window> mine;
    for (std::size_t w = 0; w < work.windows.size(); ++w)
      if (is_mine(w)) mine.push_back(std::move(work.windows[w]));
    in_step_ = false;
    std::vector<WindowScores> scores;
    std::exception_ptr given_up;
    try {
      Evaluator evaluator(*engine_, options_, Evaluator::lookahead_of(part_), 0);
      scores = evaluator.score(mine, {});
    } catch (const NumericError&) {  // all ranks of the replica find it in the same read-out
      given_up = std::current_exception();
    }
    end_passes(given_up);
    const auto replicas = static_cast<std::size_t>(grid_.replicas);
    if (replicas == 1) {
      for (std::size_t w = 0; w < scores.size(); ++w) work.put(w, scores[w]);
    } else {
      const std::vector<Bytes> all = from_replicas(ByteWriter().add_all(scores).bytes());
      for (std::size_t replica = 0; replica < replicas; ++replica) {
        const std::string text = to_text(all[replica]);
        ByteReader reader(text);
        for (std::size_t w = replica; !reader.at_end(); w += replicas)
          work.put(w, reader.taken<WindowScores>());
      }
    }
    in_step_ = true;
  });
  return std::move(work.scores);
}

}  // namespace stagformer::internal
