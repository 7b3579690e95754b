// SPDX-License-Identifier: Apache-2.0
// A growing, reusable byte buffer for response bodies. Unlike std::string it does not zero new memory, and a caller may
// write to the free space after the end through a pointer. One thread at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace cgwarden::exporter {

class Buffer {
 public:
  // Pointer to at least `size` writable bytes after the contents. Valid until the next call of room() or append().
  char* room(std::size_t size) {
    if (capacity_ - size_ < size) grow(size);
    return data_.get() + size_;
  }
  // End of the writable bytes.
  [[nodiscard]] char* limit() { return data_.get() + capacity_; }
  // Sets the end of the contents after bytes were written through room().
  void written_to(const char* end) { size_ = static_cast<std::size_t>(end - data_.get()); }

  void append(std::string_view text) {
    if (text.empty()) return;
    std::memcpy(room(text.size()), text.data(), text.size());
    size_ += text.size();
  }
  void truncate(std::size_t size) { size_ = std::min(size, size_); }
  void clear() { size_ = 0; }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }
  [[nodiscard]] std::string_view view() const { return {data_.get(), size_}; }

 private:
  void grow(std::size_t size) {
    const std::size_t capacity = std::max({size_ + size, 2 * capacity_, std::size_t{4096}});
    auto bigger = std::make_unique_for_overwrite<char[]>(capacity);
    if (size_ != 0) std::memcpy(bigger.get(), data_.get(), size_);
    data_ = std::move(bigger);
    capacity_ = capacity;
  }

  std::unique_ptr<char[]> data_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

// Reuses buffers after their last reference is gone: a slow client keeps its buffer, and the next response uses another
// one. The pool keeps up to `max_kept` buffers; further ones are freed after use. Buffers and pool stay on one thread.
class BufferPool {
 public:
  explicit BufferPool(std::size_t max_kept) : max_kept_(max_kept) {}

  std::shared_ptr<Buffer> take() {
    for (const auto& buffer : buffers_) {
      if (buffer.use_count() == 1) {
        buffer->clear();
        return buffer;
      }
    }
    auto fresh = std::make_shared<Buffer>();
    if (buffers_.size() < max_kept_) buffers_.push_back(fresh);
    return fresh;
  }

 private:
  std::size_t max_kept_;
  std::vector<std::shared_ptr<Buffer>> buffers_;
};

}  // namespace cgwarden::exporter
