/* A disk that fails on demand: LD_PRELOAD this, and name in FAULT_SWITCH a file of six native int32:
 *   0 write, 1 fsync, 2 read, 3 open for writing: the errno that these give, 0 for none
 *   4 which device, 0 for none: st_dev of the file system that is meant      5 how often something failed
 * The file is mapped, so a change acts at once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile int *on;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("FAULT_SWITCH");
  int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
  int fd = path ? real(path, O_RDWR | O_CLOEXEC) : -1;
  void *map = fd < 0 ? MAP_FAILED : mmap(0, 24, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  on = map == MAP_FAILED ? 0 : map;
  if (fd >= 0) close(fd);
}

static int fails(int what, int fd) {
  struct stat found;
  if (!on || !on[what] || fstat(fd, &found) || (int)found.st_dev != on[4]) return 0;
  __sync_fetch_and_add((int *)&on[5], 1);
  errno = on[what];
  return 1;
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t n) {
  return fails(0, fd) ? -1 : REAL(ssize_t, write, int, const void *, size_t)(fd, data, n);
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
  return fails(0, fd) ? -1 : REAL(ssize_t, pwrite, int, const void *, size_t, off_t)(fd, data, n, at);
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
  return fails(0, fd) ? -1 : REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t)(fd, data, n, at);
}
ssize_t writev(int fd, const struct iovec *v, int n) {
  return fails(0, fd) ? -1 : REAL(ssize_t, writev, int, const struct iovec *, int)(fd, v, n);
}
ssize_t read(int fd, void *data, size_t n) {
  return fails(2, fd) ? -1 : REAL(ssize_t, read, int, void *, size_t)(fd, data, n);
}
ssize_t pread(int fd, void *data, size_t n, off_t at) {
  return fails(2, fd) ? -1 : REAL(ssize_t, pread, int, void *, size_t, off_t)(fd, data, n, at);
}
ssize_t pread64(int fd, void *data, size_t n, off64_t at) {
  return fails(2, fd) ? -1 : REAL(ssize_t, pread64, int, void *, size_t, off64_t)(fd, data, n, at);
}
int fsync(int fd) { return fails(1, fd) ? -1 : REAL(int, fsync, int)(fd); }
int fdatasync(int fd) { return fails(1, fd) ? -1 : REAL(int, fdatasync, int)(fd); }

static int refuse(int fd, int flags) {
  if (fd < 0 || !(flags & (O_WRONLY | O_RDWR)) || !fails(3, fd)) return fd;
  close(fd);
  errno = on[3];
  return -1;
}

#define OPEN(name)                                                          \
  int name(const char *path, int flags, ...) {                              \
    va_list rest;                                                           \
    va_start(rest, flags);                                                  \
    int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0;     \
    va_end(rest);                                                           \
    return refuse(REAL(int, name, const char *, int, ...)(path, flags, mode), flags); \
  }
OPEN(open)
OPEN(open64)
