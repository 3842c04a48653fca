#!/usr/bin/env bash
# Runs the tests of a build folder:  tools/run_ctest.sh BUILD_DIR [ctest arguments]
# Shows failures and why tests were skipped. The last line is "N passed, N failed, N skipped"; exit 1 when any failed.
set -euo pipefail
build=${1:?usage: tools/run_ctest.sh BUILD_DIR [ctest arguments]}
shift
results=$(cd "$build" && pwd)/test_results.xml
rm -f "$results"
status=0
ctest --test-dir "$build" --output-on-failure --no-tests=error --output-junit "$results" -j "$(nproc)" "$@" || status=$?

python3 - "$results" "$status" <<'PYTHON'
import os
import sys
import xml.etree.ElementTree as ElementTree

path, status = sys.argv[1], int(sys.argv[2])
passed, failed, skipped = 0, [], []
if os.path.exists(path):
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name, state = case.get("name"), case.get("status")
        note = case.find("skipped")
        reason = note.get("message", "") if note is not None else ""
        # A test whose program was not built is "notrun" as well, and is a failure.
        if state == "run":
            passed += 1
        elif state == "disabled" or (state == "notrun" and "Unable to find" not in reason):
            output = case.findtext("system-out") or ""
            lines = [line.strip() for line in output.splitlines()]
            at = next((k for k, line in enumerate(lines) if line.endswith("Skipped")), None)
            skipped.append((name, lines[at + 1] if at is not None and at + 1 < len(lines) else reason or state))
        else:
            failed.append(name)
if status != 0 and not failed:
    failed.append("ctest itself (see above)")
for name, reason in skipped:
    print(f"skipped: {name}: {reason}")
for name in failed:
    print(f"FAILED: {name}")
print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")
sys.exit(1 if failed else 0)
PYTHON
