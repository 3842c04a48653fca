#include "event_message.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <limits>
#include <numeric>

#include "qtune/base/crc32c.h"

namespace qtune {
namespace {

// Field numbers of event.proto, summary.proto, histogram.proto, tensor.proto, types.proto.
struct Event {
  enum : uint32_t { kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7 };
};
struct SessionLog {
  enum : uint32_t { kStatus = 1 };
  static constexpr int64_t kStart = 1;
};
struct Summary {
  enum : uint32_t { kValue = 1 };
};
struct Value {
  enum : uint32_t { kTag = 1, kSimpleValue = 2, kHistogram = 5, kTensor = 8, kMetadata = 9 };
};
struct Histogram {
  enum : uint32_t { kMin = 1, kMax = 2, kCount = 3, kSum = 4, kSumOfSquares = 5, kBucketLimit = 6, kBucket = 7 };
};
struct Tensor {
  enum : uint32_t { kDtype = 1, kShape = 2, kStringValue = 8 };
  static constexpr int64_t kString = 7;
};

ProtobufMessage event(int64_t step) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  ProtobufMessage message;
  message.add_double(Event::kWallTime, std::chrono::duration<double>(now).count());
  message.add_integer(Event::kStep, step);
  return message;
}

void add_little_endian(std::string& bytes, uint64_t value, int num_bytes) {
  for (int i = 0; i < num_bytes; ++i) bytes += static_cast<char>(value >> (8 * i));
}

/// A CRC over bytes that hold CRCs is a poor one, so the format stores them rotated and shifted.
uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8U; }

/// Upper ends of the buckets: up to 1e-12, then a tenth more each, then all the rest.
const std::vector<double>& bucket_limits() {
  static const std::vector<double> limits = [] {
    std::vector<double> list;
    for (double limit = 1e-12; limit < 1e36; limit *= 1.1) list.push_back(limit);
    list.push_back(std::numeric_limits<double>::max());
    return list;
  }();
  return limits;
}

void add_buckets(ProtobufMessage& histogram, std::span<const double> values) {
  const std::vector<double>& limits = bucket_limits();
  std::vector<double> counts(limits.size());
  for (const double v : values) ++counts[static_cast<size_t>(std::ranges::lower_bound(limits, v) - limits.begin())];
  std::vector<double> used_limits, used_counts;
  for (size_t i = 0; i < limits.size(); ++i) {
    // A run of empty buckets is one bucket; before the first value and behind the last there is none.
    const bool empty = counts[i] == 0;
    if (empty && used_counts.empty()) continue;
    if (empty && used_counts.back() == 0) {
      used_limits.back() = limits[i];
      continue;
    }
    used_limits.push_back(limits[i]);
    used_counts.push_back(counts[i]);
  }
  if (used_counts.back() == 0) {
    used_limits.pop_back();
    used_counts.pop_back();
  }
  histogram.add_packed_doubles(Histogram::kBucketLimit, used_limits);
  histogram.add_packed_doubles(Histogram::kBucket, used_counts);
}

}  // namespace

std::string tfrecord(std::string_view bytes) {
  std::string record;
  add_little_endian(record, bytes.size(), 8);
  add_little_endian(record, masked_crc32c(record), 4);
  record += bytes;
  add_little_endian(record, masked_crc32c(bytes), 4);
  return record;
}

void SummaryMessage::add_scalar(std::string_view tag, double value) {
  ProtobufMessage scalar;
  scalar.add_bytes(Value::kTag, tag);
  scalar.add_float(Value::kSimpleValue, static_cast<float>(value));
  summary_.add_message(Summary::kValue, scalar);
}

void SummaryMessage::add_histogram(std::string_view tag, std::span<const double> finite_values) {
  if (finite_values.empty()) return;
  const auto [least, most] = std::ranges::minmax(finite_values);
  ProtobufMessage histogram;
  histogram.add_double(Histogram::kMin, least);
  histogram.add_double(Histogram::kMax, most);
  histogram.add_double(Histogram::kCount, static_cast<double>(finite_values.size()));
  histogram.add_double(Histogram::kSum, std::accumulate(finite_values.begin(), finite_values.end(), 0.0));
  histogram.add_double(Histogram::kSumOfSquares,
                       std::inner_product(finite_values.begin(), finite_values.end(), finite_values.begin(), 0.0));
  add_buckets(histogram, finite_values);
  ProtobufMessage value;
  value.add_bytes(Value::kTag, tag);
  value.add_message(Value::kHistogram, histogram);
  summary_.add_message(Summary::kValue, value);
}

void SummaryMessage::add_text(std::string_view tag, std::string_view markdown) {
  ProtobufMessage dimension, shape, tensor, plugin, metadata, value;
  dimension.add_integer(1, 1);  // size
  shape.add_message(2, dimension);
  tensor.add_integer(Tensor::kDtype, Tensor::kString);
  tensor.add_message(Tensor::kShape, shape);
  tensor.add_bytes(Tensor::kStringValue, markdown);
  plugin.add_bytes(1, "text");  // plugin_name
  metadata.add_message(1, plugin);
  value.add_bytes(Value::kTag, tag);
  value.add_message(Value::kTensor, tensor);
  value.add_message(Value::kMetadata, metadata);
  summary_.add_message(Summary::kValue, value);
}

std::string version_record() {
  ProtobufMessage message = event(0);
  message.add_bytes(Event::kFileVersion, "brain.Event:2");
  return tfrecord(message.bytes());
}

std::string start_record(int64_t first_step) {
  ProtobufMessage log, message = event(first_step);
  log.add_integer(SessionLog::kStatus, SessionLog::kStart);
  message.add_message(Event::kSessionLog, log);
  return tfrecord(message.bytes());
}

std::string summary_record(int64_t step, const SummaryMessage& summary) {
  ProtobufMessage message = event(step);
  message.add_message(Event::kSummary, summary.message());
  return tfrecord(message.bytes());
}

}  // namespace qtune
