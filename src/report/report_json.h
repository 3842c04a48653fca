// What the page is told: read by page/unpack.js.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <vector>

#include "qtune/report/report.h"

namespace qtune {

/// Curves of the metrics, in means of `stride` steps.
nlohmann::ordered_json curves_json(const RunData& run, size_t max_points);
nlohmann::ordered_json evaluations_json(const RunData& run);

/// How many samples of each quadrant were judged and kept over the steps, and how samples moved from one quadrant to
/// another between two judgements. Quadrants are numbered as the enumeration has them.
nlohmann::ordered_json flow_json(const RunData& run, size_t max_points);

/// How often each sample was judged and kept.
nlohmann::ordered_json totals_json(const RunData& run);

/// The points of the plane; whole steps are left out evenly until at most `max_judgements` are left, the last one
/// never.
nlohmann::ordered_json plane_json(const RunData& run, const std::vector<size_t>& shown);
/// Indices in run.judgements.
std::vector<size_t> shown_judgements(const RunData& run, size_t max_judgements);

/// Texts of at most `max_texts` samples, and which of their tokens each shown judgement kept.
struct TextLimits {
  size_t max_texts = 0, max_bytes = 0;
};
nlohmann::ordered_json texts_json(const ReportedRun& run, const std::vector<size_t>& shown, const TextLimits& limits);

}  // namespace qtune
