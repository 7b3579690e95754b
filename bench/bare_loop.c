// SPDX-License-Identifier: Apache-2.0
// Lower bound of the CPU time that the kernel needs to produce the content of interface files. Reads paths from stdin,
// opens all files, then calls pread on each open file descriptor once per round, in the given order. Prints the
// median and the smallest CPU time (user and system) of a round in microseconds, the bytes of a round, and the CPU time
// of opening all files and reading them for the first time. PAUSE_MS is the pause between rounds, during which other
// programs use the CPU caches, as between two scrapes.
//   bare_loop ROUNDS [PAUSE_MS] < paths
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static double cpu_us(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

static int by_value(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return x < y ? -1 : x > y;
}

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? atoi(argv[1]) : 9;
  if (rounds < 1 || rounds > 10000) {
    fprintf(stderr, "bare_loop: ROUNDS must be 1 to 10000\n");
    return 2;
  }
  const int pause_ms = argc > 2 ? atoi(argv[2]) : 0;
  if (pause_ms < 0 || pause_ms > 60000) {
    fprintf(stderr, "bare_loop: PAUSE_MS must be 0 to 60000\n");
    return 2;
  }
  const struct timespec pause = {pause_ms / 1000, pause_ms % 1000 * 1000000L};
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  static char line[8192], buffer[65536];
  const double opened = cpu_us();
  double first = 0;
  int* fds = NULL;
  size_t count = 0, room = 0;
  while (fgets(line, sizeof line, stdin) != NULL) {
    line[strcspn(line, "\n")] = 0;
    const int fd = open(line, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      perror(line);
      return 1;
    }
    if (count == room) {
      room = room ? room * 2 : 1024;
      fds = realloc(fds, room * sizeof *fds);
      if (fds == NULL) return 1;
    }
    fds[count++] = fd;
  }
  double* took = calloc((size_t)rounds, sizeof *took);
  if (took == NULL) return 1;
  size_t bytes = 0;
  for (int r = -1; r < rounds; ++r) {  // the first round is a warm-up
    if (r >= 0) nanosleep(&pause, NULL);
    const double begun = cpu_us();
    bytes = 0;
    for (size_t i = 0; i < count; ++i) {
      const ssize_t n = pread(fds[i], buffer, sizeof buffer, 0);
      if (n > 0) bytes += (size_t)n;
    }
    if (r >= 0) took[r] = cpu_us() - begun;
    if (r < 0) first = cpu_us() - opened;
  }
  qsort(took, (size_t)rounds, sizeof *took, by_value);
  printf("%zu files %.1f median_us %.1f smallest_us %zu bytes %.1f first_us\n", count, took[rounds / 2], took[0], bytes,
         first);
  return 0;
}
