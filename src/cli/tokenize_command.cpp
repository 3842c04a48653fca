// qtune tokenize: lines of text to token ids and back, on stdin and stdout.
#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "commands.h"
#include "number_range.h"
#include "qtune/base/error.h"
#include "qtune/text/tokenizer.h"
#include "streams.h"
#include "tokenize_workers.h"

namespace qtune {
namespace {

struct TokenizeFlags {
  std::string model;
  bool json = false;
  bool decode = false;
  int threads = 1;
  bool time = false;
};

// a batch of lines is read, worked on by all threads, then written
constexpr size_t kBatchLines = 16'384, kBatchBytes = size_t{4} << 20;

/// One line on its way: what was read, what it means, what it became.
struct Line {
  std::string input, output;
  std::string text;          // to encode, or decoded
  std::vector<int32_t> ids;  // to decode, or encoded
  std::string fault;         // what is wrong with it; empty: nothing
};

/// What a faulty line is answered with; run_tokenize adds its number.
[[noreturn]] void refuse(const char* expected, std::string_view found) {
  const std::string shown =
      nlohmann::json(found.substr(0, 80)).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  throw DataError(fmt::format("expected {}, found {}{}", expected, shown, found.size() > 80 ? "..." : ""));
}

std::vector<int32_t> parse_ids(const std::string& line) {
  std::vector<int32_t> ids;
  const char *p = line.data(), *end = p + line.size();
  while (true) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r')) ++p;
    if (p == end) return ids;
    int32_t id = 0;
    const auto [next, error] = std::from_chars(p, end, id);
    if (error != std::errc{} || (next < end && *next != ' ' && *next != '\t' && *next != '\r')) {
      refuse("token ids with spaces between them", line);
    }
    ids.push_back(id);
    p = next;
  }
}

nlohmann::json parse_json(const std::string& line, const char* expected) {
  nlohmann::json value = nlohmann::json::parse(line, nullptr, false);
  if (value.is_discarded()) refuse(expected, line);
  return value;
}

std::vector<int32_t> parse_json_ids(const std::string& line) {
  constexpr const char* kExpected = "a JSON array of token ids";
  const nlohmann::json value = parse_json(line, kExpected);
  if (!value.is_array()) refuse(kExpected, line);
  std::vector<int32_t> ids;
  ids.reserve(value.size());
  for (const auto& id : value) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) refuse(kExpected, line);
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

void parse(const Tokenizer& tokenizer, const TokenizeFlags& flags, Line& line) {
  if (flags.decode) {
    line.ids = flags.json ? parse_json_ids(line.input) : parse_ids(line.input);
    for (const int32_t id : line.ids) {
      if (!tokenizer.id_to_token(id))
        throw DataError(fmt::format("expected ids of this tokenizer's vocabulary, found {}", id));
    }
  } else if (flags.json) {
    nlohmann::json value = parse_json(line.input, "a JSON string");
    if (!value.is_string()) refuse("a JSON string", line.input);
    line.text = std::move(value.get_ref<std::string&>());
  } else {
    line.text = std::move(line.input);
  }
}

void convert(const Tokenizer& tokenizer, const TokenizeFlags& flags, Line& line) {
  if (flags.decode) {
    line.text = tokenizer.decode(line.ids);
  } else {
    line.ids = tokenizer.encode(line.text);
  }
}

void format(const TokenizeFlags& flags, Line& line) {
  std::string& out = line.output;
  if (flags.decode) {
    out = flags.json ? nlohmann::json(line.text).dump() : std::move(line.text);
  } else {
    if (flags.json) out += '[';
    for (size_t i = 0; i < line.ids.size(); ++i) {
      if (i > 0) out += flags.json ? ", " : " ";
      const fmt::format_int digits(line.ids[i]);
      out.append(digits.data(), digits.size());
    }
    if (flags.json) out += ']';
  }
  out += '\n';
}

/// Reads lines up to the limits of a batch; none at the end of the input.
std::vector<Line> read_batch() {
  std::vector<Line> batch;
  size_t bytes = 0;
  for (std::string line; batch.size() < kBatchLines && bytes < kBatchBytes && std::getline(std::cin, line);) {
    bytes += line.size();
    batch.push_back({.input = std::move(line)});
  }
  return batch;
}

class Run {
 public:
  explicit Run(const TokenizeFlags& flags)
      : flags_(flags), tokenizer_(Tokenizer::load_tokenizer(flags.model)), workers_(flags.threads) {}

  void work_on(std::vector<Line>& batch) {
    each(batch, [&](Line& line) { parse(*tokenizer_, flags_, line); });
    const auto start = std::chrono::steady_clock::now();
    each(batch, [&](Line& line) { convert(*tokenizer_, flags_, line); });
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    each(batch, [&](Line& line) { format(flags_, line); });
  }

  /// What came before a faulty line is written.
  void write(const std::vector<Line>& batch) {
    for (const Line& line : batch) {
      ++num_lines_;
      if (!line.fault.empty()) throw DataError(fmt::format("stdin:{}: {}", num_lines_, line.fault));
      num_tokens_ += line.ids.size();
      write_output(line.output);
    }
  }

  void report_time() const {
    std::cerr << fmt::format("{} lines, {} tokens, {:.6f} s, {:.0f} tokens/s\n", num_lines_, num_tokens_, seconds_,
                             seconds_ > 0 ? static_cast<double>(num_tokens_) / seconds_ : 0.0);
  }

 private:
  template <class Fn>
  void each(std::vector<Line>& batch, const Fn& work) {
    workers_.for_each_index(batch.size(), [&](size_t i) {
      if (!batch[i].fault.empty()) return;
      try {
        work(batch[i]);
      } catch (const DataError& e) {
        batch[i].fault = e.what();
      }
    });
  }

  const TokenizeFlags& flags_;
  std::unique_ptr<Tokenizer> tokenizer_;
  TokenizeWorkers workers_;
  double seconds_ = 0;
  size_t num_lines_ = 0, num_tokens_ = 0;
};

int run_tokenize(const TokenizeFlags& flags) {
  Run run(flags);
  std::ios::sync_with_stdio(false);
  while (true) {
    std::vector<Line> batch = read_batch();
    if (batch.empty()) break;
    run.work_on(batch);
    run.write(batch);
  }
  flush_output();
  if (flags.time) run.report_time();
  return kExitOk;
}

}  // namespace

void add_tokenize_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("tokenize", "Text lines on stdin to token ids on stdout, or the reverse");
  const auto flags = std::make_shared<TokenizeFlags>();
  command->add_option("--model", flags->model, "Folder that holds tokenizer.json or tokenizer.model")->required();
  command->add_flag("--json", flags->json,
                    "A JSON string a line in, a JSON array of ids a line out (texts may hold line ends)");
  command->add_flag("--decode", flags->decode, "Ids in, text out");
  command->add_option("--threads", flags->threads, "Threads that work at once; the order of lines stays")
      ->check(number_between(1, 1024));
  command->add_flag("--time", flags->time,
                    "Says on stderr how long the conversion itself took, without reading, parsing and writing");
  command->callback([flags, &action] { action = [flags] { return run_tokenize(*flags); }; });
}

}  // namespace qtune
