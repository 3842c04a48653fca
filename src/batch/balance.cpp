#include "qtune/batch/balance.h"

#include <algorithm>
#include <numeric>

namespace qtune {
namespace {

/// An assignment while it is made better.
class Assignment {
 public:
  Assignment(std::span<const int64_t> tokens, int world_size)
      : tokens_(tokens), rank_of_(tokens.size(), 0), sums_(static_cast<size_t>(world_size), 0) {
    std::vector<size_t> order(tokens.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return tokens[a] > tokens[b]; });
    for (const size_t i : order) {
      const auto least = std::min_element(sums_.begin(), sums_.end());
      rank_of_[i] = static_cast<int>(least - sums_.begin());
      *least += tokens[i];
    }
  }

  /// Lowers the fullest rank by the move or swap that leaves the larger of the two ranks lowest. False: none lowers it.
  bool improve() {
    const int full = static_cast<int>(std::max_element(sums_.begin(), sums_.end()) - sums_.begin());
    int64_t best = sum(full);
    size_t given = tokens_.size(), taken = tokens_.size();
    int partner = full;
    const auto consider = [&](size_t i, size_t j, int other, int64_t difference) {
      const int64_t larger = std::max(sum(full) - difference, sum(other) + difference);
      if (difference <= 0 || larger >= best) return;
      best = larger;
      given = i;
      taken = j;
      partner = other;
    };
    for (size_t i = 0; i < tokens_.size(); ++i) {
      if (rank_of_[i] != full) continue;
      for (int other = 0; other < static_cast<int>(sums_.size()); ++other) {
        if (other != full) consider(i, tokens_.size(), other, tokens_[i]);
      }
      for (size_t j = 0; j < tokens_.size(); ++j) {
        if (rank_of_[j] != full) consider(i, j, rank_of_[j], tokens_[i] - tokens_[j]);
      }
    }
    if (given == tokens_.size()) return false;
    move(given, partner);
    if (taken != tokens_.size()) move(taken, full);
    return true;
  }

  /// Looks for a better one among all, longest samples first, leaving out what can't be better: to the end where the
  /// samples are few, as long as `most_tries` last otherwise.
  void search(int64_t most_tries) {
    std::vector<size_t> order(tokens_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return tokens_[a] > tokens_[b]; });
    const int64_t total = std::accumulate(tokens_.begin(), tokens_.end(), int64_t{0});
    const auto n = static_cast<int64_t>(sums_.size());
    Search found{.order = order,
                 .tries_left = most_tries,
                 .least_possible = (total + n - 1) / n,
                 .best = *std::max_element(sums_.begin(), sums_.end()),
                 .ranks = rank_of_,
                 .sums = std::vector<int64_t>(sums_.size(), 0)};
    extend(found, 0);
  }

  std::vector<int> ranks() && { return std::move(rank_of_); }

 private:
  struct Search {
    const std::vector<size_t>& order;
    int64_t tries_left, least_possible, best;
    std::vector<int> ranks;
    std::vector<int64_t> sums;
  };
  /// Gives the samples from order[depth] on to ranks in every way that may lower the best so far.
  void extend(Search& s, size_t depth) {
    if (depth == s.order.size()) {
      s.best = *std::max_element(s.sums.begin(), s.sums.end());
      rank_of_ = s.ranks;
      return;
    }
    const size_t i = s.order[depth];
    for (size_t rank = 0; rank < s.sums.size() && s.best > s.least_possible && s.tries_left > 0; ++rank) {
      // Ranks of equal sums are the same to the rest.
      if (std::find(s.sums.begin(), s.sums.begin() + static_cast<int64_t>(rank), s.sums[rank]) !=
          s.sums.begin() + static_cast<int64_t>(rank)) {
        continue;
      }
      if (s.sums[rank] + tokens_[i] >= s.best) continue;
      --s.tries_left;
      s.ranks[i] = static_cast<int>(rank);
      s.sums[rank] += tokens_[i];
      extend(s, depth + 1);
      s.sums[rank] -= tokens_[i];
    }
  }
  int64_t sum(int rank) const { return sums_[static_cast<size_t>(rank)]; }
  void move(size_t sample, int rank) {
    sums_[static_cast<size_t>(rank_of_[sample])] -= tokens_[sample];
    sums_[static_cast<size_t>(rank)] += tokens_[sample];
    rank_of_[sample] = rank;
  }

  std::span<const int64_t> tokens_;
  std::vector<int> rank_of_;
  std::vector<int64_t> sums_;
};

}  // namespace

std::vector<int> balance_by_tokens(std::span<const int64_t> num_tokens, int world_size) {
  Assignment assignment(num_tokens, world_size);
  // Each round costs samples squared over ranks; large steps are even after a few.
  for (int round = 0; round < 200 && assignment.improve(); ++round) {
  }
  constexpr int64_t kMostTries = 50'000;  // about a millisecond
  assignment.search(kMostTries);
  return std::move(assignment).ranks();
}

}  // namespace qtune
