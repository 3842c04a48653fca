// Ratings of samples that were made elsewhere, as a file: by a language model as judge (AlpaGasus, arXiv 2307.08701;
// DS2, arXiv 2410.10877), by complexity and quality (Deita, arXiv 2312.15685), by gradients (LESS, arXiv 2402.04333).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace qtune {

/// One JSON object {"id", "score"} a line; other keys are not looked at, blank lines are passed over. The ids are the
/// records' own (a number stands for its digits), else "file:line" as `qtune score` prints it.
class Ratings {
 public:
  /// Throws: DataError with file:line for broken JSON, a missing or repeated id, a score that is no finite number, and
  /// naming the file when it can't be read or rates nothing.
  explicit Ratings(const std::filesystem::path& file);

  /// Throws: DataError naming the file and the sample without a score, and the id that would be the same place were its
  /// path written alike. `place`: of the sample, for the message; may be
  /// empty.
  double of(std::string_view id, const std::string& place = {}) const;

 private:
  struct Rating {
    double score;
    int64_t line;
  };

  void add_line(const std::string& text, int64_t number);
  /// The first rated id "path:line" whose file name and line are those of `id`; "" where there is none.
  std::string same_place(std::string_view id) const;

  std::string name_;
  std::map<std::string, Rating, std::less<>> ratings_;
};

}  // namespace qtune
