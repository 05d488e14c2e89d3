// Stands between a process and the C library (LD_PRELOAD): its wall clock is ahead by CLOCK_AHEAD_SECONDS.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
  static int (*next)(clockid_t, struct timespec *);
  if (!next) next = dlsym(RTLD_NEXT, "clock_gettime");
  int result = next(clock, time);
  const char *ahead = getenv("CLOCK_AHEAD_SECONDS");
  if (!result && ahead && clock == CLOCK_REALTIME) time->tv_sec += atol(ahead);
  return result;
}
