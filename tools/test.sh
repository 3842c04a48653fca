#!/usr/bin/env bash
# Sets up what the tests need, builds them and runs them all. Arguments go to ctest (-R name, -L label, ...).
# The last line is "N passed, N failed, N skipped"; the exit code is 0 only when nothing failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools/setup.sh --tests
exec tools/run_ctest.sh build "$@"
