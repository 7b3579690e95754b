// SPDX-License-Identifier: Apache-2.0
// gzip of a body that is made piece by piece, so that it need not be in memory as a whole. For speed rather than size:
// ISA-L's level 1 where the architecture has it (a third of the time of libdeflate's and a fifth of zlib's),
// libdeflate's level 1 elsewhere, which keeps the pieces until the end. One thread and one body at a time: the state is
// kept.
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

  // What is added from now on goes to `out`, which is emptied and must stay until finish().
  void start(Buffer& out);
  void add(std::string_view in) { feed(in, false); }
  // False: it could not be done, for want of memory, and what `out` holds is of no use.
  [[nodiscard]] bool finish() { return feed({}, true); }
  // All at once.
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
