// The lists that config keeps of what other modules know: it can't ask them, being above them.
#include "qtune/train/config_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/base/error.h"
#include "qtune/text/chat_template.h"

namespace qtune {
namespace {

TEST(ConfigLists, TemplateTakesTheNamesThatThereAre) {
  try {
    load_train_config(std::nullopt, {"template=qwne"});
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr(fmt::format("template: expected one of {} or null, found",
                                                         fmt::join(chat_template_names(), ", "))));
  }
}

}  // namespace
}  // namespace qtune
