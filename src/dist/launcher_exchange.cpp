#include "launcher_exchange.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "qtune/base/error.h"

namespace qtune {
namespace {

constexpr const char* kInstead =
    " ---> set MASTER_ADDR (rank 0's host) and MASTER_PORT (a free port there) for all ranks";

/// The client of PMIx's standard, as its pmix.h declares it (version 2 on: the same layout).
class Pmix : public LauncherExchange {
 public:
  Pmix() {
    for (const char* name : {"libpmix.so.2", "libpmix.so"}) {
      if (library_ == nullptr) library_ = ::dlopen(name, RTLD_NOW | RTLD_GLOBAL);
    }
    if (library_ == nullptr) throw ConfigError(std::string("Open MPI: libpmix.so.2 was not found") + kInstead);
    check("PMIx_Init", function<int(Process*, void*, size_t)>("PMIx_Init")(&own_, nullptr, 0));
  }
  ~Pmix() override { function<int(const void*, size_t)>("PMIx_Finalize")(nullptr, 0); }

  void put(const std::string& key, const std::string& text) override {
    std::string copy = text;
    Value value{};
    value.type = kString;
    value.data.string = copy.data();
    Key name{};
    std::strncpy(name.data(), key.c_str(), name.size() - 1);
    check("PMIx_Put", function<int(uint8_t, const char*, Value*)>("PMIx_Put")(kGlobal, name.data(), &value));
  }
  void fence() override {
    check("PMIx_Commit", function<int()>("PMIx_Commit")());
    check("PMIx_Fence",
          function<int(const Process*, size_t, const void*, size_t)>("PMIx_Fence")(nullptr, 0, nullptr, 0));
  }
  std::string get(const std::string& key, int rank) override {
    Process process = own_;
    process.rank = static_cast<uint32_t>(rank);
    Key name{};
    std::strncpy(name.data(), key.c_str(), name.size() - 1);
    Value* value = nullptr;
    check("PMIx_Get", function<int(const Process*, const char*, const void*, size_t, Value**)>("PMIx_Get")(
                          &process, name.data(), nullptr, 0, &value));
    if (value == nullptr || value->type != kString) throw ConfigError(std::string("PMIx_Get: no text") + kInstead);
    return value->data.string;  // the few bytes are left to the process
  }

 private:
  static constexpr uint16_t kString = 3;  // PMIX_STRING
  static constexpr uint8_t kGlobal = 3;   // PMIX_GLOBAL
  using Key = std::array<char, 512>;      // PMIX_MAX_KEYLEN + 1
  struct Process {
    std::array<char, 256> nspace;
    uint32_t rank;
  };
  struct Value {
    uint16_t type;
    union {
      char* string;
      std::array<char, 64> largest;  // no smaller than PMIx's own union
    } data;
  };

  template <class F>
  F* function(const char* name) const {
    void* found = ::dlsym(library_, name);
    if (found == nullptr) throw ConfigError(fmt::format("libpmix: {} is missing{}", name, kInstead));
    return reinterpret_cast<F*>(found);
  }
  static void check(const char* call, int status) {
    if (status != 0) throw ConfigError(fmt::format("{}: failed with {}{}", call, status, kInstead));
  }

  void* library_ = nullptr;
  Process own_{};
};

/// PMI-1 over the socket PMI_FD: lines "cmd=get kvsname=K key=a" are answered by "cmd=get_result rc=0 value=b".
class Pmi : public LauncherExchange {
 public:
  explicit Pmi(int fd) : fd_(fd) {
    ask("cmd=init pmi_version=1 pmi_subversion=1\n", "response_to_init");
    space_ = field(ask("cmd=get_my_kvsname\n", "my_kvsname"), "kvsname");
  }
  ~Pmi() override {
    try {
      ask("cmd=finalize\n", "finalize_ack");
    } catch (const ConfigError&) {
      // The launcher is gone; nobody is left to tell.
    }
  }

  void put(const std::string& key, const std::string& text) override {
    ask(fmt::format("cmd=put kvsname={} key={} value={}\n", space_, key, text), "put_result");
  }
  void fence() override { ask("cmd=barrier_in\n", "barrier_out"); }
  std::string get(const std::string& key, int /*rank*/) override {
    return field(ask(fmt::format("cmd=get kvsname={} key={}\n", space_, key), "get_result"), "value");
  }

 private:
  std::string ask(const std::string& line, const std::string& answer) {
    if (::write(fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) fail(line, "no connection");
    std::string found;
    for (char c = 0; found.empty() || c != '\n'; found += c) {
      if (::read(fd_, &c, 1) != 1) fail(line, "no answer");
    }
    found.pop_back();
    const std::string status = field(found, "rc");
    if (field(found, "cmd") != answer || (!status.empty() && status != "0")) fail(line, found);
    return found;
  }
  static std::string field(const std::string& line, const std::string& name) {
    const std::string start = name + "=";
    size_t at = line.starts_with(start) ? 0 : line.find(" " + start);
    if (at == std::string::npos) return "";
    at += start.size() + (at == 0 ? 0 : 1);
    return line.substr(at, line.find(' ', at) - at);
  }
  [[noreturn]] static void fail(const std::string& line, const std::string& found) {
    throw ConfigError(fmt::format("PMI: '{}' found '{}'{}", line.substr(0, line.size() - 1), found, kInstead));
  }

  int fd_;
  std::string space_;
};

}  // namespace

std::unique_ptr<LauncherExchange> make_launcher_exchange(const Launch& launch) {
  if (launch.launcher == "Open MPI") return std::make_unique<Pmix>();
  if (launch.launcher == "Hydra") {
    if (const char* fd = std::getenv("PMI_FD")) return std::make_unique<Pmi>(std::atoi(fd));
    throw ConfigError(std::string("Hydra: expected PMI_FD") + kInstead);
  }
  return nullptr;
}

}  // namespace qtune
