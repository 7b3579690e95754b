// SPDX-License-Identifier: Apache-2.0
#include "src/control/ledger.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "src/base/clock.h"
#include "src/base/text.h"
#include "src/control/json_bytes.h"
#include "src/control/place.h"

namespace cgwarden::control {
namespace {

constexpr std::size_t kMaxEntry = 256UL << 10U;

}  // namespace

std::int64_t boottime_now() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

std::string new_id() {
  std::array<unsigned char, 4> random{};
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
    const auto now = static_cast<std::uint32_t>(boottime_now());
    for (std::size_t i = 0; i < random.size(); ++i) random[i] = static_cast<unsigned char>(now >> (8 * i));
  }
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const auto byte : random) {
    out += digits[byte >> 4U];
    out += digits[byte & 15U];
  }
  return out;
}

bool is_id(std::string_view text) {
  return text.size() == 8 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string to_json(const Entry& entry) {
  nlohmann::json parts = nlohmann::json::array();
  for (const auto& part : entry.parts) {
    parts.push_back({{"hierarchy", bytes_to_json(part.hierarchy)},
                     {"file", part.file},
                     {"key", part.key},
                     {"device", bytes_to_json(part.device)},
                     {"restore", part.restore},
                     {"after", part.after},
                     {"by_unit", part.by_unit}});
  }
  auto properties = nlohmann::json::array();
  for (const auto& property : entry.properties) properties.push_back({property.name, property.device, property.value});
  const nlohmann::json out{{"unit", entry.unit},
                           {"properties", properties},
                           {"id", entry.id},
                           {"verb", model::name(entry.verb)},
                           {"path", bytes_to_json(entry.path)},
                           {"cgroup", entry.cgroup},
                           {"route", entry.route},
                           {"expires", entry.expires},
                           {"kept_by_helper", entry.kept_by_helper},
                           {"persist", entry.persist},
                           {"made", entry.made},
                           {"uid", entry.uid},
                           {"rule", bytes_to_json(entry.rule)},
                           {"parts", parts},
                           {"pids", entry.pids},
                           {"target", bytes_to_json(entry.target)}};
  return out.dump(-1, ' ', true);
}

base::Result<Entry> parse_entry(std::string_view text) {
  try {
    const auto json = nlohmann::json::parse(text);
    Entry entry;
    entry.id = json.at("id").get<std::string>();
    const auto verb = model::verb_of(json.at("verb").get<std::string>());
    if (!verb || !is_id(entry.id)) return base::fail("no entry of the ledger");
    entry.verb = *verb;
    entry.path = bytes_from_json(json.at("path"));
    entry.cgroup = json.at("cgroup").get<std::uint64_t>();
    entry.route = json.at("route").get<std::string>();
    entry.expires = json.at("expires").get<std::int64_t>();
    entry.kept_by_helper = json.at("kept_by_helper").get<bool>();
    entry.persist = json.at("persist").get<bool>();
    entry.made = json.at("made").get<std::int64_t>();
    entry.uid = json.at("uid").get<uid_t>();
    entry.rule = bytes_from_json(json.at("rule"));
    for (const auto& part : json.at("parts")) {
      entry.parts.push_back({bytes_from_json(part.at("hierarchy")), part.at("file").get<std::string>(),
                             part.at("key").get<std::string>(), bytes_from_json(part.at("device")),
                             part.at("restore").get<std::string>(), part.at("after").get<std::string>(),
                             part.at("by_unit").get<bool>()});
    }
    entry.unit = json.at("unit").get<std::string>();
    for (const auto& property : json.at("properties")) {
      entry.properties.push_back(
          {property.at(0).get<std::string>(), property.at(1).get<std::string>(), property.at(2).get<std::string>()});
    }
    entry.pids = json.at("pids").get<std::vector<pid_t>>();
    entry.target = bytes_from_json(json.at("target"));
    return entry;
  } catch (const nlohmann::json::exception& error) {
    return base::fail(std::string("no entry of the ledger: ") + error.what());
  }
}

base::Result<Ledger> Ledger::open(const std::string& directory, bool make) {
  Ledger ledger;
  ledger.directory_ = directory;
  const auto shown = base::printable(directory);
  if (make && ::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) return base::fail_errno("cannot make " + shown);
  ledger.dir_ = base::Fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st {};
  if (!ledger.dir_ || ::fstat(ledger.dir_.get(), &st) != 0) return base::fail_errno("cannot open " + shown);
  // Who can write here decides what is written to cgroups.
  if (st.st_uid != ::geteuid() || (st.st_mode & 0022U) != 0) {
    return base::fail(shown + " must belong to who runs this and be writable by nobody else: chmod go-w, chown");
  }
  return ledger;
}

base::Result<base::Fd> Ledger::lock() const {
  base::Fd file(::openat(dir_.get(), "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return base::fail_errno("cannot lock " + base::printable(directory_));
  const auto deadline = base::monotonic_now() + std::chrono::seconds(5);
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return base::fail_errno("cannot lock " + base::printable(directory_));
    if (base::monotonic_now() >= deadline) {
      return base::fail("somebody else has been acting for five seconds (" + base::printable(directory_) +
                        "/lock); try again");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return file;
}

base::Result<void> Ledger::put(const Entry& entry) const {
  const auto name = file_of(entry.id);
  const auto fresh = name + ".new";
  const auto doing = "cannot write " + base::printable(directory_) + '/' + name;
  const auto text = to_json(entry);
  {
    const base::Fd file(
        ::openat(dir_.get(), fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) return base::fail_errno(doing);
    const auto n = ::write(file.get(), text.data(), text.size());
    if (n != static_cast<ssize_t>(text.size()) || ::fsync(file.get()) != 0) {
      const int code = n < 0 ? errno : ENOSPC;
      ::unlinkat(dir_.get(), fresh.c_str(), 0);
      return tl::unexpected(base::Error::from_errno(code, doing));
    }
  }
  if (::renameat(dir_.get(), fresh.c_str(), dir_.get(), name.c_str()) != 0) return base::fail_errno(doing);
  return {};
}

void Ledger::remove(const std::string& id) const {
  if (is_id(id)) ::unlinkat(dir_.get(), file_of(id).c_str(), 0);
}

std::optional<Entry> Ledger::find(const std::string& id) const {
  if (!is_id(id)) return std::nullopt;
  const auto text = read_file(dir_.get(), file_of(id));
  if (!text || text->size() > kMaxEntry) return std::nullopt;
  auto entry = parse_entry(*text);
  if (!entry || entry->id != id) return std::nullopt;
  return std::move(*entry);
}

std::vector<Entry> Ledger::all() const {
  std::vector<Entry> out;
  const int copy = ::openat(dir_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const listing = copy < 0 ? nullptr : ::fdopendir(copy);
  if (listing == nullptr) return out;
  while (const auto* found = ::readdir(listing)) {
    std::string_view name(found->d_name);
    if (!name.ends_with(".json") || out.size() >= kMaxLeases + 2 * kMaxUndo) continue;
    name.remove_suffix(5);
    if (auto entry = find(std::string(name))) out.push_back(std::move(*entry));
  }
  ::closedir(listing);
  std::ranges::sort(out, {}, &Entry::made);
  return out;
}

void Ledger::forget_oldest() const {
  auto entries = all();
  std::erase_if(entries, [](const Entry& entry) { return entry.is_lease(); });
  for (std::size_t i = 0; i + kMaxUndo < entries.size(); ++i) remove(entries[i].id);
}

}  // namespace cgwarden::control
