// SPDX-License-Identifier: Apache-2.0
// The content of an interface file, cached until the file is read again. There is one for each file of each cgroup;
// most are a few bytes long or stay the same for hours. The object is half as large as a std::string and stores eight
// bytes in place. Assigning a text that fits the current capacity does not allocate.
//
// Thread: one at a time. Errors: std::bad_alloc.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

namespace cgwarden::cgroup {

class CachedText {
 public:
  CachedText() = default;
  CachedText(CachedText&& other) noexcept
      : bytes_(other.bytes_), size_(std::exchange(other.size_, 0)), capacity_(std::exchange(other.capacity_, 0)) {}
  CachedText& operator=(CachedText&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  CachedText(const CachedText&) = delete;
  CachedText& operator=(const CachedText&) = delete;
  ~CachedText() {
    if (capacity_ != 0) delete[] heap();
  }

  // `text` must be at most 4 GiB (files are read up to 4 MiB) and must not point into this object.
  CachedText& operator=(std::string_view text) {
    if (text.size() > (capacity_ == 0 ? bytes_.size() : capacity_)) {
      const auto capacity = (text.size() + 8 + 15) / 16 * 16 - 8;  // the usable size of glibc's chunk for that size
      char* const allocated = new char[capacity];
      if (capacity_ != 0) delete[] heap();
      std::memcpy(bytes_.data(), &allocated, sizeof allocated);
      capacity_ = static_cast<std::uint32_t>(capacity);
    }
    size_ = static_cast<std::uint32_t>(text.size());
    if (!text.empty()) std::memcpy(capacity_ == 0 ? bytes_.data() : heap(), text.data(), text.size());
    return *this;
  }

  [[nodiscard]] std::string_view view() const { return {capacity_ == 0 ? bytes_.data() : heap(), size_}; }

 private:
  [[nodiscard]] char* heap() const {
    char* at = nullptr;
    std::memcpy(static_cast<void*>(&at), bytes_.data(), sizeof at);
    return at;
  }

  std::array<char, sizeof(char*)> bytes_{};  // the text itself, or a pointer to it
  std::uint32_t size_ = 0;
  std::uint32_t capacity_ = 0;  // of the heap buffer; 0: the text is in bytes_
};

static_assert(sizeof(CachedText) == 16);

}  // namespace cgwarden::cgroup
