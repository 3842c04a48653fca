#include "qtune/dist/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "qtune/base/error.h"

namespace qtune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

Launch launch_with(const Variables& variables) {
  return detect_launch([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string fault_of(const Variables& variables) {
  try {
    launch_with(variables);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

TEST(Launch, WithoutVariablesItIsOneProcess) {
  const Launch launch = launch_with({});
  EXPECT_EQ(launch.world_size, 1);
  EXPECT_EQ(launch.rank, 0);
  EXPECT_EQ(launch.launcher, "");
  EXPECT_NE(launch.host, "");
}

TEST(Launch, TorchrunSaysAll) {
  const Launch launch = launch_with({{"RANK", "5"},
                                     {"WORLD_SIZE", "8"},
                                     {"LOCAL_RANK", "1"},
                                     {"LOCAL_WORLD_SIZE", "4"},
                                     {"MASTER_ADDR", "node7"},
                                     {"MASTER_PORT", "1234"}});
  EXPECT_EQ(launch.launcher, "torchrun");
  EXPECT_EQ(launch.rank, 5);
  EXPECT_EQ(launch.world_size, 8);
  EXPECT_EQ(launch.local_rank, 1);
  EXPECT_EQ(launch.local_world_size, 4);
  EXPECT_EQ(launch.master_addr, "node7");
  EXPECT_EQ(launch.master_port, 1234);
}

TEST(Launch, AStartOfTorchrunIsToldFromTheOneBefore) {
  Variables variables{{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"TORCHELASTIC_RUN_ID", "night"}};
  variables["TORCHELASTIC_RESTART_COUNT"] = "1";
  EXPECT_EQ(launch_with(variables).job, "night/1");
  EXPECT_FALSE(launch_with(variables).agent_store);
  variables["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  EXPECT_TRUE(launch_with(variables).agent_store);
}

TEST(Launch, OpenMpiAndHydraLeaveTheAddressOpen) {
  const Launch open_mpi = launch_with({{"OMPI_COMM_WORLD_RANK", "2"},
                                       {"OMPI_COMM_WORLD_SIZE", "3"},
                                       {"PMIX_NAMESPACE", "4711"},
                                       {"OMPI_COMM_WORLD_LOCAL_RANK", "0"},
                                       {"OMPI_COMM_WORLD_LOCAL_SIZE", "1"}});
  EXPECT_EQ(open_mpi.launcher, "Open MPI");
  EXPECT_EQ(open_mpi.rank, 2);
  EXPECT_EQ(open_mpi.world_size, 3);
  EXPECT_EQ(open_mpi.master_addr, "");
  EXPECT_EQ(open_mpi.job, "4711");
  const Launch hydra = launch_with(
      {{"PMI_RANK", "1"}, {"PMI_SIZE", "4"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}, {"PMI_FD", "7"}});
  EXPECT_EQ(hydra.launcher, "Hydra");
  EXPECT_EQ(hydra.rank, 1);
  EXPECT_EQ(hydra.local_world_size, 2);
}

TEST(Launch, AnAddressGivenByHandHoldsUnderAnyLauncher) {
  const Launch launch = launch_with({{"OMPI_COMM_WORLD_RANK", "0"},
                                     {"OMPI_COMM_WORLD_SIZE", "2"},
                                     {"MASTER_ADDR", "10.0.0.1"},
                                     {"MASTER_PORT", "999"}});
  EXPECT_EQ(launch.master_addr, "10.0.0.1");
  EXPECT_EQ(launch.master_port, 999);
}

TEST(Launch, AStepOfSlurmListensAtItsFirstHost) {
  const Launch launch = launch_with({{"SLURM_PROCID", "5"},
                                     {"SLURM_STEP_NUM_TASKS", "6"},
                                     {"SLURM_LOCALID", "0"},
                                     {"SLURM_NODEID", "2"},
                                     {"SLURM_STEP_TASKS_PER_NODE", "2(x2),1,1"},
                                     {"SLURM_STEP_NODELIST", "gpu[09-11],b"},
                                     {"SLURM_JOB_ID", "1234"},
                                     {"SLURM_STEP_ID", "0"}});
  EXPECT_EQ(launch.launcher, "Slurm");
  EXPECT_EQ(launch.rank, 5);
  EXPECT_EQ(launch.local_world_size, 1);
  EXPECT_EQ(launch.master_addr, "gpu09");
  EXPECT_GE(launch.master_port, 20'000);
  EXPECT_LT(launch.master_port, 30'000);
}

TEST(Launch, AStepOfSlurmWithPmi2IsSlurms) {
  const Launch launch = launch_with({{"PMI_RANK", "1"},
                                     {"PMI_SIZE", "4"},
                                     {"SLURM_PROCID", "1"},
                                     {"SLURM_STEP_NUM_TASKS", "4"},
                                     {"SLURM_LOCALID", "1"},
                                     {"SLURM_STEP_TASKS_PER_NODE", "2(x2)"},
                                     {"SLURM_STEP_NODELIST", "n[1-2]"}});
  EXPECT_EQ(launch.launcher, "Slurm");
  EXPECT_EQ(launch.local_rank, 1);
  EXPECT_EQ(launch.local_world_size, 2);
}

TEST(Launch, ABatchScriptOfSlurmIsOneProcess) {
  EXPECT_EQ(launch_with({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "1"}}).world_size, 1);
}

TEST(Launch, WrongVariablesAreNamed) {
  EXPECT_THAT(fault_of({{"RANK", "1"}}), HasSubstr("RANK is set, WORLD_SIZE is not"));
  EXPECT_THAT(fault_of({{"RANK", "x"}, {"WORLD_SIZE", "2"}}), HasSubstr("RANK: expected a whole number, found 'x'"));
  EXPECT_THAT(fault_of({{"RANK", "2"}, {"WORLD_SIZE", "2"}}), HasSubstr("RANK: expected 0 to 1, found 2"));
  EXPECT_THAT(fault_of({{"RANK", "0"}, {"WORLD_SIZE", "0"}}), HasSubstr("WORLD_SIZE: expected 1 to"));
  EXPECT_THAT(fault_of({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "3"}, {"LOCAL_WORLD_SIZE", "2"}}),
              HasSubstr("LOCAL_RANK: expected 0 to 1, found 3"));
  EXPECT_THAT(fault_of({{"MASTER_PORT", "70000"}}), HasSubstr("MASTER_PORT: expected 1 to 65535, found 70000"));
  EXPECT_THAT(fault_of({{"OMPI_COMM_WORLD_RANK", "99999999999999999999"}, {"OMPI_COMM_WORLD_SIZE", "2"}}),
              HasSubstr("OMPI_COMM_WORLD_RANK: expected a whole number"));
}

TEST(SlurmNodes, BracketsExpandWithTheirZeros) {
  EXPECT_THAT(expand_slurm_nodes("a"), ElementsAre("a"));
  EXPECT_THAT(expand_slurm_nodes("a,b"), ElementsAre("a", "b"));
  EXPECT_THAT(expand_slurm_nodes("n[01-03,7],x-2,m[9-11]"),
              ElementsAre("n01", "n02", "n03", "n7", "x-2", "m9", "m10", "m11"));
  for (const char* wrong : {"a[1-", "a[3-1]", "a[x]", ""}) {
    EXPECT_THROW(expand_slurm_nodes(wrong), ConfigError) << wrong;
  }
}

}  // namespace
}  // namespace qtune
