// .parquet through Arrow: the one file that includes Arrow's headers.
#ifdef QTUNE_HAVE_ARROW

#include <arrow/api.h>
#include <arrow/extension_type.h>
#include <arrow/io/file.h>
#include <fmt/format.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>

#include "qtune/data/record_reader.h"
#include "record_source.h"

namespace qtune {
namespace {

constexpr int64_t kRowsAtOnce = 256;
constexpr int64_t kMaxArrowBytes = int64_t{4} << 30;  // a damaged file can claim pages of any size
constexpr int kMaxDepth = 128;                        // of nested columns

/// Arrow's first line, printable.
std::string reason_of(const std::string& message) {
  std::string reason = message.substr(0, std::min(message.find('\n'), size_t{200}));
  for (char& c : reason) {
    if (c < ' ' || c > '~') c = '?';
  }
  return reason;
}

DataError unreadable(const std::string& file, const std::string& what) {
  return DataError(
      fmt::format("{}: expected a readable .parquet file, found: {} ---> write it again", file, reason_of(what)));
}

void check(const std::string& file, const arrow::Status& status) {
  if (!status.ok()) throw unreadable(file, status.message());
}

template <class T>
T check(const std::string& file, arrow::Result<T> result) {
  check(file, result.status());
  return std::move(result).ValueUnsafe();
}

/// A row's value could not be turned into JSON; the caller knows the row.
struct BadValue {
  std::string what;
};

template <class Json>
class RowConverter {
 public:
  Json row(const arrow::RecordBatch& batch, int64_t i) {
    Json object = Json::object();
    for (int c = 0; c < batch.num_columns(); ++c) {
      try {
        object[batch.column_name(c)] = value(*batch.column(c), i, 0);
      } catch (BadValue& e) {
        e.what += fmt::format(" in column \"{}\"", reason_of(batch.column_name(c)));
        throw;
      }
    }
    return object;
  }

 private:
  template <class Array>
  static const Array& as(const arrow::Array& array) {
    return static_cast<const Array&>(array);
  }

  static Json text(std::string_view view) {
    const size_t bad = find_bad_utf8(view);
    if (bad < view.size()) throw BadValue{fmt::format("invalid UTF-8 at byte {}", bad + 1)};
    return Json(std::string(view));
  }

  Json list(const arrow::Array& values, int64_t first, int64_t count, int depth) {
    Json result = Json::array();
    for (int64_t k = first; k < first + count; ++k) result.push_back(value(values, k, depth));
    return result;
  }

  template <class Array>
  Json list_of(const arrow::Array& array, int64_t i, int depth) {
    const auto& lists = as<Array>(array);
    return list(*lists.values(), lists.value_offset(i), lists.value_length(i), depth);
  }

  Json object(const arrow::StructArray& array, int64_t i, int depth) {
    Json result = Json::object();
    for (int f = 0; f < array.num_fields(); ++f) {
      result[array.type()->field(f)->name()] = value(*array.field(f), i, depth);
    }
    return result;
  }

  Json value(const arrow::Array& array, int64_t i, int depth) {
    if (depth > kMaxDepth) throw BadValue{"too many nested columns"};
    if (array.IsNull(i)) return nullptr;
    using arrow::Type;
    switch (array.type_id()) {
      case Type::NA:
        return nullptr;
      case Type::BOOL:
        return as<arrow::BooleanArray>(array).Value(i);
      case Type::INT8:
        return as<arrow::Int8Array>(array).Value(i);
      case Type::INT16:
        return as<arrow::Int16Array>(array).Value(i);
      case Type::INT32:
        return as<arrow::Int32Array>(array).Value(i);
      case Type::INT64:
        return as<arrow::Int64Array>(array).Value(i);
      case Type::UINT8:
        return as<arrow::UInt8Array>(array).Value(i);
      case Type::UINT16:
        return as<arrow::UInt16Array>(array).Value(i);
      case Type::UINT32:
        return as<arrow::UInt32Array>(array).Value(i);
      case Type::UINT64:
        return as<arrow::UInt64Array>(array).Value(i);
      case Type::FLOAT:
        return as<arrow::FloatArray>(array).Value(i);
      case Type::DOUBLE:
        return as<arrow::DoubleArray>(array).Value(i);
      case Type::STRING:
      case Type::BINARY:
        return text(as<arrow::BinaryArray>(array).GetView(i));
      case Type::LARGE_STRING:
      case Type::LARGE_BINARY:
        return text(as<arrow::LargeBinaryArray>(array).GetView(i));
      case Type::STRING_VIEW:
      case Type::BINARY_VIEW:
        return text(as<arrow::BinaryViewArray>(array).GetView(i));
      case Type::LIST:
      case Type::MAP:
        return list_of<arrow::ListArray>(array, i, depth + 1);
      case Type::LARGE_LIST:
        return list_of<arrow::LargeListArray>(array, i, depth + 1);
      case Type::FIXED_SIZE_LIST:
        return list_of<arrow::FixedSizeListArray>(array, i, depth + 1);
      case Type::STRUCT:
        return object(as<arrow::StructArray>(array), i, depth + 1);
      case Type::DICTIONARY: {
        const auto& indices = as<arrow::DictionaryArray>(array);
        const int64_t index = indices.GetValueIndex(i);
        if (index < 0 || index >= indices.dictionary()->length()) throw BadValue{"an index outside its dictionary"};
        return value(*indices.dictionary(), index, depth + 1);
      }
      case Type::EXTENSION:
        return value(*as<arrow::ExtensionArray>(array).storage(), i, depth + 1);
      default:
        break;
    }
    // Dates, decimals and the like: as Arrow prints them.
    const auto scalar = array.GetScalar(i);
    if (!scalar.ok()) throw BadValue{reason_of(scalar.status().message())};
    return text((*scalar)->ToString());
  }
};

class ParquetSource : public RecordSource {
 public:
  ParquetSource(const std::string& file, const std::set<std::string>& columns)
      : file_(file), pool_(arrow::default_memory_pool(), kMaxArrowBytes) {
    guarded([&] { open(columns); });
  }

  bool advance() override {
    ++row_;
    while (batch_ == nullptr || row_ >= batch_->num_rows()) {
      guarded([&] { batch_ = check(file_, batches_->Next()); });
      if (batch_ == nullptr) return false;
      row_ = 0;
    }
    ++line_;
    return true;
  }

  int64_t line() const override { return line_; }

  void parse(JsonRecord& record) override {
    record.line = line_;
    record.place = place();
    record.value = convert<nlohmann::json>();
  }

  std::string text() override {
    return convert<nlohmann::ordered_json>().dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }

 private:
  std::string place() const { return fmt::format("{}:{}", file_, line_); }

  /// Arrow throws as well as returning a Status.
  template <class Step>
  void guarded(const Step& step) {
    try {
      step();
    } catch (const DataError&) {
      throw;
    } catch (const std::exception& e) {
      throw unreadable(file_, e.what());
    }
  }

  void open(const std::set<std::string>& columns) {
    const auto input = check(file_, arrow::io::ReadableFile::Open(file_, &pool_));
    parquet::ReaderProperties properties(&pool_);
    // Page by page, not whole column chunks: memory is not that of a row group.
    properties.enable_buffered_stream();
    properties.set_page_checksum_verification(true);
    parquet::arrow::FileReaderBuilder builder;
    check(file_, builder.Open(input, properties));
    parquet::ArrowReaderProperties arrow_properties(/*use_threads=*/false);
    arrow_properties.set_batch_size(kRowsAtOnce);
    arrow_properties.set_pre_buffer(false);
    check(file_, builder.memory_pool(&pool_)->properties(arrow_properties)->Build(&reader_));
    std::vector<int> row_groups(static_cast<size_t>(reader_->num_row_groups()));
    std::iota(row_groups.begin(), row_groups.end(), 0);
    batches_ = check(file_, reader_->GetRecordBatchReader(row_groups, leaves_of(columns)));
  }

  /// Parquet counts leaf columns; a top-level column of lists or structs has several.
  std::vector<int> leaves_of(const std::set<std::string>& columns) const {
    const parquet::SchemaDescriptor& schema = *reader_->parquet_reader()->metadata()->schema();
    std::vector<int> all, wanted;
    for (int i = 0; i < schema.num_columns(); ++i) {
      all.push_back(i);
      if (columns.count(schema.GetColumnRoot(i)->name()) > 0) wanted.push_back(i);
    }
    if (all.empty()) throw unreadable(file_, "no columns");
    return wanted.empty() ? all : wanted;
  }

  template <class Json>
  Json convert() {
    try {
      return RowConverter<Json>().row(*batch_, row_);
    } catch (const BadValue& e) {
      throw BadRecord(fmt::format("{}: expected values that JSON can hold, found {}", place(), e.what));
    }
  }

  std::string file_;
  arrow::CappedMemoryPool pool_;
  std::unique_ptr<parquet::arrow::FileReader> reader_;
  std::unique_ptr<arrow::RecordBatchReader> batches_;
  std::shared_ptr<arrow::RecordBatch> batch_;
  int64_t row_ = -1, line_ = 0;
};

}  // namespace

bool parquet_supported() { return true; }

std::unique_ptr<RecordSource> open_parquet(const std::string& file, const std::set<std::string>& columns) {
  return std::make_unique<ParquetSource>(file, columns);
}

}  // namespace qtune

#endif  // QTUNE_HAVE_ARROW
