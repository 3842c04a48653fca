// What a training would do, without doing it.
#pragma once

#include <string>

#include "qtune/config/load_config.h"
#include "qtune/dist/launch.h"
#include "qtune/text/sample_view.h"

namespace qtune {

/// Checks config, data, the model's files and output_dir as a training does, but reads no weights and writes nothing
/// beside the cache of tokenized samples. Returns text for eyes: steps, samples, tokens, memory, and the first batch
/// with its trained tokens marked (in colour when `marks` says so). One rank of the launch says it for all.
/// Throws: as run_training would before it reads weights; a checkpoint that it would go on from is not looked into.
std::string dry_run(const LoadedConfig& loaded, MarkStyle marks, const Launch& launch = {});

}  // namespace qtune
