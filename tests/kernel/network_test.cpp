// SPDX-License-Identifier: Apache-2.0
// Interface counters and TCP states of network namespaces on the running kernel, with traffic that the test sends over
// loopback interfaces.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>
#include <map>

#include "tests/kernel/collected.h"

namespace cgwarden {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

constexpr int kPackets = 25;

// Enters a new network namespace and sends 25 datagrams to itself.
void send_to_itself() {
  if (::unshare(CLONE_NEWNET) != 0) ::_exit(1);
  const int s = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq interface {};
  std::strcpy(interface.ifr_name, "lo");
  interface.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(s, SIOCSIFFLAGS, &interface) != 0) ::_exit(1);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(s, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) ::_exit(1);
  for (int i = 0; i < kPackets; ++i) {
    if (::sendto(s, "0123456789", 10, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 10) ::_exit(1);
  }
}

class NetworkCollector : public testing_kernel::CollectedTest {
 protected:
  [[nodiscard]] std::string number(pid_t pid) const {
    const auto link = std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/ns/net").string();
    return link.substr(5, link.size() - 6);
  }

  [[nodiscard]] std::vector<std::int64_t> values(const std::string& field, const std::string& ns,
                                                 const std::string& interface) const {
    std::vector<std::int64_t> out;
    for (const auto& one : series(field, model::kNoCgroup)) {
      if (one.labels == std::vector<std::string>{ns, interface}) out.push_back(one.value);
    }
    return out;
  }
};

TEST_F(NetworkCollector, ReadsEachNamespaceOnceForAllItsCgroups) {
  make("/a");
  make("/b");
  const auto owner = spawn("/a", send_to_itself);
  spawn("/a", [] {});
  spawn("/b", [owner] {
    const int ns = ::open(("/proc/" + std::to_string(owner) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC);
    if (::setns(ns, CLONE_NEWNET) != 0) ::_exit(1);
  });
  open({"network"});
  collect();
  const auto ns = number(owner);
  // 10 bytes and the headers of UDP (8) and IP (20).
  EXPECT_THAT(values("network_receive_packets", ns, "lo"), ElementsAre(kPackets));
  EXPECT_THAT(values("network_transmit_packets", ns, "lo"), ElementsAre(kPackets));
  EXPECT_THAT(values("network_receive", ns, "lo"), ElementsAre(kPackets * 38));
  EXPECT_THAT(values("network_receive_errors", ns, "lo"), ElementsAre(0));
  EXPECT_EQ(series("network_receive", "/a").size(), 0U);
  ASSERT_THAT(series("network_namespace", "/b"), SizeIs(1));
  EXPECT_EQ(series("network_namespace", "/b").front().labels.front(), ns);
  ASSERT_THAT(series("network_namespace", "/a"), SizeIs(2));
  EXPECT_EQ(errors("network"), 0U);
}

TEST_F(NetworkCollector, AttributesNoTrafficToACgroupInTheHostNamespace) {
  make("/host");
  const auto pid = spawn("/host", [] {});
  open({"network"});
  collect();
  EXPECT_TRUE(series("network_receive", "/host").empty());
  const auto spaces = series("network_namespace", "/host");
  ASSERT_THAT(spaces, SizeIs(1));
  EXPECT_EQ(spaces.front().labels.front(), number(pid));
  EXPECT_THAT(values("network_receive", number(pid), "lo"), SizeIs(1));
}

// Enters a new network namespace, listens and connects to itself.
void connect_to_itself() {
  if (::unshare(CLONE_NEWNET) != 0) ::_exit(1);
  const int control = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq interface {};
  std::strcpy(interface.ifr_name, "lo");
  interface.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(control, SIOCSIFFLAGS, &interface) != 0) ::_exit(1);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(4711);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  const int client = ::socket(AF_INET, SOCK_STREAM, 0);
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 || ::listen(listener, 1) != 0 ||
      ::connect(client, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    ::_exit(1);
  }
}

TEST_F(NetworkCollector, CountsTcpSocketsByStateInTheirNamespace) {
  make("/tcp");
  const auto pid = spawn("/tcp", connect_to_itself);
  const auto own = number(::getpid());
  open({"tcp"});
  collect();
  EXPECT_EQ(number(::getpid()), own);  // the namespace of this process is unchanged
  std::map<std::string, std::int64_t> states;
  for (const auto& one : series("network_tcp_connections", model::kNoCgroup)) {
    if (one.labels[0] == number(pid) && one.labels[1] == "ipv4") states[one.labels[2]] = one.value;
  }
  if (states.empty() && !log_lines.empty()) GTEST_SKIP() << log_lines.front();
  EXPECT_EQ(states["listen"], 1);
  EXPECT_EQ(states["established"], 2);
  EXPECT_EQ(states["time_wait"], 0);
  EXPECT_EQ(states.size(), 11U);
  EXPECT_EQ(errors("tcp"), 0U);
}

TEST_F(NetworkCollector, DropsANamespaceWithItsLastProcess) {
  make("/gone");
  const auto pid = spawn("/gone", send_to_itself);
  open({"network"});
  collect();
  const auto ns = number(pid);
  EXPECT_THAT(values("network_receive", ns, "lo"), SizeIs(1));
  end(pid);
  collect();
  EXPECT_TRUE(values("network_receive", ns, "lo").empty());
  EXPECT_EQ(errors("network"), 0U);
}

}  // namespace
}  // namespace cgwarden
