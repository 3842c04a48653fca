#include "qtune/eval/text_stream.h"

#include <gtest/gtest.h>

#include "support/byte_tokenizer.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

const std::filesystem::path kTokenizers = std::filesystem::path(QTUNE_TEST_DATA) / "tokenizers";

struct Streamed {
  std::vector<std::string> pieces;
  std::string text;
  bool stopped;
};

Streamed stream_of(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, TextStream::Options options = {}) {
  TextStream stream(tokenizer, std::move(options));
  Streamed s;
  for (const int32_t id : ids) s.pieces.push_back(stream.add(id));
  s.pieces.push_back(stream.finish());
  s.text = stream.text();
  s.stopped = stream.stopped();
  std::string joined;
  for (const std::string& piece : s.pieces) joined += piece;
  EXPECT_EQ(joined, s.text);
  return s;
}

const std::string kText =
    "  Hello  world, na\xC3\xAFve caf\xC3\xA9!\n\n\tdef f(x):\n    return x\n "
    "\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C "
    "\xF0\x9F\x98\x80\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7 end ";

bool is_whole(const std::string& piece) {
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
  if (piece.empty()) return true;
  size_t last = piece.size() - 1;
  while (last > 0 && continues(piece[last])) --last;
  const auto lead = static_cast<unsigned char>(piece[last]);
  const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  return !continues(piece[0]) && piece.size() - last == length;
}

TEST(TextStream, PiecesAreWholeCharactersAndTogetherTheDecodedText) {
  for (const char* name : {"smollm2", "llama2", "llama3", "qwen2"}) {
    const auto tokenizer = Tokenizer::load_tokenizer(kTokenizers / name);
    const std::vector<int32_t> ids = tokenizer->encode(kText);
    const Streamed s = stream_of(*tokenizer, ids);
    EXPECT_EQ(s.text, tokenizer->decode(ids)) << name;
    for (const std::string& piece : s.pieces) {
      EXPECT_TRUE(is_whole(piece)) << name << ": " << testing::PrintToString(piece);
      EXPECT_EQ(piece.find("\xEF\xBF\xBD"), std::string::npos) << name;
    }
    EXPECT_EQ(s.pieces.back(), "") << "a text that ends with a whole character waits for nothing";
  }
}

class ByteStream : public testing::Test {
 protected:
  ByteStream() {
    write_byte_tokenizer(folder_.path());
    tokenizer_ = Tokenizer::load_tokenizer(folder_.path());
  }

  std::vector<int32_t> ids_of_bytes(const std::string& bytes) const {
    return {reinterpret_cast<const uint8_t*>(bytes.data()),
            reinterpret_cast<const uint8_t*>(bytes.data()) + bytes.size()};
  }

  TempDir folder_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(ByteStream, CharacterComesWithItsLastByte) {
  const Streamed s = stream_of(*tokenizer_, ids_of_bytes("a\xF0\x9F\x98\x80z"));
  EXPECT_EQ(s.pieces, (std::vector<std::string>{"a", "", "", "", "\xF0\x9F\x98\x80", "z", ""}));
}

TEST_F(ByteStream, HalfACharacterAtTheEndIsMarked) {
  EXPECT_EQ(stream_of(*tokenizer_, ids_of_bytes("ab\xE4\xBD")).text, "ab\xEF\xBF\xBD");
}

TEST_F(ByteStream, EndlessRubbishIsLetGo) {
  const std::vector<int32_t> ids = ids_of_bytes(std::string(500, '\x80'));
  const Streamed s = stream_of(*tokenizer_, ids);
  EXPECT_EQ(s.text, tokenizer_->decode(ids));
  size_t longest = 0;
  for (const std::string& piece : s.pieces) longest = std::max(longest, piece.size());
  EXPECT_LE(longest, 3 * 16U);
}

TEST_F(ByteStream, SilentTokensGiveNoText) {
  std::vector<int32_t> ids = ids_of_bytes("ab");
  ids.insert(ids.begin() + 1, kImEndId);
  EXPECT_EQ(stream_of(*tokenizer_, ids).text, "a<|im_end|>b");
  EXPECT_EQ(stream_of(*tokenizer_, ids, {.silent_ids = {kImEndId}}).text, "ab");
}

TEST_F(ByteStream, EndsBeforeAStopText) {
  const auto run = [&](const std::string& text, const std::vector<std::string>& stops) {
    return stream_of(*tokenizer_, ids_of_bytes(text), {.stop_texts = stops});
  };
  const Streamed s = run("one\n\ntwo", {"\n\n"});
  EXPECT_EQ(s.text, "one");
  EXPECT_TRUE(s.stopped);
  EXPECT_EQ(run("one\ntwo\n", {"\n\n"}).text, "one\ntwo\n") << "what only might have become one";
  EXPECT_FALSE(run("one\ntwo\n", {"\n\n"}).stopped);
  EXPECT_EQ(run("aab", {"ab"}).text, "a");
  EXPECT_EQ(run("x Q: y", {"Question", "Q:"}).text, "x ") << "any of several";
  EXPECT_EQ(run("abc", {"", "abc"}).text, "") << "an empty one is none";
  EXPECT_EQ(run("abc", {""}).text, "abc");
}

TEST_F(ByteStream, NothingOfWhatMayBecomeAStopTextIsShown) {
  const Streamed s = stream_of(*tokenizer_, ids_of_bytes("a##b###c"), {.stop_texts = {"###"}});
  EXPECT_EQ(s.pieces, (std::vector<std::string>{"a", "", "", "##b", "", "", "", "", ""}));
}

TEST_F(ByteStream, EndOfTurnIsTheTemplatesToken) {
  EXPECT_EQ(end_of_turn_id(make_chat_template("chatml", folder_.path()), *tokenizer_), kImEndId);
  EXPECT_EQ(end_of_turn_id(make_chat_template("llama3", folder_.path()), *tokenizer_), std::nullopt)
      << "<|eot_id|> is not a token here";
}

}  // namespace
}  // namespace qtune
