#include <gtest/gtest.h>

#include "text/sampling.hpp"

namespace stagformer::internal {
namespace {

TEST(VocabularySlice, CoversTheVocabularyForEveryNumberOfParts) {
  for (const std::int64_t vocab : {1, 15, 16, 17, 258, 263, 2048, 32000, 50257, 128256, 262144, 2147483647})
    for (const int parts : {1, 2, 3, 4, 7, 16, 63, 256, 1000}) {
      const std::int64_t largest = vocabulary_slice(vocab, 0, parts).block_end;
      std::int64_t next_row = 0, next_block = 0;
      for (int part = 0; part < parts; ++part) {
        const VocabularySlice slice = vocabulary_slice(vocab, part, parts);
        const std::int64_t blocks = slice.block_end - slice.block_begin;
        ASSERT_EQ(slice.block_begin, next_block);
        ASSERT_LE(blocks, largest);
        ASSERT_GE(blocks, largest - 1);
        if (slice.rows() > 0) {
          ASSERT_EQ(slice.row_begin(), next_row);
        }
        next_block = slice.block_end;
        next_row += slice.rows();
      }
      ASSERT_EQ(next_row, vocab) << parts;
    }
}

TEST(VocabularySlice, BlocksFollowFromTheVocabularyAlone) {
  for (const std::int64_t vocab : {1, 263, 2048, 50257, 262144}) {
    const std::int64_t rows = vocabulary_block_rows(vocab);
    EXPECT_EQ(rows % 16, 0);
    EXPECT_LE((vocab + rows - 1) / rows, 256);
    for (const int parts : {1, 5, 300}) EXPECT_EQ(vocabulary_slice(vocab, 0, parts).block_rows, rows);
  }
}

}  // namespace
}  // namespace stagformer::internal
