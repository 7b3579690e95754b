// SPDX-License-Identifier: Apache-2.0
// Compresses a body in pieces with gzip, so that the whole body need not be in memory. Optimized for speed: level 1 of
// ISA-L where the architecture has it (a third of the time of libdeflate and a fifth of that of zlib), else level 1 of
// libdeflate, which keeps the pieces until the end. The object is reusable. One thread and one body at a time.
#pragma once

#include <memory>
#include <string_view>

#include "exporter/buffer.h"

namespace cgwarden::exporter {

class Gzip {
 public:
  Gzip();
  ~Gzip();
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  // Starts a body. `out` is cleared and must outlive finish().
  void start(Buffer& out);
  void add(std::string_view in) { feed(in, false); }
  // False if memory ran out; the contents of `out` are undefined then.
  [[nodiscard]] bool finish() { return feed({}, true); }
  // start(), add() and finish() in one call.
  [[nodiscard]] bool compress(std::string_view in, Buffer& out) {
    start(out);
    return feed(in, true);
  }

 private:
  bool feed(std::string_view in, bool last);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cgwarden::exporter
