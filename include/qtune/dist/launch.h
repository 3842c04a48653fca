// Which of how many processes this one is, as its launcher says in environment variables.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace qtune {

/// One process by itself: the defaults.
struct Launch {
  int rank = 0, world_size = 1;
  int local_rank = 0, local_world_size = 1;  // among those of this host
  std::string launcher;                      // "torchrun", "Open MPI", "Hydra", "Slurm"; empty: none
  std::string host;                          // this machine's name, for messages
  /// Where rank 0 listens. Empty and 0 where the launcher does not say; rendezvous then finds them.
  std::string master_addr;
  int master_port = 0;
  /// What tells this start of this job from all others; empty: the launcher gives no name.
  std::string job;
  /// The store at master_addr is torchrun's own, and outlives ranks and restarts: rank 0 connects like the others.
  bool agent_store = false;
};

/// A variable's value, or null.
using Environment = std::function<const char*(const char*)>;

/// Reads, in this order, torchrun's variables (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE), Open MPI's
/// (OMPI_COMM_WORLD_*), Hydra's, as MPICH and Intel MPI start processes (PMI_RANK, PMI_SIZE, MPI_LOCALRANKID,
/// MPI_LOCALNRANKS), and those of a Slurm step (SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID). MASTER_ADDR and
/// MASTER_PORT hold with any of them. A job of Slurm without srun is one process.
/// Throws: ConfigError naming a variable that is missing, no number, or out of range.
Launch detect_launch(const Environment& environment);

/// The hosts of a Slurm list: "a[01-03,7],b" is a01, a02, a03, a7, b.
/// Throws: ConfigError for brackets that do not close and ranges that are none.
std::vector<std::string> expand_slurm_nodes(const std::string& list);

}  // namespace qtune
