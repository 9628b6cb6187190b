// Models on a communicator of a program that owns MPI: world rank 0 stays outside, the others form a part of
// their own. An even number of parts' ranks, as the models have two sections.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "library/model_calls.hpp"
#include "stagformer/error.hpp"
#include "stagformer/mpi.hpp"
#include "support/refusal.hpp"

namespace stagformer::test {
namespace {

using internal::test::has;
using internal::test::message_of;

MPI_Comm part = MPI_COMM_NULL;       // of this rank
std::unique_ptr<Model> outliving;    // destroyed after MPI_Finalize
constexpr int kStallTimeout_s = 60;  // a test that waits longer is lost

int rank_in(MPI_Comm communicator) {
  int rank = 0;
  MPI_Comm_rank(communicator, &rank);
  return rank;
}

int size_of(MPI_Comm communicator) {
  int size = 0;
  MPI_Comm_size(communicator, &size);
  return size;
}

bool is_outside() {
  return rank_in(MPI_COMM_WORLD) == 0;
}

LoadOptions options(int batch = 2, int draft = 0) {
  return {.threads = 1, .batch = batch, .draft = draft, .stall_timeout_s = kStallTimeout_s};
}

/// World rank 0's numbers on all ranks.
template <typename Value>
std::vector<Value> from_outside(std::vector<Value> values) {
  int count = static_cast<int>(values.size() * sizeof(Value));
  MPI_Bcast(&count, 1, MPI_INT, 0, MPI_COMM_WORLD);
  values.resize(static_cast<std::size_t>(count) / sizeof(Value));
  MPI_Bcast(values.data(), count, MPI_BYTE, 0, MPI_COMM_WORLD);
  return values;
}

std::vector<std::int32_t> flat(const std::vector<std::vector<std::int32_t>>& lists) {
  std::vector<std::int32_t> all;
  for (const auto& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

/// The rank outside runs the model alone meanwhile; the parts' ranks must all have its results.
void compare_with_alone(const std::string& name, const LoadOptions& load_options) {
  Model model = is_outside() ? Model(golden(name), {.threads = 1}) : load(part, golden(name), load_options);
  const auto ids = flat(mixed_ids(model));
  const std::vector<std::string> texts = {"some text to score", "and another one that is longer"};
  std::vector<float> scores;
  for (const Scores& of_text : model.score_all(texts, 16))
    scores.insert(scores.end(), of_text.log_probabilities.begin(), of_text.log_probabilities.end());
  EXPECT_EQ(flat(mixed_ids(model)), ids) << "generating after scoring";
  EXPECT_EQ(from_outside(ids), ids);
  EXPECT_EQ(from_outside(scores), scores);
}

TEST(Communicator, GivesWhatOneProcessGives) {
  compare_with_alone("separate2", options());
  compare_with_alone("shared2", options(3));
  compare_with_alone("format_q4_0", options(1));
}

TEST(Communicator, DraftsGiveTheSame) {
  compare_with_alone("shared2", options(2, 3));
}

TEST(Communicator, TellsWhereTheModelRuns) {
  if (is_outside()) return;
  const Model model = load(part, golden("separate2"), options());
  const Placement here = model.placement();
  EXPECT_EQ(here.rank, rank_in(part));
  EXPECT_EQ(here.ranks, size_of(part));
  EXPECT_EQ(here.replicas, size_of(part) / 2);
  EXPECT_EQ(here.replica, rank_in(part) / 2);
  EXPECT_EQ(here.first_section, rank_in(part) % 2);
  EXPECT_EQ(here.sections, 1);
  EXPECT_EQ(here.threads, 1);
}

TEST(Communicator, StaysTheCallersOwn) {
  if (is_outside()) return;
  MPI_Errhandler before = MPI_ERRHANDLER_NULL, after = MPI_ERRHANDLER_NULL;
  MPI_Comm_get_errhandler(part, &before);
  // A message of the caller's waits while the model is loaded and used.
  const int next = (rank_in(part) + 1) % size_of(part);
  int sent = 1000 + rank_in(part), received = 0;
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Isend(&sent, 1, MPI_INT, next, 10, part, &request);
  {
    Model model = load(part, golden("separate2"), options());
    (void)mixed_ids(model);
  }
  MPI_Status status;
  MPI_Recv(&received, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, part, &status);
  MPI_Wait(&request, MPI_STATUS_IGNORE);
  EXPECT_EQ(received, 1000 + (rank_in(part) + size_of(part) - 1) % size_of(part));
  EXPECT_EQ(status.MPI_TAG, 10);
  MPI_Comm_get_errhandler(part, &after);
  EXPECT_EQ(before, after);
}

TEST(Communicator, ModelsEndInAnyOrder) {
  if (is_outside()) return;
  auto first = std::make_unique<Model>(load(part, golden("separate2"), options()));
  auto second = std::make_unique<Model>(load(part, golden("shared2"), options()));
  auto alone = std::make_unique<Model>(golden("separate2"), LoadOptions{.threads = 1});
  const auto of_first = mixed_ids(*first), of_second = mixed_ids(*second);
  first.reset();
  EXPECT_EQ(mixed_ids(*second), of_second);
  auto third = std::make_unique<Model>(load(part, golden("separate2"), options()));
  EXPECT_EQ(mixed_ids(*third), of_first);
  second.reset();
  EXPECT_EQ(mixed_ids(*third), of_first);
  EXPECT_EQ(mixed_ids(*alone), of_first);
}

TEST(Communicator, CallsThatDifferAreRefusedOnAllRanks) {
  if (is_outside()) return;
  Model model = load(part, golden("separate2"), options());
  const auto before = mixed_ids(model);
  const std::string own = rank_in(part) == 1 ? "other" : "words";
  const std::string message = message_of<CommError>([&] { model.generate(own, {.max_tokens = 2}); });
  EXPECT_TRUE(has(message, "rank 1"));
  EXPECT_TRUE(has(message, "'other'"));
  EXPECT_TRUE(has(message, "'words'"));
  const auto call = [&] {
    if (rank_in(part) == 1)
      model.score("words");
    else
      model.generate("words");
  };
  EXPECT_TRUE(has(message_of<CommError>(call), "score of 1 text"));
  // Refusals that concern all ranks alike.
  EXPECT_TRUE(has(message_of<InputError>([&] { model.generate("a", {.max_tokens = 99}); }), "99"));
  EXPECT_EQ(mixed_ids(model), before);
}

struct Enough : std::runtime_error {
  Enough() : std::runtime_error("enough of it") {}
};

constexpr int kManyTokens = 24;

/// The given rank's callback throws at its `last`-th text; the others, which listen on, soon hear no more.
void stop_early(Model& model, int thrower, int last, int all_texts) {
  int texts = 0;
  const bool throws = rank_in(part) == thrower;
  const auto listen = [&](const std::string&) {
    if (texts++ == last && throws) throw Enough();
  };
  const auto call = [&] {
    model.generate("a text", {.max_tokens = kManyTokens, .ignore_eos = true}, listen);
  };
  if (throws) {
    EXPECT_THROW(call(), Enough) << thrower << " at " << last;
    EXPECT_EQ(texts, last + 1);
    return;
  }
  const std::string message = message_of<Error>(call);
  EXPECT_TRUE(has(message, "rank " + std::to_string(thrower))) << last;
  EXPECT_TRUE(has(message, "the callback threw: enough of it")) << last;
  EXPECT_LT(texts, std::max(all_texts, 1)) << "the others went on to the end";
}

int texts_of(Model& model) {
  int texts = 0;
  model.generate("a text", {.max_tokens = kManyTokens, .ignore_eos = true},
                 [&](const std::string&) { ++texts; });
  return texts;
}

TEST(Communicator, ACallbackThatThrowsEndsTheCallOnAllRanks) {
  if (is_outside()) return;
  for (const int draft : {0, 2}) {  // guesses need the head whole: another way for the news to travel
    Model model = load(part, golden("shared2"), options(2, draft));
    const auto before = mixed_ids(model);
    const int all_texts = texts_of(model);
    for (const int thrower : {0, 1})
      for (const int last : {0, 1, 5}) {
        stop_early(model, thrower, last, all_texts);
        EXPECT_EQ(mixed_ids(model), before) << "after rank " << thrower << " threw at " << last;
      }
  }
}

TEST(Communicator, LoadingFailsAlikeOnAllRanks) {
  if (is_outside()) return;
  const bool is_one = rank_in(part) == 1;
  const std::string message = message_of<CheckpointError>(
      [&] { (void)load(part, is_one ? "missing.h5" : golden("separate2"), options()); });
  EXPECT_TRUE(has(message, "rank 1"));
  EXPECT_TRUE(has(message, "missing.h5"));
  EXPECT_TRUE(has(message_of<CheckpointError>(
                      [&] { (void)load(part, is_one ? golden("shared2") : golden("separate2"), options()); }),
                  "shared2.h5"));
  EXPECT_TRUE(
      has(message_of<CommError>([&] { (void)load(part, golden("separate2"), options(is_one ? 1 : 2)); }),
          "batch 1"));
  EXPECT_TRUE(has(message_of<ConfigError>([&] { (void)load(part, golden("sections3_linear"), options()); }),
                  "sizes that fit"));
  EXPECT_EQ(load(part, golden("separate2"), options()).generate("a", {.max_tokens = 3}).token_ids.size(), 3U);
}

TEST(Communicator, RefusesWhatIsNoneOfItsMpi) {
  EXPECT_TRUE(
      has(message_of<CommError>([] { (void)load(MPI_COMM_NULL, golden("separate2")); }), "MPI_COMM_NULL"));
  MPI_Comm between = MPI_COMM_NULL;
  MPI_Intercomm_create(part, 0, MPI_COMM_WORLD, is_outside() ? 1 : 0, 3, &between);
  EXPECT_TRUE(
      has(message_of<CommError>([&] { (void)load(between, golden("separate2")); }), "intercommunicator"));
  MPI_Comm_free(&between);
  const auto foreign = [](std::size_t bytes, const std::string& library) {
    return [=] { (void)internal::load_on({&part, bytes, library}, golden("separate2"), {}); };
  };
  EXPECT_TRUE(
      has(message_of<CommError>(foreign(sizeof part, "Another MPI v1.2.3, somewhere")), "Another MPI 1.2.3"));
  EXPECT_TRUE(has(message_of<CommError>(foreign(3, "")), "handles of 3 bytes"));
}

TEST(Communicator, OnlyTheMainThreadMayCallUnderFunneled) {
  if (is_outside()) return;
  Model model = load(part, golden("separate2"), options());
  std::string message;
  std::thread([&] { message = message_of<CommError>([&] { model.generate("a"); }); }).join();
  EXPECT_TRUE(has(message, "MPI_THREAD_SERIALIZED"));
  EXPECT_EQ(model.generate("a", {.max_tokens = 3}).token_ids.size(), 3U);
}

TEST(Communicator, AModelMayOutliveMpi) {
  if (is_outside()) return;
  outliving = std::make_unique<Model>(load(part, golden("separate2"), options()));
  EXPECT_EQ(outliving->generate("a", {.max_tokens = 3}).token_ids.size(), 3U);
}

}  // namespace

int run_all_tests() {
  const bool is_first = rank_in(MPI_COMM_WORLD) <= 1;  // that of the outside, and one of a part
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (!is_first) delete listeners.Release(listeners.default_result_printer());
  MPI_Comm_split(MPI_COMM_WORLD, is_outside() ? 0 : 1, rank_in(MPI_COMM_WORLD), &part);
  int mine = RUN_ALL_TESTS(), worst = 0;
  MPI_Allreduce(&mine, &worst, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  MPI_Comm_free(&part);
  MPI_Finalize();
  if (outliving &&
      message_of<CommError>([] { outliving->generate("a"); }).find("finalised") == std::string::npos)
    worst = 1;
  outliving.reset();
  return worst;
}

}  // namespace stagformer::test

int main(int argc, char** argv) {
  int level = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
  testing::InitGoogleTest(&argc, argv);
  return stagformer::test::run_all_tests();
}
