// Kills a process (-9) at one step of its way to the disk, or of a message's way from Kafka to the log and back. It stands
// before the C library (LD_PRELOAD), and sees what a process does to its files and sockets.
//
// KILL_AT    write     before bytes of a file are written
//            sync      before written bytes are synced
//            synced    after they were
//            whole     before a file is synced with all that is known of it
//            rename    before a file takes the place of another
//            commit    before an offset is committed
//            sent      after that was sent
//            answered  when the answer to it has come
// KILL_AFTER, KILL_WHEN: see step.h
#include "step.h"

// Of a Kafka request: its length (4 bytes), what it asks for (2), a version (2), and a number that its answer has too (4).
enum { KIND = 4, NUMBER = 8, NUMBER_BYTES = 4, HEAD_BYTES = 12, OFFSET_COMMIT = 8 };

// Which socket an offset was committed by, and the number of that request.
static atomic_int committed_by = -1;
static char number[NUMBER_BYTES];

ssize_t write(int fd, const void *bytes, size_t length) {
  static ssize_t (*next)(int, const void *, size_t);
  if (!next) next = dlsym(RTLD_NEXT, "write");
  if (is_file(fd)) pass("write");
  return next(fd, bytes, length);
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
  static ssize_t (*next)(int, const struct iovec *, int);
  if (!next) next = dlsym(RTLD_NEXT, "writev");
  if (is_file(fd)) pass("write");
  return next(fd, pieces, count);
}

int fdatasync(int fd) {
  static int (*next)(int);
  if (!next) next = dlsym(RTLD_NEXT, "fdatasync");
  pass("sync");
  int result = next(fd);
  pass("synced");
  return result;
}

int fsync(int fd) {
  static int (*next)(int);
  if (!next) next = dlsym(RTLD_NEXT, "fsync");
  pass("whole");
  return next(fd);
}

int rename(const char *from, const char *to) {
  static int (*next)(const char *, const char *);
  if (!next) next = dlsym(RTLD_NEXT, "rename");
  pass("rename");
  return next(from, to);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  static ssize_t (*next)(int, const struct msghdr *, int);
  if (!next) next = dlsym(RTLD_NEXT, "sendmsg");
  const char *head = message->msg_iovlen ? message->msg_iov[0].iov_base : NULL;
  int is_commit = head && message->msg_iov[0].iov_len >= HEAD_BYTES && !head[KIND] && head[KIND + 1] == OFFSET_COMMIT;
  if (is_commit) {
    pass("commit");
    memcpy(number, head + NUMBER, NUMBER_BYTES);
    committed_by = fd;
  }
  ssize_t result = next(fd, message, flags);
  if (is_commit) pass("sent");
  return result;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
  static ssize_t (*next)(int, struct msghdr *, int);
  if (!next) next = dlsym(RTLD_NEXT, "recvmsg");
  ssize_t result = next(fd, message, flags);
  if (result >= KIND + NUMBER_BYTES && fd == committed_by && message->msg_iov[0].iov_len >= KIND + NUMBER_BYTES &&
      !memcmp((char *)message->msg_iov[0].iov_base + KIND, number, NUMBER_BYTES)) {
    pass("answered");
  }
  return result;
}
