#include "rendezvous.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <vector>

#include "launcher_exchange.h"
#include "qtune/base/error.h"

namespace qtune {
namespace {

using Clock = std::chrono::steady_clock;
constexpr const char* kLoopback = "127.0.0.1";
constexpr const char* kExchangeKey = "qtune-rank0";

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

std::string text_of(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* bytes = address->sa_family == AF_INET
                          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(address)->sin_addr)
                          : &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  return ::inet_ntop(address->sa_family, bytes, text.data(), text.size()) == nullptr ? "" : text.data();
}

/// IPv4 addresses of this host by which others may reach it.
std::vector<std::string> own_addresses() {
  std::vector<std::string> addresses;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return addresses;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_addr->sa_family != AF_INET) continue;
    if ((i->ifa_flags & IFF_UP) == 0 || (i->ifa_flags & IFF_LOOPBACK) != 0) continue;
    addresses.push_back(text_of(i->ifa_addr));
  }
  ::freeifaddrs(list);
  return addresses;
}

/// This end's address of a connection to host:port; empty: none within `wait`.
std::string address_towards(const std::string& host, int port, std::chrono::milliseconds wait) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return "";
  std::string own;
  for (const addrinfo* a = found; a != nullptr && own.empty(); a = a->ai_next) {
    const Socket socket(::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (socket.fd() < 0) continue;
    if (::connect(socket.fd(), a->ai_addr, a->ai_addrlen) != 0 && errno != EINPROGRESS) continue;
    pollfd ready{.fd = socket.fd(), .events = POLLOUT, .revents = 0};
    int error = 0;
    socklen_t size = sizeof error;
    if (::poll(&ready, 1, static_cast<int>(wait.count())) != 1) continue;
    if (::getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) continue;
    sockaddr_storage address{};
    size = sizeof address;
    if (::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&address), &size) == 0) {
      own = text_of(reinterpret_cast<const sockaddr*>(&address));
    }
  }
  ::freeaddrinfo(found);
  return own;
}

c10d::TCPStoreOptions store_options(int port, bool server, std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(port);
  options.isServer = server;
  options.waitWorkers = false;
  options.timeout = timeout;
  return options;
}

c10::intrusive_ptr<c10d::Store> with_prefix(const Rendezvous& r, c10::intrusive_ptr<c10d::Store> store) {
  if (r.prefix.empty()) return store;
  return c10::make_intrusive<c10d::PrefixStore>(r.prefix, std::move(store));
}

c10::intrusive_ptr<c10d::TCPStore> open_store(const Launch& launch, std::chrono::milliseconds timeout) {
  try {
    return c10::make_intrusive<c10d::TCPStore>(kLoopback, store_options(launch.master_port, true, timeout));
  } catch (const std::exception& e) {
    const std::string message = e.what();
    throw DistError(
        fmt::format("MASTER_PORT {}: expected a free port to listen at, found: {} ---> give another "
                    "MASTER_PORT",
                    launch.master_port, message.substr(0, message.find('\n'))));
  }
}

/// Tries rank 0's addresses until one answers.
std::string reachable(const std::vector<std::string>& addresses, int port, std::chrono::milliseconds timeout,
                      std::string& own) {
  const auto end = Clock::now() + timeout;
  do {
    for (const std::string& address : addresses) {
      own = address_towards(address, port, std::min(timeout, std::chrono::milliseconds(2000)));
      if (!own.empty()) return address;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  } while (Clock::now() < end);
  throw DistError(fmt::format(
      "rank 0 at {} port {}: no answer within {} s ---> look at its host, or set MASTER_ADDR and MASTER_PORT",
      fmt::join(addresses, ", "), port, timeout.count() / 1000));
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::string read(c10d::Store& store, const std::string& key) {
  const std::vector<uint8_t> bytes = store.get(key);
  return {bytes.begin(), bytes.end()};
}

void write(c10d::Store& store, const std::string& key, const std::string& text) {
  store.set(key, std::vector<uint8_t>(text.begin(), text.end()));
}

/// Two jobs with one MASTER_PORT would otherwise take each other's ranks for their own.
void take_seat(const Launch& launch, const Rendezvous& r) {
  constexpr const char* kJob = "job";
  if (launch.rank == 0) write(*r.store, kJob, launch.job);
  const std::string job = read(*r.store, kJob);
  const auto refuse = [&](const std::string& expected, const std::string& found) {
    throw DistError(fmt::format("{} port {}: expected {}, found {} ---> give each job a MASTER_PORT of its own",
                                r.master_addr, r.master_port, expected, found));
  };
  if (job != launch.job) refuse(fmt::format("rank 0 of job '{}'", launch.job), fmt::format("that of job '{}'", job));
  const std::string seat = "seat/" + std::to_string(launch.rank), own = fmt::format("{}:{}", launch.host, ::getpid());
  const auto taken = r.store->compareSet(seat, {}, std::vector<uint8_t>(own.begin(), own.end()));
  const std::string holder(taken.begin(), taken.end());
  if (holder != own) refuse(fmt::format("no other rank {} (this is {})", launch.rank, own), holder);
}

/// Rank 0's addresses, and the port in `r`: as the launcher passes them on, or from MASTER_ADDR and MASTER_PORT.
std::vector<std::string> addresses_of_first(const Launch& launch, LauncherExchange* exchange, Rendezvous& r) {
  if (exchange == nullptr) return {launch.master_addr};
  exchange->fence();
  const std::vector<std::string> parts = split(exchange->get(kExchangeKey, 0), '|');
  if (parts.size() != 2) throw ConfigError("rank 0's address could not be read ---> set MASTER_ADDR and MASTER_PORT");
  r.master_port = std::atoi(parts[0].c_str());
  return split(parts[1], ',');
}

/// Rank 0 listens, and tells the others where.
void open_for_others(const Launch& launch, LauncherExchange* exchange, std::chrono::milliseconds timeout,
                     Rendezvous& r) {
  const auto store = open_store(launch, timeout);
  r.master_port = store->getPort();
  r.store = with_prefix(r, store);
  if (exchange != nullptr) {
    const bool one_host = launch.local_world_size == launch.world_size;
    std::vector<std::string> addresses = one_host ? std::vector<std::string>{kLoopback} : own_addresses();
    if (!launch.master_addr.empty()) addresses = {launch.master_addr};
    exchange->put(kExchangeKey, fmt::format("{}|{}", r.master_port, fmt::join(addresses, ",")));
    exchange->fence();
  }
  r.master_addr = kLoopback;
}

}  // namespace

c10::intrusive_ptr<c10d::Store> connect_to_store(const Rendezvous& r, std::chrono::milliseconds timeout) {
  return with_prefix(r,
                     c10::make_intrusive<c10d::TCPStore>(r.master_addr, store_options(r.master_port, false, timeout)));
}

void agree_on_addresses(const Launch& launch, Rendezvous& r) {
  if (launch.local_world_size == launch.world_size) return;
  const auto key = [](int rank) { return "reached/" + std::to_string(rank); };
  constexpr const char* kAgreed = "master_addr";
  if (launch.rank != 0) {
    const bool on_its_host = r.own_addr == kLoopback || r.own_addr == r.master_addr;
    write(*r.store, key(launch.rank), on_its_host ? "" : r.master_addr);
    const std::string agreed = read(*r.store, kAgreed);
    if (on_its_host) r.own_addr = agreed;
    return;
  }
  for (int rank = 1; rank < launch.world_size; ++rank) {
    const std::string address = read(*r.store, key(rank));
    if (!address.empty()) r.own_addr = address;
  }
  write(*r.store, kAgreed, r.own_addr);
}

Rendezvous meet(const Launch& launch, std::chrono::milliseconds timeout) {
  // c10d looks up the name of every address that connects, and the store answers nobody meanwhile. Where there is no
  // name server that would be five seconds each, and again.
  ::setenv("RES_OPTIONS", "timeout:1 attempts:1", /*overwrite=*/0);
  Rendezvous r{.master_addr = launch.master_addr, .master_port = launch.master_port};
  if (launch.agent_store) r.prefix = "qtune/" + launch.job;
  std::unique_ptr<LauncherExchange> exchange;
  if (launch.master_addr.empty() || launch.master_port == 0) {
    exchange = make_launcher_exchange(launch);
    if (!exchange) {
      throw ConfigError(
          "expected MASTER_ADDR and MASTER_PORT for several ranks ---> set them, or start with mpirun, "
          "torchrun or srun");
    }
  }
  if (launch.rank == 0 && !launch.agent_store) {
    open_for_others(launch, exchange.get(), timeout, r);
  } else {
    const std::vector<std::string> addresses = addresses_of_first(launch, exchange.get(), r);
    r.master_addr = reachable(addresses, r.master_port, timeout, r.own_addr);
    r.store = connect_to_store(r, timeout);
  }
  exchange.reset();
  if (launch.rank == 0 && !launch.agent_store) r.own_addr = kLoopback;
  take_seat(launch, r);
  return r;
}

}  // namespace qtune
