// SPDX-License-Identifier: Apache-2.0
#include "exporter/gzip.h"

#ifdef CGWARDEN_GZIP_ISAL
#include <isa-l/igzip_lib.h>
#else
#include <libdeflate.h>
#endif

#include <limits>
#include <vector>

namespace cgwarden::exporter {

#ifdef CGWARDEN_GZIP_ISAL

struct Gzip::State {
  isal_zstream stream;
  std::vector<std::uint8_t> level_buffer = std::vector<std::uint8_t>(ISAL_DEF_LVL1_DEFAULT);
};

Gzip::Gzip() : state_(std::make_unique<State>()) {}
Gzip::~Gzip() = default;

bool Gzip::compress(std::string_view in, Buffer& out) {
  // What does not shrink is stored, in blocks of 64 KiB with 5 bytes each; header and trailer are 18.
  const std::size_t bound = in.size() + 5 * (in.size() / 65535 + 1) + 1024;
  if (bound > std::numeric_limits<std::uint32_t>::max()) return false;
  out.clear();
  auto& stream = state_->stream;
  isal_deflate_stateless_init(&stream);
  stream.level = 1;
  stream.level_buf = state_->level_buffer.data();
  stream.level_buf_size = static_cast<std::uint32_t>(state_->level_buffer.size());
  stream.gzip_flag = IGZIP_GZIP;
  stream.end_of_stream = 1;
  stream.flush = NO_FLUSH;
  // The library never writes there; its type has no const.
  stream.next_in = reinterpret_cast<std::uint8_t*>(const_cast<char*>(in.data()));  // NOLINT
  stream.avail_in = static_cast<std::uint32_t>(in.size());
  char* const begin = out.room(bound);
  stream.next_out = reinterpret_cast<std::uint8_t*>(begin);
  stream.avail_out = static_cast<std::uint32_t>(bound);
  if (isal_deflate_stateless(&stream) != COMP_OK) return false;
  out.written_to(begin + stream.total_out);
  return true;
}

#else

struct Gzip::State {
  libdeflate_compressor* compressor = libdeflate_alloc_compressor(1);
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { libdeflate_free_compressor(compressor); }
};

Gzip::Gzip() : state_(std::make_unique<State>()) {}
Gzip::~Gzip() = default;

bool Gzip::compress(std::string_view in, Buffer& out) {
  if (state_->compressor == nullptr) return false;
  out.clear();
  const std::size_t bound = libdeflate_gzip_compress_bound(state_->compressor, in.size());
  char* const begin = out.room(bound);
  const std::size_t size = libdeflate_gzip_compress(state_->compressor, in.data(), in.size(), begin, bound);
  if (size == 0) return false;
  out.written_to(begin + size);
  return true;
}

#endif

}  // namespace cgwarden::exporter
