// From items to a task's results.
#pragma once

#include <map>
#include <vector>

#include "qtune/eval/run_task.h"

namespace qtune {

/// Means over the task's items, metric by metric in the order of their first appearance. An item without a metric does
/// not count for it.
std::vector<MetricResult> mean_metrics(const PreparedTask& task, const std::map<size_t, nlohmann::ordered_json>& items);

}  // namespace qtune
