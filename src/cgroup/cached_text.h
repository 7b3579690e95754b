// SPDX-License-Identifier: Apache-2.0
// What an interface file said, kept until it is read again. There is one for each file of each cgroup, most of them a
// few characters long or the same for hours: half of a std::string, with room for eight characters in place. A text
// that fits what was taken before allocates nothing.
//
// Thread: one at a time. Errors: std::bad_alloc.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

namespace cgwarden::cgroup {

class KeptText {
 public:
  KeptText() = default;
  KeptText(KeptText&& other) noexcept
      : bytes_(other.bytes_), size_(std::exchange(other.size_, 0)), room_(std::exchange(other.room_, 0)) {}
  KeptText& operator=(KeptText&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(size_, other.size_);
    std::swap(room_, other.room_);
    return *this;
  }
  KeptText(const KeptText&) = delete;
  KeptText& operator=(const KeptText&) = delete;
  ~KeptText() {
    if (room_ != 0) delete[] elsewhere();
  }

  // At most 4 GiB; a file is read up to 4 MiB. `text` is not a part of what is kept.
  KeptText& operator=(std::string_view text) {
    if (text.size() > (room_ == 0 ? bytes_.size() : room_)) {
      const auto room = (text.size() + 8 + 15) / 16 * 16 - 8;  // all that malloc gives for it
      char* const taken = new char[room];
      if (room_ != 0) delete[] elsewhere();
      std::memcpy(bytes_.data(), &taken, sizeof taken);
      room_ = static_cast<std::uint32_t>(room);
    }
    size_ = static_cast<std::uint32_t>(text.size());
    if (!text.empty()) std::memcpy(room_ == 0 ? bytes_.data() : elsewhere(), text.data(), text.size());
    return *this;
  }

  [[nodiscard]] std::string_view view() const { return {room_ == 0 ? bytes_.data() : elsewhere(), size_}; }

 private:
  [[nodiscard]] char* elsewhere() const {
    char* at = nullptr;
    std::memcpy(static_cast<void*>(&at), bytes_.data(), sizeof at);
    return at;
  }

  std::array<char, sizeof(char*)> bytes_{};  // the text, or where it is
  std::uint32_t size_ = 0;
  std::uint32_t room_ = 0;  // 0: the text is in place
};

static_assert(sizeof(KeptText) == 16);

}  // namespace cgwarden::cgroup
