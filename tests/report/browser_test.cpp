// The page in a real browser: tools/check_report_page drives headless Chromium by mouse and keyboard.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "qtune/base/file.h"
#include "qtune/report/report.h"
#include "report/page_parts.h"
#include "support/temp_dir.h"
#include "synthetic_run.h"

namespace qtune {
namespace {

TEST(ReportInABrowser, IsScrubbedClickedComparedAndUsedByKeyboard) {
  constexpr int kNoBrowser = 77;
  if (page::d3.empty()) GTEST_SKIP() << "built without d3 (libjs-d3)";
  if (std::system("python3 -c '' 2>/dev/null") != 0) GTEST_SKIP() << "no python3 here to drive a browser";
  const TempDir folder;
  // 20,000 points, and a second run to compare with.
  write_run(folder / "first", {.steps = 100, .samples_a_step = 200, .num_samples = 4000});
  write_run(folder / "second", {.steps = 30, .samples_a_step = 32, .num_samples = 500, .seed = 9});
  const auto texts = [](std::span<const std::string> ids) { return synthetic_texts(ids, 40); };
  const ReportedRun runs[] = {{.data = read_run(folder / "first"), .find_texts = texts},
                              {.data = read_run(folder / "second"), .find_texts = texts}};
  write_file_atomic(folder / "report.html", render_report({.runs = {runs[0], runs[1]}}));
  const std::string command =
      std::string("python3 ") + QTUNE_BROWSER_CHECK + " " + (folder / "report.html").string() + " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  std::array<char, 4096> block{};
  while (const size_t n = std::fread(block.data(), 1, block.size(), pipe)) output.append(block.data(), n);
  const int status = WEXITSTATUS(::pclose(pipe));
  if (status == kNoBrowser) GTEST_SKIP() << output;
  EXPECT_EQ(status, 0) << output;
  std::fputs(output.c_str(), stdout);
}

}  // namespace
}  // namespace qtune
