// Stands between a process and the C library (LD_PRELOAD): holds its syncs, fails them, or kills it (-9) at one step of a
// turn. The steps are those of the thread that syncs, whichever runtime serves the connections.
//
// SYNC_DIR   a folder: while `hold` is in it syncs wait, and `held` is put into it; while `fail` is in it they fail; while
//            `read-only` is in it files can neither be written nor synced, as after the kernel has remounted their disk
// SYNC_NOTES a file: each write to a file and each sync of one is noted in it, in their order, with the file's name
// KILL_AT    write   before bytes of a file are written
//            sync    before written bytes are synced
//            synced  after they were
//            tell    before a door is woken to tell its callers
//            told    after it was
//            rows    before rows are written that follow from it
// KILL_AFTER, KILL_WHEN: see step.h
#include "step.h"
#include <sys/syscall.h>

// Whoever wakes a thread that waits for sockets writes a number of so many bytes.
enum { WAKE_BYTES = 8, PATH_BYTES = 4096, LOOK_US = 1000 };

// Whether this thread has synced since it last wrote to a file.
static _Thread_local int has_synced;

// Whether the test has put this file into its folder.
static int is_wished(const char *name, char path[PATH_BYTES]) {
  const char *folder = getenv("SYNC_DIR");
  return folder && snprintf(path, PATH_BYTES, "%s/%s", folder, name) < PATH_BYTES && !access(path, F_OK);
}

static void note(const char *what, int fd) {
  const char *notes = getenv("SYNC_NOTES");
  if (!notes) return;
  char link[PATH_BYTES], path[PATH_BYTES], line[PATH_BYTES + 16];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path);
  if (length < 0) return;
  int to = open(notes, O_CREAT | O_APPEND | O_WRONLY, 0600);
  // Past our own write.
  syscall(SYS_write, to, line, snprintf(line, sizeof line, "%s %.*s\n", what, (int)length, path));
  close(to);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) {
  static ssize_t (*next)(int, const void *, size_t, off_t);
  if (!next) next = dlsym(RTLD_NEXT, "pwrite64");
  if (is_file(fd)) note("write", fd);
  return next(fd, bytes, length, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  static ssize_t (*next)(int, const struct iovec *, int);
  if (!next) next = dlsym(RTLD_NEXT, "writev");
  if (is_file(fd)) note("write", fd);
  return next(fd, parts, count);
}

int fsync(int fd) {
  static int (*next)(int);
  if (!next) next = dlsym(RTLD_NEXT, "fsync");
  note("sync", fd);
  return next(fd);
}

ssize_t write(int fd, const void *bytes, size_t length) {
  static ssize_t (*next)(int, const void *, size_t);
  if (!next) next = dlsym(RTLD_NEXT, "write");
  char path[PATH_BYTES];
  if (is_file(fd) && is_wished("read-only", path)) {
    errno = EROFS;
    return -1;
  }
  if (is_file(fd)) {
    note("write", fd);
    pass(has_synced ? "rows" : "write");
    has_synced = 0;
  } else if (has_synced && length == WAKE_BYTES) {
    pass("tell");
    ssize_t result = next(fd, bytes, length);
    pass("told");
    return result;
  }
  return next(fd, bytes, length);
}

int fdatasync(int fd) {
  static int (*next)(int);
  if (!next) next = dlsym(RTLD_NEXT, "fdatasync");
  note("sync", fd);
  pass("sync");
  char path[PATH_BYTES];
  if (is_wished("hold", path)) {
    char held[PATH_BYTES + 2];
    snprintf(held, sizeof held, "%.*sheld", (int)(strlen(path) - strlen("hold")), path);
    close(open(held, O_CREAT | O_WRONLY, 0600));
    while (!access(path, F_OK)) usleep(LOOK_US);
    unlink(held);
  }
  if (is_wished("fail", path)) {
    errno = EIO;
    return -1;
  }
  if (is_wished("read-only", path)) {
    errno = EROFS;
    return -1;
  }
  int result = next(fd);
  has_synced = 1;
  pass("synced");
  return result;
}
