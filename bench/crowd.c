// SPDX-License-Identifier: Apache-2.0
// Creates N children of the cgroup NAME in every given hierarchy, with one sleeping process in each. Prints "ready",
// waits until standard input is closed, then kills the processes by PID and removes the cgroups.
//   crowd [--docker] N NAME MOUNT_POINT...      --docker: use the names of Docker containers, with numbers as IDs
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[4096];
static const char* pattern = "%s/%s/g%d%s";  // mount point, NAME, number, file

static int put(const char* file, const char* text) {
  const int fd = open(file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  const ssize_t n = write(fd, text, strlen(text));
  close(fd);
  return n < 0 ? -1 : 0;
}

static void copy_file(const char* from_dir, const char* to_dir, const char* name) {
  char from[4096], to[4096], text[4096];
  snprintf(from, sizeof from, "%s/%s", from_dir, name);
  snprintf(to, sizeof to, "%s/%s", to_dir, name);
  const int fd = open(from, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  const ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return;
  text[n] = 0;
  put(to, text);
}

static void make(const char* parent, const char* dir) {
  if (mkdir(dir, 0755) != 0 && errno != EEXIST) perror(dir);
  copy_file(parent, dir, "cpuset.cpus");  // v1: no process can be attached while these are empty
  copy_file(parent, dir, "cpuset.mems");
}

static void drop(const char* dir) {
  for (int tries = 0; tries < 500 && rmdir(dir) != 0 && errno == EBUSY; ++tries) usleep(10000);
}

static const char* path_of(const char* mount, const char* name, int number, const char* file) {
  snprintf(path, sizeof path, pattern, mount, name, number, file);
  return path;
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "--docker") == 0) {
    pattern = "%s/%s/docker-%064d.scope%s";
    --argc;
    ++argv;
  }
  const int n = argc > 3 ? atoi(argv[1]) : 0;
  if (n < 1 || n > 100000) {
    fprintf(stderr, "usage: crowd [--docker] N NAME MOUNT_POINT...\n");
    return 2;
  }
  const char* name = argv[2];
  char** mounts = argv + 3;
  const int count = argc - 3;
  char parent[4096];
  pid_t* pids = calloc((size_t)n, sizeof *pids);
  if (pids == NULL) return 1;
  signal(SIGPIPE, SIG_IGN);
  for (int m = 0; m < count; ++m) {
    snprintf(parent, sizeof parent, "%s/%s", mounts[m], name);
    make(mounts[m], parent);
    put((snprintf(path, sizeof path, "%s/cgroup.subtree_control", mounts[m]), path), "+cpu +memory +io +pids");
    put((snprintf(path, sizeof path, "%s/cgroup.subtree_control", parent), path), "+cpu +memory +io +pids");
    for (int i = 0; i < n; ++i) {
      make(parent, path_of(mounts[m], name, i, ""));
    }
  }
  for (int i = 0; i < n; ++i) {
    pids[i] = fork();
    if (pids[i] == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(0);
      while (1) pause();
    }
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)pids[i]);
    for (int m = 0; m < count; ++m) {
      if (put(path_of(mounts[m], name, i, "/cgroup.procs"), pid) != 0 && i == 0) perror(path);
    }
  }
  printf("ready\n");
  fflush(stdout);
  char c;
  while (read(0, &c, 1) > 0) {
  }
  for (int i = 0; i < n; ++i) kill(pids[i], SIGKILL);
  for (int i = 0; i < n; ++i) waitpid(pids[i], NULL, 0);
  for (int m = 0; m < count; ++m) {
    for (int i = 0; i < n; ++i) {
      drop(path_of(mounts[m], name, i, ""));
    }
    snprintf(path, sizeof path, "%s/%s", mounts[m], name);
    drop(path);
  }
  free(pids);
  return 0;
}
