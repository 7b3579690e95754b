// SPDX-License-Identifier: Apache-2.0
#include "exporter/gzip.h"

#ifdef CGWARDEN_GZIP_ISAL
#include <isa-l/igzip_lib.h>
#else
#include <libdeflate.h>
#endif

#include <cstdint>
#include <vector>

namespace cgwarden::exporter {

#ifdef CGWARDEN_GZIP_ISAL

struct Gzip::State {
  isal_zstream stream;
  std::vector<std::uint8_t> level_buffer = std::vector<std::uint8_t>(ISAL_DEF_LVL1_DEFAULT);
  Buffer* out = nullptr;
  bool failed = false;
};

Gzip::Gzip() : state_(std::make_unique<State>()) {}
Gzip::~Gzip() = default;

void Gzip::start(Buffer& out) {
  out.clear();
  auto& stream = state_->stream;
  isal_deflate_init(&stream);
  stream.level = 1;
  stream.level_buf = state_->level_buffer.data();
  stream.level_buf_size = static_cast<std::uint32_t>(state_->level_buffer.size());
  stream.gzip_flag = IGZIP_GZIP;
  stream.flush = NO_FLUSH;
  state_->out = &out;
  state_->failed = false;
}

bool Gzip::feed(std::string_view in, bool last) {
  constexpr std::size_t piece_size = 1UL << 20U;  // sizes of the library are 32 bits
  constexpr std::size_t room_size = 64UL << 10U;
  auto& stream = state_->stream;
  auto& out = *state_->out;
  do {
    const auto piece = in.substr(0, piece_size);
    in.remove_prefix(piece.size());
    // The library only reads this; its type lacks const.
    stream.next_in = reinterpret_cast<std::uint8_t*>(const_cast<char*>(piece.data()));  // NOLINT
    stream.avail_in = static_cast<std::uint32_t>(piece.size());
    stream.end_of_stream = last && in.empty() ? 1 : 0;
    do {
      stream.next_out = reinterpret_cast<std::uint8_t*>(out.room(room_size));
      stream.avail_out = static_cast<std::uint32_t>(out.limit() - reinterpret_cast<char*>(stream.next_out));
      if (state_->failed || isal_deflate(&stream) != COMP_OK) return !(state_->failed = true);
      out.written_to(reinterpret_cast<char*>(stream.next_out));
    } while (stream.avail_out == 0);
  } while (!in.empty());
  return true;
}

#else

struct Gzip::State {
  libdeflate_compressor* compressor = libdeflate_alloc_compressor(1);
  Buffer body;
  Buffer* out = nullptr;
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { libdeflate_free_compressor(compressor); }
};

Gzip::Gzip() : state_(std::make_unique<State>()) {}
Gzip::~Gzip() = default;

void Gzip::start(Buffer& out) {
  out.clear();
  state_->body.clear();
  state_->out = &out;
}

bool Gzip::feed(std::string_view in, bool last) {
  state_->body.append(in);
  if (!last) return true;
  if (state_->compressor == nullptr) return false;
  const auto body = state_->body.view();
  const std::size_t bound = libdeflate_gzip_compress_bound(state_->compressor, body.size());
  char* const begin = state_->out->room(bound);
  const std::size_t size = libdeflate_gzip_compress(state_->compressor, body.data(), body.size(), begin, bound);
  if (size == 0) return false;
  state_->out->written_to(begin + size);
  return true;
}

#endif

}  // namespace cgwarden::exporter
