// What only MPI has: who is missing at a collective, MPI's own errors, requests remade for another size.
#include "comm/mpi_transport.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "stagformer/error.hpp"
#include "support/rank_world.hpp"

namespace stagformer::internal {
namespace {

Transport& world() {
  return *test::mpi_world();
}

TEST(MpiTransport, RankZeroNamesTheRankThatDoesNotComeToABarrier) {
  const auto part = world().split(0);
  if (part->rank() == 0) {
    part->set_stall_timeout(0.3);
    try {
      part->barrier();
      ADD_FAILURE() << "rank 1 was not there";
    } catch (const CommError& error) {
      EXPECT_EQ(std::string(error.what()),
                "waited 0.3 s for a barrier from rank 1 on host " + part->host_name() + " (--stall-timeout)");
    }
  }
  world().barrier();
}

TEST(MpiTransport, AStalledCollectiveIsReportedByTheOthersToo) {
  const auto part = world().split(0);
  if (part->rank() == 1) {
    part->set_stall_timeout(0.2);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_THROW(part->all_gather(Bytes(10)), CommError);
    EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(250)) << "after rank 0";
  }
  world().barrier();
}

TEST(MpiTransport, AMessageLongerThanItsBufferIsMpisOwnError) {
  const auto part = world().split(0);
  if (part->rank() == 0) {
    const Bytes out(100);
    const auto send = part->make_send(out, 1, 1);
    part->start_send(send, 100);
    part->wait(send, {.what = "a send"});
    part->release(send);
  } else if (part->rank() == 1) {
    part->set_stall_timeout(20);
    Bytes in(10);
    const auto receive = part->make_receive(in, 0, 1);
    part->start_receive(receive);
    try {
      part->wait(receive, {.what = "a message"});
      ADD_FAILURE() << "truncated without an error";
    } catch (const CommError& error) {
      EXPECT_NE(std::string(error.what()).find("MPI_Test of a receive"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("runcate"), std::string::npos) << error.what();
    }
    part->release(receive);
  }
  world().barrier();
}

TEST(MpiTransport, StartUpMessagesLargerThanAPieceArriveWhole) {
  const auto pattern = [](int seed, std::size_t size) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i)
      bytes[i] = static_cast<std::byte>(static_cast<std::size_t>(seed) * 37 + i * 11);
    return bytes;
  };
  const auto part = world().split(0);
  dynamic_cast<MpiTransport&>(*part).set_largest_piece(1000);
  for (const std::size_t size : {999, 1000, 1001, 3500})
    EXPECT_EQ(part->broadcast(part->rank() == 1 ? pattern(1, size) : Bytes(), 1), pattern(1, size));
  const auto size_of = [](int rank) { return static_cast<std::size_t>(2000 + rank); };
  const auto all = part->all_gather(pattern(part->rank(), size_of(part->rank())));
  for (int r = 0; r < part->size(); ++r) EXPECT_EQ(all[static_cast<std::size_t>(r)], pattern(r, size_of(r)));
  world().barrier();
}

TEST(MpiTransport, CountsWhatItSends) {
  const auto part = world().split(0);
  Bytes out(100), in(100);
  const int n = part->size();
  const auto send = part->make_send(out, (part->rank() + 1) % n, 1);
  const auto receive = part->make_receive(in, (part->rank() + n - 1) % n, 1);
  std::uint64_t bytes = 0;
  for (const std::size_t size : {100, 100, 7, 0, 100}) {
    part->start_receive(receive);
    part->start_send(send, size);
    bytes += size;
    part->wait(receive, {.what = "a message"});
    EXPECT_EQ(part->received_bytes(receive), size);
    part->wait(send, {.what = "a send"});
  }
  EXPECT_EQ(part->messages_sent(), 5U);
  EXPECT_EQ(part->bytes_sent(), bytes);
  part->release(send);
  part->release(receive);
  world().barrier();
}

TEST(MpiTransport, RefusesAMessageThatMpiCannotCount) {
  EXPECT_THROW(
      world().make_send(std::span(static_cast<const std::byte*>(nullptr), std::size_t{1} << 31), 0, 1),
      CommError);
}

TEST(MpiTransport, RefusesTagsThatMpiMayNotHave) {
  Bytes buffer(1);
  EXPECT_THROW(world().make_send(buffer, 0, MpiTransport::kLastTag + 1), Error);
  EXPECT_THROW(world().make_send(buffer, world().size(), 1), Error);
}

}  // namespace
}  // namespace stagformer::internal
