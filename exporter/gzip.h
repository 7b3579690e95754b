// SPDX-License-Identifier: Apache-2.0
// gzip of a whole body, for speed rather than size: ISA-L's level 1 where the architecture has it (a third of the time
// of libdeflate's and a fifth of zlib's), libdeflate's level 1 elsewhere. One thread at a time: the compressor's state
// is kept.
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

  // Replaces `out`. False: it cannot be done (no memory, more than 4 GB), and the body has to go as it is.
  [[nodiscard]] bool compress(std::string_view in, Buffer& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cgwarden::exporter
