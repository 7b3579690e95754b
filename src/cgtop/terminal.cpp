// SPDX-License-Identifier: Apache-2.0
#include "src/cgtop/terminal.h"

#define NCURSES_NOMACROS 1
#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <fcntl.h>
#include <langinfo.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "src/base/clock.h"
#include "src/base/text.h"
#include "src/cgtop/record_printer.h"

namespace cgwarden::cgtop {
namespace {

// State for the handler of fatal signals. Prepared in advance, because the handler may only call async-signal-safe
// functions (signal-safety(7)).
struct CrashRestore {
  int fd = -1;
  termios modes{};
  std::array<char, 256> text{};
  std::size_t size = 0;
};
CrashRestore crash_restore;  // NOLINT: a signal handler can only reach globals

constexpr std::chrono::milliseconds kDoubleClick{400};
constexpr int kClipboardTimeout = 300;  // ms
constexpr std::size_t kClipboardChunk = 256;
constexpr std::size_t kMaxTerminfoBytes = 200;  // of CrashRestore::text; the rest is for the mouse

constexpr int kFatalSignals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};

void restore_terminal_and_reraise(int signal) {
  if (crash_restore.fd >= 0) {
    ::tcsetattr(crash_restore.fd, TCSANOW, &crash_restore.modes);
    [[maybe_unused]] const auto written = ::write(crash_restore.fd, crash_restore.text.data(), crash_restore.size);
  }
  (void)std::signal(signal, SIG_DFL);
  (void)::raise(signal);
}

// Converts one character and its combining marks, at most CCHARW_MAX.
void to_wide(std::string_view utf8, wchar_t (&out)[CCHARW_MAX + 1]) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < utf8.size() && n < CCHARW_MAX;) {
    const auto lead = static_cast<unsigned char>(utf8[i]);
    const std::size_t size = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    auto c = static_cast<std::uint32_t>(size == 1 ? lead : lead & (0xFFU >> (size + 1)));
    for (std::size_t k = 1; k < size && i + k < utf8.size(); ++k) {
      c = c << 6U | (static_cast<unsigned char>(utf8[i + k]) & 0x3FU);
    }
    out[n++] = static_cast<wchar_t>(c);
    i += size;
  }
  out[n] = L'\0';
}

char32_t key_of(int code) {
  switch (code) {
    case KEY_UP:
      return key::kUp;
    case KEY_DOWN:
      return key::kDown;
    case KEY_LEFT:
      return key::kLeft;
    case KEY_RIGHT:
      return key::kRight;
    case KEY_PPAGE:
      return key::kPageUp;
    case KEY_NPAGE:
      return key::kPageDown;
    case KEY_HOME:
      return key::kHome;
    case KEY_END:
      return key::kEnd;
    case KEY_BTAB:
      return key::kBackTab;
    case KEY_DC:
      return key::kDelete;
    case KEY_BACKSPACE:
      return key::kBackspace;
    case KEY_ENTER:
      return key::kEnter;
    default:
      break;
  }
  if (code >= KEY_F(1) && code <= KEY_F(12)) return key::kF1 + static_cast<char32_t>(code - KEY_F(1));
  return key::kNone;
}

}  // namespace

struct Terminal::Inner {
  SCREEN* screen = nullptr;
  FILE* in = nullptr;
  FILE* out = nullptr;
  bool own_in = false;
  bool color = false;
  std::pair<int, int> clicked{-1, -1};  // cell of the previous click
  base::Monotonic clicked_at{};
  const Theme* theme = kThemes.data();
  std::map<std::pair<short, short>, short>
      pairs;  // color pairs by foreground and background; at most as many as the themes use

  ~Inner() {
    if (own_in && in != nullptr) (void)std::fclose(in);
  }

  attr_t attributes(const Style& style, short& pair) {
    const auto painted = paint(*theme, style, color ? COLORS : 0);
    attr_t out_attributes = A_NORMAL;
    if (painted.bold) out_attributes |= A_BOLD;
    if (painted.dim) out_attributes |= A_DIM;
    if (painted.reverse) out_attributes |= A_REVERSE;
    if (painted.underline) out_attributes |= A_UNDERLINE;
    pair = 0;
    if (painted.fg < 0 && painted.bg < 0) return out_attributes;
    const auto [at, made] = pairs.try_emplace({painted.fg, painted.bg}, static_cast<short>(pairs.size() + 1));
    if (made) ::init_pair(at->second, painted.fg, painted.bg);
    pair = at->second;
    return out_attributes;
  }
};

// The mouse event that curses reports; nullopt for events that the screen does not handle.
std::optional<MouseEvent> Terminal::read_mouse() {
  MEVENT event{};
  if (::getmouse(&event) != OK) return std::nullopt;
  MouseEvent mouse{MouseEvent::Kind::click, event.y, event.x, false};
  if ((event.bstate & BUTTON4_PRESSED) != 0) {
    mouse.kind = MouseEvent::Kind::wheel_up;
  } else if ((event.bstate & BUTTON5_PRESSED) != 0) {
    mouse.kind = MouseEvent::Kind::wheel_down;
  } else if ((event.bstate & BUTTON1_PRESSED) != 0) {
    const auto now = base::monotonic_now();
    const std::pair cell{event.y, event.x};
    mouse.repeated = cell == inner_->clicked && now - inner_->clicked_at < kDoubleClick;
    inner_->clicked = cell;
    inner_->clicked_at = now;
  } else {
    return std::nullopt;
  }
  return mouse;
}

bool Terminal::is_utf8() { return std::string_view(::nl_langinfo(CODESET)) == "UTF-8"; }

base::Result<std::unique_ptr<Terminal>> Terminal::open(const Options& options) {
  auto inner = std::make_unique<Inner>();
  inner->out = stdout;
  inner->in = stdin;
  if (::isatty(STDIN_FILENO) == 0) {
    // "command | cgtop": read keys from the terminal instead of standard input.
    inner->in = std::fopen("/dev/tty", "re");
    inner->own_in = true;
    if (inner->in == nullptr) return base::fail_errno("cannot open /dev/tty");
  }
  crash_restore.fd = STDOUT_FILENO;
  if (::tcgetattr(STDOUT_FILENO, &crash_restore.modes) != 0)
    return base::fail_errno("standard output is not a terminal");
  inner->screen = ::newterm(nullptr, inner->out, inner->in);
  if (inner->screen == nullptr) {
    crash_restore.fd = -1;
    const char* const term = std::getenv("TERM");
    return base::fail(std::string("TERM=") + (term != nullptr ? base::printable(term) : "") +
                      ": unknown terminal type");
  }
  ::set_term(inner->screen);
  for (const char* const name : {"cnorm", "rmkx", "sgr0", "rmcup"}) {
    char copy[16] = {};
    (void)std::snprintf(copy, sizeof copy, "%s", name);
    const char* const text = ::tigetstr(copy);
    if (text == nullptr || reinterpret_cast<std::intptr_t>(text) == -1) continue;
    for (const char* c = text; *c != '\0' && crash_restore.size < kMaxTerminfoBytes; ++c)
      crash_restore.text[crash_restore.size++] = *c;
  }
  ::cbreak();
  ::noecho();
  ::nonl();
  ::keypad(stdscr, TRUE);
  ::nodelay(stdscr, TRUE);
  ::set_escdelay(25);
  ::curs_set(0);
  ::leaveok(stdscr, TRUE);
  if (options.mouse) {
    // Report each press at once; otherwise curses waits for a possible double click.
    ::mouseinterval(0);
    ::mousemask(BUTTON1_PRESSED | BUTTON4_PRESSED | BUTTON5_PRESSED, nullptr);
    // The crash handler must disable mouse reporting; normally endwin() does.
    if (::has_mouse()) {
      constexpr std::string_view mouse_off = "\x1b[?1000l\x1b[?1006l";
      std::copy(mouse_off.begin(), mouse_off.end(),
                crash_restore.text.begin() + static_cast<std::ptrdiff_t>(crash_restore.size));
      crash_restore.size += mouse_off.size();
    }
  }
  for (const int signal : kFatalSignals) (void)std::signal(signal, restore_terminal_and_reraise);
  if (options.color && ::has_colors()) {
    ::start_color();
    ::use_default_colors();
    inner->color = true;
  }
  return std::unique_ptr<Terminal>(new Terminal(std::move(inner)));
}

Terminal::Terminal(std::unique_ptr<Inner> inner) : inner_(std::move(inner)) {}

Terminal::~Terminal() {
  ::endwin();
  ::delscreen(inner_->screen);
  crash_restore.fd = -1;
  for (const int signal : kFatalSignals) (void)std::signal(signal, SIG_DFL);
}

int Terminal::rows() const { return ::getmaxy(stdscr); }
int Terminal::columns() const { return ::getmaxx(stdscr); }
int Terminal::input() const { return ::fileno(inner_->in); }

void Terminal::resize() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) return;
  ::resizeterm(size.ws_row, size.ws_col);
  ::clearok(curscr, TRUE);
}

bool Terminal::show(const Grid& grid) {
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  if (::poll(&out, 1, 0) != 1 || (out.revents & POLLOUT) == 0) return false;
  ::werase(stdscr);
  for (int row = 0; row < std::min(grid.rows(), rows()); ++row) {
    for (int column = 0; column < std::min(grid.columns(), columns()); ++column) {
      const auto& cell = grid.at(row, column);
      if (cell.text.empty() || (cell.text == " " && cell.style == Style{})) continue;
      wchar_t wide[CCHARW_MAX + 1];
      to_wide(cell.text, wide);
      short pair = 0;
      const auto attributes = inner_->attributes(cell.style, pair);
      cchar_t shown{};
      if (::setcchar(&shown, wide, attributes, pair, nullptr) == OK) ::mvwadd_wch(stdscr, row, column, &shown);
    }
  }
  ::wrefresh(stdscr);
  return true;
}

std::vector<InputEvent> Terminal::read_keys() {
  std::vector<InputEvent> keys;
  for (int i = 0; i < 256; ++i) {  // bounded, so that a long paste does not delay drawing
    wint_t code = 0;
    const int kind = ::wget_wch(stdscr, &code);
    if (kind == ERR) break;
    if (kind == KEY_CODE_YES && code == KEY_MOUSE) {
      if (const auto mouse = read_mouse()) keys.emplace_back(*mouse);
    } else if (kind == KEY_CODE_YES) {
      if (const auto key = key_of(static_cast<int>(code)); key != key::kNone) keys.emplace_back(key);
    } else if (code == '\r') {
      keys.emplace_back(key::kEnter);
    } else {
      keys.emplace_back(static_cast<char32_t>(code));
    }
  }
  return keys;
}

void Terminal::copy(std::string_view text) {
  // The text is base64, so it cannot contain control sequences. The Linux console would print the sequence.
  const char* const term = std::getenv("TERM");
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  if (term == nullptr || std::string_view(term).starts_with("linux") || ::poll(&out, 1, 0) != 1) return;
  const auto sequence = "\x1b]52;c;" + base64(text) + '\a';
  for (std::string_view rest = sequence; !rest.empty();) {
    // A terminal that stops reading must not block the screen; the next output terminates the sequence.
    if (::poll(&out, 1, kClipboardTimeout) != 1) return;
    const auto n = ::write(STDOUT_FILENO, rest.data(), std::min(rest.size(), kClipboardChunk));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
}

bool Terminal::hung_up() const {
  pollfd in{input(), POLLIN, 0};
  if (::poll(&in, 1, 0) < 1) return false;
  if ((in.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) return true;
  int waiting = 0;
  return (in.revents & POLLIN) != 0 && ::ioctl(input(), FIONREAD, &waiting) == 0 && waiting == 0;
}

void Terminal::set_theme(const Theme& theme) {
  inner_->theme = &theme;
  // Erased cells get the background of the theme.
  short pair = 0;
  const auto attributes = inner_->attributes({}, pair);
  cchar_t blank{};
  if (::setcchar(&blank, L" ", attributes, pair, nullptr) == OK) ::wbkgrndset(stdscr, &blank);
}

void Terminal::suspend() { ::endwin(); }

void Terminal::resume() {
  ::clearok(curscr, TRUE);
  resize();
}

}  // namespace cgwarden::cgtop
