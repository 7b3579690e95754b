// SPDX-License-Identifier: Apache-2.0
#include "src/control/undo_log.h"

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
#include "src/control/cgroup_handle.h"
#include "src/control/json_bytes.h"

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

std::string to_json(const UndoEntry& entry) {
  nlohmann::json parts = nlohmann::json::array();
  for (const auto& part : entry.parts) {
    parts.push_back({{"hierarchy", bytes_to_json(part.hierarchy)},
                     {"file", part.file},
                     {"key", part.key},
                     {"device", bytes_to_json(part.device)},
                     {"restore", part.restore},
                     {"after", part.after},
                     {"by_systemd", part.by_systemd}});
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
                           {"ended_by_helper", entry.ended_by_helper},
                           {"persist", entry.persist},
                           {"created", entry.created},
                           {"uid", entry.uid},
                           {"rule", bytes_to_json(entry.rule)},
                           {"parts", parts},
                           {"pids", entry.pids},
                           {"target", bytes_to_json(entry.target)}};
  return out.dump(-1, ' ', true);
}

base::Result<UndoEntry> parse_undo_entry(std::string_view text) {
  try {
    const auto json = nlohmann::json::parse(text);
    UndoEntry entry;
    entry.id = json.at("id").get<std::string>();
    const auto verb = model::verb_of(json.at("verb").get<std::string>());
    if (!verb || !is_id(entry.id)) return base::fail("undo log: invalid entry");
    entry.verb = *verb;
    entry.path = bytes_from_json(json.at("path"));
    entry.cgroup = json.at("cgroup").get<std::uint64_t>();
    entry.route = json.at("route").get<std::string>();
    entry.expires = json.at("expires").get<std::int64_t>();
    entry.ended_by_helper = json.at("ended_by_helper").get<bool>();
    entry.persist = json.at("persist").get<bool>();
    entry.created = json.at("created").get<std::int64_t>();
    entry.uid = json.at("uid").get<uid_t>();
    entry.rule = bytes_from_json(json.at("rule"));
    for (const auto& part : json.at("parts")) {
      entry.parts.push_back({bytes_from_json(part.at("hierarchy")), part.at("file").get<std::string>(),
                             part.at("key").get<std::string>(), bytes_from_json(part.at("device")),
                             part.at("restore").get<std::string>(), part.at("after").get<std::string>(),
                             part.at("by_systemd").get<bool>()});
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
    return base::fail(std::string("undo log: invalid entry: ") + error.what());
  }
}

base::Result<UndoLog> UndoLog::open(const std::string& directory, bool create) {
  UndoLog undo_log;
  undo_log.directory_ = directory;
  const auto shown = base::printable(directory);
  if (create && ::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST)
    return base::fail_errno(shown + ": cannot create the directory");
  undo_log.dir_ = base::Fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st {};
  if (!undo_log.dir_ || ::fstat(undo_log.dir_.get(), &st) != 0) return base::fail_errno(shown + ": cannot open");
  // A user who can write here controls what is written to cgroups.
  if (st.st_uid != ::geteuid() || (st.st_mode & 0022U) != 0) {
    return base::fail(shown +
                      ": insecure permissions: the directory must belong to the current user and be writable by no "
                      "other user (chmod go-w, chown)");
  }
  return undo_log;
}

base::Result<base::Fd> UndoLog::lock() const {
  base::Fd file(::openat(dir_.get(), "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return base::fail_errno(base::printable(directory_) + ": cannot lock");
  const auto deadline = base::monotonic_now() + std::chrono::seconds(5);
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return base::fail_errno(base::printable(directory_) + ": cannot lock");
    if (base::monotonic_now() >= deadline) {
      return base::fail(base::printable(directory_) +
                        "/lock: another process has held the lock for five seconds (try again)");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return file;
}

base::Result<void> UndoLog::put(const UndoEntry& entry) const {
  const auto name = file_name_of(entry.id);
  const auto fresh = name + ".new";
  const auto doing = base::printable(directory_) + '/' + name + ": cannot write";
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

void UndoLog::remove(const std::string& id) const {
  if (is_id(id)) ::unlinkat(dir_.get(), file_name_of(id).c_str(), 0);
}

std::optional<UndoEntry> UndoLog::find(const std::string& id) const {
  if (!is_id(id)) return std::nullopt;
  const auto text = read_file(dir_.get(), file_name_of(id));
  if (!text || text->size() > kMaxEntry) return std::nullopt;
  auto entry = parse_undo_entry(*text);
  if (!entry || entry->id != id) return std::nullopt;
  return std::move(*entry);
}

std::vector<UndoEntry> UndoLog::all() const {
  std::vector<UndoEntry> out;
  const int copy = ::openat(dir_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const listing = copy < 0 ? nullptr : ::fdopendir(copy);
  if (listing == nullptr) return out;
  while (const auto* found = ::readdir(listing)) {
    std::string_view name(found->d_name);
    if (!name.ends_with(".json") || out.size() >= kMaxLeases + 2 * kMaxUndoEntries) continue;
    name.remove_suffix(5);
    if (auto entry = find(std::string(name))) out.push_back(std::move(*entry));
  }
  ::closedir(listing);
  std::ranges::sort(out, {}, &UndoEntry::created);
  return out;
}

void UndoLog::drop_oldest() const {
  auto entries = all();
  std::erase_if(entries, [](const UndoEntry& entry) { return entry.is_lease(); });
  for (std::size_t i = 0; i + kMaxUndoEntries < entries.size(); ++i) remove(entries[i].id);
}

}  // namespace cgwarden::control
