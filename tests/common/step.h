// What libraries that kill a process at one step (LD_PRELOAD) have in common.
//
// KILL_AT    the step
// KILL_AFTER how often it is passed before
// KILL_WHEN  a file: nothing counts before it is there
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_int passed;

static void pass(const char *step) {
  const char *at = getenv("KILL_AT"), *after = getenv("KILL_AFTER"), *when = getenv("KILL_WHEN");
  if (at && after && when && !strcmp(at, step) && !access(when, F_OK) && atomic_fetch_add(&passed, 1) >= atoi(after)) {
    kill(getpid(), SIGKILL);
  }
}

static int is_file(int fd) {
  struct stat seen;
  // What is traced goes to a file too.
  return fd > STDERR_FILENO && !fstat(fd, &seen) && S_ISREG(seen.st_mode);
}
