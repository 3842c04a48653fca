#include "kernels/adamw.h"

#include <limits>
#include <memory>

#include "kernel_test_support.h"
#include "simt/orders.h"

namespace qtune {
namespace {

/// One tensor of a model; `shift` as shift_of has it.
struct TestTensor {
  TestTensor(int64_t size, int64_t shift, bool with_compute, double decay, uint64_t seed)
      : value(random_values<float>(size, seed), shift_of(shift, 0)),
        gradient(random_values<float>(size, seed + 1, 3), shift_of(shift, 1)),
        exp_avg(random_values<float>(size, seed + 2, 0.1), shift_of(shift, 2)),
        exp_avg_sq(random_values<float>(size, seed + 3, 0.1), shift_of(shift, 3)),
        compute(with_compute ? size : 0, shift_of(shift, 4)),
        has_compute(with_compute),
        weight_decay(decay) {
    for (int64_t i = 0; i < size; ++i) exp_avg_sq.data()[i] = std::abs(exp_avg_sq.data()[i]);
  }

  AdamWTensorView view() {
    return {value.data(),
            gradient.data(),
            exp_avg.data(),
            exp_avg_sq.data(),
            has_compute ? compute.data() : nullptr,
            static_cast<int64_t>(value.values().size()),
            weight_decay};
  }

  Buffer<float> value, gradient, exp_avg, exp_avg_sq;
  Buffer<Bf16> compute;
  bool has_compute;
  double weight_decay;
};

/// A model: no element, one, odd numbers, more than one chunk; each aligned and not, in any one buffer too.
struct TestModel {
  TestModel() {
    uint64_t seed = 100;
    for (const int64_t size : {int64_t{0}, int64_t{1}, int64_t{3}, int64_t{1027}, 2 * kAdamWChunkSize + 5}) {
      for (const int64_t shift : {0, 1}) add(size, shift, shift == 0, seed += 10);
    }
    for (const int64_t shift : {2, 3, 4, 5, 6}) add(1028, shift, true, seed += 10);
    add(2 * kAdamWChunkSize + 5, 0, true, seed += 10);
    for (auto& t : tensors) views.push_back(t->view());
    chunks = adamw_chunks(views);
  }

  void add(int64_t size, int64_t shift, bool with_compute, uint64_t seed) {
    tensors.push_back(std::make_unique<TestTensor>(size, shift, with_compute, size > 1 ? 0.1 : 0.0, seed));
  }

  AdamWModel model() const { return {views.data(), chunks.data(), static_cast<int64_t>(chunks.size())}; }

  double norm() const {
    double sum = 0;
    for (const auto& t : tensors) {
      for (const float g : t->gradient.values()) sum += static_cast<double>(g) * g;
    }
    return std::sqrt(sum);
  }

  std::vector<std::unique_ptr<TestTensor>> tensors;
  std::vector<AdamWTensorView> views;
  std::vector<AdamWChunk> chunks;
};

struct StepResult {
  cudaError_t error;
  double norm;
};

AdamWUpdate some_update() {
  return {.learning_rate = 0.01, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .gradient_scale = 1.0 / 7, .step = 3};
}

StepResult run(const TestModel& m, AdamWUpdate update) {
  auto partials = simt::poisoned<double>(kNumNormPartials);
  double norm = -1;
  const cudaError_t error = launch_sum_of_squares(m.model(), partials.data(), nullptr);
  if (error != cudaSuccess) return {error, norm};
  update.partials = partials.data();
  update.norm = &norm;
  return {launch_adamw(m.model(), update, nullptr), norm};
}

/// The update of all tensors in float64.
void expect_update(const TestModel& before, const TestModel& after, const AdamWUpdate& u, double clip) {
  for (size_t t = 0; t < before.tensors.size(); ++t) {
    SCOPED_TRACE(testing::Message() << "tensor " << t);
    const TestTensor& old = *before.tensors[t];
    std::vector<double> value = widened(old.value.values()), m = widened(old.exp_avg.values()),
                        v = widened(old.exp_avg_sq.values());
    const std::vector<float> gradient = old.gradient.values();
    const double c1 = 1 - std::pow(u.beta1, u.step), c2 = 1 - std::pow(u.beta2, u.step);
    for (size_t i = 0; i < value.size(); ++i) {
      const double g = gradient[i] * u.gradient_scale * clip;
      m[i] = u.beta1 * m[i] + (1 - u.beta1) * g;
      v[i] = u.beta2 * v[i] + (1 - u.beta2) * g * g;
      value[i] = value[i] * (1 - u.learning_rate * old.weight_decay) -
                 u.learning_rate * (m[i] / c1) / (std::sqrt(v[i] / c2) + u.epsilon);
    }
    const TestTensor& now = *after.tensors[t];
    EXPECT_TRUE(all_close(now.value.values(), value));
    EXPECT_TRUE(all_close(now.exp_avg.values(), m));
    EXPECT_TRUE(all_close(now.exp_avg_sq.values(), v));
    EXPECT_TRUE(same_bits(now.gradient.values(), gradient));
    std::vector<Bf16> rounded;
    for (const float x : now.value.values()) rounded.push_back(narrow<Bf16>(x));
    EXPECT_TRUE(!now.has_compute || same_bits(now.compute.values(), rounded));
  }
}

TEST(AdamWKernel, UpdatesAllTensorsAsTheFloat64Loop) {
  const TestModel before, model;
  const StepResult result = run(model, some_update());
  ASSERT_EQ(result.error, cudaSuccess);
  EXPECT_NEAR(result.norm, before.norm() / 7, 1e-12 * before.norm());
  expect_update(before, model, some_update(), 1);
}

TEST(AdamWKernel, ClipsToTheGlobalNormOfTheScaledGradient) {
  const TestModel before, model;
  AdamWUpdate update = some_update();
  update.max_norm = 0.5;
  const double norm = before.norm() / 7;
  ASSERT_GT(norm, 1);
  const StepResult result = run(model, update);
  ASSERT_EQ(result.error, cudaSuccess);
  EXPECT_NEAR(result.norm, norm, 1e-12 * norm) << "the norm before clipping is reported";
  expect_update(before, model, update, 0.5 / (norm + 1e-6));
}

TEST(AdamWKernel, NormBelowTheLimitIsNotScaledUp) {
  const TestModel unlimited, limited;
  AdamWUpdate update = some_update();
  ASSERT_EQ(run(unlimited, update).error, cudaSuccess);
  update.max_norm = 1e6;
  ASSERT_EQ(run(limited, update).error, cudaSuccess);
  for (size_t t = 0; t < limited.tensors.size(); ++t) {
    EXPECT_TRUE(same_bits(limited.tensors[t]->value.values(), unlimited.tensors[t]->value.values()));
  }
}

TEST(AdamWKernel, NormThatIsNotFiniteChangesNothing) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const TestModel before, model;
    model.tensors.back()->gradient.data()[kAdamWChunkSize + 1] = bad;
    const StepResult result = run(model, some_update());
    ASSERT_EQ(result.error, cudaSuccess);
    EXPECT_FALSE(std::isfinite(result.norm));
    for (size_t t = 0; t < model.tensors.size(); ++t) {
      EXPECT_TRUE(same_bits(model.tensors[t]->value.values(), before.tensors[t]->value.values()));
      EXPECT_TRUE(same_bits(model.tensors[t]->exp_avg.values(), before.tensors[t]->exp_avg.values()));
      EXPECT_TRUE(same_bits(model.tensors[t]->exp_avg_sq.values(), before.tensors[t]->exp_avg_sq.values()));
      EXPECT_TRUE(same_bits(model.tensors[t]->compute.values(), before.tensors[t]->compute.values()));
    }
  }
}

TEST(AdamWKernel, SquaresThatOverflowFloat32StayFinite) {
  std::vector<float> value{1}, gradient{1e30f}, m{0}, v{0};
  const std::vector<AdamWTensorView> views{{value.data(), gradient.data(), m.data(), v.data(), nullptr, 1, 0.0}};
  const std::vector<AdamWChunk> chunks = adamw_chunks(views);
  const AdamWModel model{views.data(), chunks.data(), 1};
  std::vector<double> partials(kNumNormPartials);
  double norm = 0;
  ASSERT_EQ(launch_sum_of_squares(model, partials.data(), nullptr), cudaSuccess);
  ASSERT_EQ(
      launch_adamw(model, {.learning_rate = 0.1, .max_norm = 1, .partials = partials.data(), .norm = &norm}, nullptr),
      cudaSuccess);
  EXPECT_NEAR(norm, 1e30, 1e24);
  EXPECT_NEAR(value[0], 0.9, 1e-6) << "the first step of AdamW goes by the sign of the clipped gradient";
}

TEST(AdamWKernel, WithoutTensorsTheNormIsZero) {
  auto partials = simt::poisoned<double>(kNumNormPartials);
  double norm = -1;
  ASSERT_EQ(launch_sum_of_squares({}, partials.data(), nullptr), cudaSuccess);
  ASSERT_EQ(launch_adamw({}, {.partials = partials.data(), .norm = &norm}, nullptr), cudaSuccess);
  EXPECT_EQ(norm, 0);
}

TEST(AdamWKernel, ManyMoreTensorsThanBlocks) {
  constexpr size_t kTensors = 2500;
  std::vector<float> value(kTensors, 1), gradient(kTensors, 2), m(kTensors, 0), v(kTensors, 0);
  std::vector<AdamWTensorView> views;
  for (size_t i = 0; i < kTensors; ++i) views.push_back({&value[i], &gradient[i], &m[i], &v[i], nullptr, 1, 0.0});
  const std::vector<AdamWChunk> chunks = adamw_chunks(views);
  const AdamWModel model{views.data(), chunks.data(), static_cast<int64_t>(chunks.size())};
  std::vector<double> partials(kNumNormPartials);
  double norm = 0;
  ASSERT_EQ(launch_sum_of_squares(model, partials.data(), nullptr), cudaSuccess);
  ASSERT_EQ(launch_adamw(model, {.learning_rate = 0.5, .partials = partials.data(), .norm = &norm}, nullptr),
            cudaSuccess);
  EXPECT_EQ(norm, std::sqrt(4.0 * kTensors));
  for (const float x : value) ASSERT_NEAR(x, 0.5, 1e-6);
}

TEST(AdamWKernel, GivesTheSameBitsInAnyOrderOfThreads) {
  std::vector<std::vector<float>> runs;
  std::vector<double> norms;
  simt::for_each_order([&] {
    const TestModel model;
    AdamWUpdate update = some_update();
    update.max_norm = 0.5;
    norms.push_back(run(model, update).norm);
    runs.push_back(model.tensors.back()->value.values());
    EXPECT_TRUE(same_bits(runs.back(), runs.front()));
    EXPECT_EQ(norms.back(), norms.front());
  });
}

}  // namespace
}  // namespace qtune
