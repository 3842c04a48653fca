// tensorflow.Event messages as bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protobuf_message.h"

namespace qtune {

/// A TFRecord: length, its masked CRC-32C, the bytes, their masked CRC-32C.
std::string tfrecord(std::string_view bytes);

/// What a summary's values are collected in.
class SummaryMessage {
 public:
  void add_scalar(std::string_view tag, double value);
  /// Empty: nothing is added. Buckets grow by a tenth, as TensorFlow's do.
  void add_histogram(std::string_view tag, std::span<const double> finite_values);
  void add_text(std::string_view tag, std::string_view markdown);

  const ProtobufMessage& message() const { return summary_; }

 private:
  ProtobufMessage summary_;
};

/// The first record of a file.
std::string version_record();
/// A session begins: TensorBoard forgets what earlier files hold from `first_step` on.
std::string start_record(int64_t first_step);
std::string summary_record(int64_t step, const SummaryMessage& summary);

}  // namespace qtune
