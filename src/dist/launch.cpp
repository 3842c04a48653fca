#include "qtune/dist/launch.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <optional>

#include "qtune/base/error.h"

namespace qtune {
namespace {

std::optional<int64_t> number_in(const Environment& environment, const char* name) {
  const char* text = environment(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  const std::string_view value(text);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size()) {
    throw ConfigError(
        fmt::format("{}: expected a whole number, found '{}' ---> unset it, or start with a launcher", name, value));
  }
  return number;
}

/// Names of one launcher's variables; null: it has none of that kind.
struct Variables {
  const char *launcher, *rank, *size, *local_rank, *local_size;
  std::array<const char*, 2> job;  // and the part of it that is this start
};

constexpr std::array<Variables, 4> kLaunchers{{
    {"torchrun",
     "RANK",
     "WORLD_SIZE",
     "LOCAL_RANK",
     "LOCAL_WORLD_SIZE",
     {"TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"}},
    {"Open MPI",
     "OMPI_COMM_WORLD_RANK",
     "OMPI_COMM_WORLD_SIZE",
     "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE",
     {"PMIX_NAMESPACE", nullptr}},
    {"Hydra", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", {nullptr, nullptr}},
    // Set by srun alone; SLURM_NTASKS is there in a batch script too, which is one process.
    {"Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", nullptr, {"SLURM_JOB_ID", "SLURM_STEP_ID"}},
}};

int checked(const char* name, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return static_cast<int>(value);
  throw ConfigError(fmt::format("{}: expected {} to {}, found {} ---> unset it, or start all ranks with one launcher",
                                name, least, most, value));
}

std::string job_name(const Environment& environment, const Variables& v) {
  std::string name;
  for (const char* variable : v.job) {
    const char* value = variable == nullptr ? nullptr : environment(variable);
    if (value != nullptr) name += (name.empty() ? "" : "/") + std::string(value);
  }
  return name;
}

std::optional<Launch> launch_by(const Environment& environment, const Variables& v) {
  const auto rank = number_in(environment, v.rank), size = number_in(environment, v.size);
  if (!rank && !size) return std::nullopt;
  // srun --mpi=pmi2 sets PMI_RANK too, but nothing that says who shares a host: its own variables do.
  if (std::string_view(v.launcher) == "Hydra" && environment(v.local_rank) == nullptr &&
      environment("SLURM_STEP_NUM_TASKS") != nullptr) {
    return std::nullopt;
  }
  if (!rank || !size) {
    // Slurm's rank alone is a batch script; elsewhere half of a launch is none.
    if (std::string_view(v.launcher) == "Slurm") return std::nullopt;
    throw ConfigError(
        fmt::format("{} is set, {} is not: expected both, or neither for one process ---> unset it, or "
                    "start with a launcher",
                    rank ? v.rank : v.size, rank ? v.size : v.rank));
  }
  Launch launch{.launcher = v.launcher};
  launch.world_size = checked(v.size, *size, 1, 1 << 20);
  launch.rank = checked(v.rank, *rank, 0, launch.world_size - 1);
  const auto local_size = v.local_size == nullptr ? std::nullopt : number_in(environment, v.local_size);
  const auto local_rank = number_in(environment, v.local_rank);
  // One process a host, where nothing is said.
  launch.local_world_size = local_size ? checked(v.local_size, *local_size, 1, launch.world_size) : 1;
  const int most = local_size ? launch.local_world_size - 1 : launch.world_size - 1;
  launch.local_rank = local_rank ? checked(v.local_rank, *local_rank, 0, most) : 0;
  launch.job = job_name(environment, v);
  return launch;
}

/// "2(x3),1": the tasks of each node, in order. This node's, by SLURM_NODEID.
int slurm_tasks_here(const Environment& environment) {
  const char* text = environment("SLURM_STEP_TASKS_PER_NODE");
  const int64_t node = number_in(environment, "SLURM_NODEID").value_or(0);
  if (text == nullptr) return 1;
  int64_t passed = 0;
  std::string_view rest(text);
  while (!rest.empty()) {
    const std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    int tasks = 0;
    int64_t repeats = 1;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), tasks);
    const size_t x = part.find("(x");
    if (x != std::string_view::npos) std::from_chars(part.data() + x + 2, part.data() + part.size(), repeats);
    if (error != std::errc()) break;
    passed += repeats;
    if (node < passed) return tasks;
  }
  return 1;
}

/// A port that the steps of one cluster are unlikely to share: by job and step.
int slurm_port(const Environment& environment) {
  const int64_t job = number_in(environment, "SLURM_JOB_ID").value_or(0);
  const int64_t step = number_in(environment, "SLURM_STEP_ID").value_or(0);
  return static_cast<int>(20'000 + (job * 31 + step) % 10'000);
}

void add_slurm(const Environment& environment, Launch& launch) {
  launch.local_world_size = std::min(launch.world_size, slurm_tasks_here(environment));
  if (!launch.master_addr.empty()) return;
  for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"}) {
    const char* list = environment(name);
    if (list == nullptr || *list == '\0') continue;
    launch.master_addr = expand_slurm_nodes(list).front();
    if (launch.master_port == 0) launch.master_port = slurm_port(environment);
    return;
  }
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "this host";
  return name.data();
}

/// "03-05" with its width; adds prefix03 to prefix05.
void expand_range(const std::string& list, const std::string& prefix, std::string_view range,
                  std::vector<std::string>& hosts) {
  const size_t dash = range.find('-');
  const std::string_view low = range.substr(0, dash),
                         high = dash == std::string_view::npos ? low : range.substr(dash + 1);
  int64_t first = 0, last = 0;
  const auto a = std::from_chars(low.data(), low.data() + low.size(), first);
  const auto b = std::from_chars(high.data(), high.data() + high.size(), last);
  const bool numbers = a.ec == std::errc() && a.ptr == low.data() + low.size() && b.ec == std::errc() &&
                       b.ptr == high.data() + high.size();
  if (!numbers || last < first || last - first > 1'000'000) {
    throw ConfigError(
        fmt::format("SLURM node list '{}': expected a range of numbers, found '{}' ---> set MASTER_ADDR "
                    "and MASTER_PORT",
                    list, range));
  }
  for (int64_t i = first; i <= last; ++i) hosts.push_back(fmt::format("{}{:0{}}", prefix, i, low.size()));
}

}  // namespace

std::vector<std::string> expand_slurm_nodes(const std::string& list) {
  std::vector<std::string> hosts;
  size_t at = 0;
  while (at < list.size()) {
    const size_t end = list.find_first_of(",[", at);
    const std::string prefix = list.substr(at, end - at);
    if (end == std::string::npos || list[end] == ',') {
      if (!prefix.empty()) hosts.push_back(prefix);
      at = end == std::string::npos ? list.size() : end + 1;
      continue;
    }
    const size_t close = list.find(']', end);
    if (close == std::string::npos) {
      throw ConfigError(fmt::format("SLURM node list '{}': expected a ] ---> set MASTER_ADDR and MASTER_PORT", list));
    }
    for (size_t part = end + 1; part < close;) {
      const size_t comma = std::min(list.find(',', part), close);
      expand_range(list, prefix, std::string_view(list).substr(part, comma - part), hosts);
      part = comma + 1;
    }
    at = close + 1 < list.size() && list[close + 1] == ',' ? close + 2 : close + 1;
  }
  if (hosts.empty()) throw ConfigError("SLURM node list is empty ---> set MASTER_ADDR and MASTER_PORT");
  return hosts;
}

Launch detect_launch(const Environment& environment) {
  Launch launch;
  for (const Variables& variables : kLaunchers) {
    if (const auto found = launch_by(environment, variables)) {
      launch = *found;
      break;
    }
  }
  launch.host = host_name();
  if (const char* address = environment("MASTER_ADDR")) launch.master_addr = address;
  if (const auto port = number_in(environment, "MASTER_PORT")) {
    launch.master_port = checked("MASTER_PORT", *port, 1, 65535);
  }
  const char* agent = environment("TORCHELASTIC_USE_AGENT_STORE");
  launch.agent_store = launch.launcher == "torchrun" && agent != nullptr && std::string_view(agent) == "True";
  if (launch.launcher == "Slurm") add_slurm(environment, launch);
  return launch;
}

}  // namespace qtune
