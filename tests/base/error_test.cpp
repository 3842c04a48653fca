#include "qtune/base/error.h"

#include <gtest/gtest.h>

namespace qtune {
namespace {

TEST(NearestName, FindsATypoAndRefusesAStranger) {
  const std::vector<std::string> known = {"learning_rate", "num_train_epochs", "seed"};
  EXPECT_EQ(nearest_name("learning_rat", known), "learning_rate");
  EXPECT_EQ(nearest_name("num_epochs", known), "");
  EXPECT_EQ(nearest_name("sead", known), "seed");
  EXPECT_EQ(nearest_name("completely_else", known), "");
}

}  // namespace
}  // namespace qtune
