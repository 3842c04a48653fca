#include "tokenizer_model_file.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/one_line.h"
#include "tokenizer_charsmap.h"
#include "unicode.h"

namespace qtune {
namespace {

constexpr uintmax_t kMaxFileBytes = uintmax_t{1} << 29;
constexpr size_t kMaxPieces = 4'000'000, kMaxPieceBytes = 65'536;
constexpr float kMaxScore = 1e15f;  // sums of them stay finite

/// One field of a protocol buffer message.
struct Field {
  uint32_t number = 0;
  uint64_t value = 0;     // a varint, or the bits of a fixed32 or fixed64
  std::string_view body;  // of what has a length
  enum class Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 } wire = Wire::kVarint;
};

/// Walks the fields of one message.
class FieldReader {
 public:
  explicit FieldReader(std::string_view message) : rest_(message) {}

  std::optional<Field> next() {
    if (rest_.empty()) return std::nullopt;
    const uint64_t tag = varint();
    Field field{.number = static_cast<uint32_t>(tag >> 3), .wire = static_cast<Field::Wire>(tag & 7)};
    if (field.number == 0 || tag >> 32 != 0) throw Error("expected a protocol buffer, found a field without a number");
    switch (field.wire) {
      case Field::Wire::kVarint:
        field.value = varint();
        return field;
      case Field::Wire::kFixed64:
        field.value = fixed<uint64_t>();
        return field;
      case Field::Wire::kFixed32:
        field.value = fixed<uint32_t>();
        return field;
      case Field::Wire::kBytes:
        field.body = take(varint());
        return field;
    }
    throw Error(fmt::format("expected a protocol buffer, found a field of type {}", tag & 7));
  }

 private:
  std::string_view take(uint64_t size) {
    if (size > rest_.size())
      throw Error(fmt::format("expected {} more bytes, found {}: the file is cut off", size, rest_.size()));
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  template <class T>
  T fixed() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    throw Error("expected a protocol buffer, found a number of more than 64 bits");
  }

  std::string_view rest_;
};

void expect(const Field& field, Field::Wire wire, const char* what) {
  if (field.wire != wire) throw Error(fmt::format("{}: expected another type of field", what));
}

bool flag(const Field& field, const char* what) {
  expect(field, Field::Wire::kVarint, what);
  return field.value != 0;
}

SentencePiece parse_piece(std::string_view message, size_t id) {
  const std::string where = fmt::format("piece {}", id);
  SentencePiece piece;
  FieldReader reader(message);
  while (const auto field = reader.next()) {
    if (field->number == 1) {
      expect(*field, Field::Wire::kBytes, where.c_str());
      piece.text = field->body;
    } else if (field->number == 2) {
      expect(*field, Field::Wire::kFixed32, where.c_str());
      const auto bits = static_cast<uint32_t>(field->value);
      std::memcpy(&piece.score, &bits, sizeof(bits));
    } else if (field->number == 3) {
      expect(*field, Field::Wire::kVarint, where.c_str());
      if (field->value < 1 || field->value > 6)
        throw Error(fmt::format("{}: expected a type from 1 to 6, found {}", where, field->value));
      piece.kind = static_cast<SentencePiece::Kind>(field->value);
    }
  }
  if (piece.text.empty() || piece.text.size() > kMaxPieceBytes || find_invalid_utf8(piece.text) ||
      piece.text.find('\0') != std::string::npos) {
    throw Error(fmt::format("{}: expected UTF-8 text of 1 to {} bytes, found something else", where, kMaxPieceBytes));
  }
  if (!(std::fabs(piece.score) <= kMaxScore))
    throw Error(fmt::format("{}: expected a finite score, found {}", where, piece.score));
  return piece;
}

void parse_trainer_spec(std::string_view message, SentencePieceFile& out) {
  FieldReader reader(message);
  while (const auto field = reader.next()) {
    if (field->number == 3) {
      expect(*field, Field::Wire::kVarint, "model_type");
      if (field->value < 1 || field->value > 4)
        throw Error(fmt::format("model_type: expected unigram, bpe, word or char, found {}", field->value));
      out.algorithm = static_cast<SentencePieceFile::Algorithm>(field->value);
    } else if (field->number == 24) {
      out.space_is_suffix = flag(*field, "treat_whitespace_as_suffix");
    } else if (field->number == 35) {
      out.byte_fallback = flag(*field, "byte_fallback");
    }
  }
}

void parse_normalizer_spec(std::string_view message, SentencePieceFile& out) {
  FieldReader reader(message);
  while (const auto field = reader.next()) {
    if (field->number == 2) {
      expect(*field, Field::Wire::kBytes, "precompiled_charsmap");
      check_charsmap(field->body);
      out.changes_characters = !field->body.empty();
    } else if (field->number == 3) {
      out.adds_dummy_prefix = flag(*field, "add_dummy_prefix");
    } else if (field->number == 4) {
      out.removes_extra_spaces = flag(*field, "remove_extra_whitespaces");
    } else if (field->number == 5) {
      out.escapes_spaces = flag(*field, "escape_whitespaces");
    }
  }
}

void check_pieces(const SentencePieceFile& file) {
  if (file.pieces.empty()) throw Error("expected a sentencepiece model, found no pieces");
  size_t num_unknown = 0;
  std::unordered_set<std::string_view> seen;
  for (const SentencePiece& piece : file.pieces) {
    num_unknown += piece.kind == SentencePiece::Kind::kUnknown;
    if (!seen.insert(piece.text).second) throw Error(fmt::format("piece {:?} is there twice", piece.text));
  }
  if (num_unknown != 1) throw Error(fmt::format("expected one unknown piece, found {}", num_unknown));
}

SentencePieceFile parse_file(std::string bytes) {
  SentencePieceFile out;
  SentencePieceFile unused;  // the denormalizer's flags mean nothing
  FieldReader reader(bytes);
  while (const auto field = reader.next()) {
    if (field->number != 1 && field->number != 2 && field->number != 3 && field->number != 5) continue;
    expect(*field, Field::Wire::kBytes, "model");
    if (field->number == 1) {
      if (out.pieces.size() == kMaxPieces) throw Error(fmt::format("expected at most {} pieces", kMaxPieces));
      out.pieces.push_back(parse_piece(field->body, out.pieces.size()));
    } else if (field->number == 2) {
      parse_trainer_spec(field->body, out);
    } else {
      parse_normalizer_spec(field->body, field->number == 3 ? out : unused);
    }
  }
  check_pieces(out);
  out.bytes = std::move(bytes);
  return out;
}

}  // namespace

SentencePieceFile read_sentencepiece_file(const std::filesystem::path& file) {
  try {
    if (const auto size = std::filesystem::file_size(file); size > kMaxFileBytes)
      throw Error(fmt::format("expected at most {} bytes, found {}", kMaxFileBytes, size));
    return parse_file(read_file(file));
  } catch (const std::filesystem::filesystem_error& e) {
    throw CheckpointError(fmt::format("{}: cannot be read: {}", file.string(), e.code().message()));
  } catch (const Error& e) {
    throw CheckpointError(
        fmt::format("{}: not a sentencepiece model that can be used: {}", file.string(), one_line(e.what())));
  }
}

}  // namespace qtune
