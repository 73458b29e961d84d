/* Preloaded into the daemon: a disk that is slow, fails or loses its power, a clock that is set.
 *
 * CHAOS_CONTROL  a file of eight 64-bit numbers, mapped: what the harness asks for, while it runs
 * CHAOS_DATABASE the database; it, its -wal and its -journal are the files that are watched
 * CHAOS_JOURNAL  (optional) where each write, truncation, sync and removal of those files is
 *                recorded with its bytes, in the order in which it happened
 * CHAOS_TRACE    (optional, any value) records what is received and sent on sockets, too
 *
 * What is recorded is on the safe side of a power cut: a write after it was made, a sync after it
 * returned, an answer before it is sent. Real calls go straight to the kernel, so that nothing here
 * depends on how the C library is built. Built by chaos/shim.py:
 * cc -O2 -shared -fPIC -o shim.so shim.c -ldl -lpthread
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile int64_t delay_us;     /* added to every sync of a watched file */
    volatile int64_t fail_after;   /* n: the n-th sync from now fails; 0: none does */
    volatile int64_t offset_ns;    /* added to the wall clock */
    volatile int64_t syncs;        /* counted here, for the harness */
    volatile int64_t failed;
    volatile int64_t unused[3];
};

enum kind { WRITE = 1, SYNC, SYNC_FAILED, TRUNCATE, UNLINK, RECEIVED, SENT };

struct record {
    uint32_t magic, kind;
    int64_t fd, offset, length; /* of the data that follow; for TRUNCATE the new size */
    char name[16];              /* the file's name after the database's: "", "-wal", "/" */
};

static struct control *control;
static int journal = -1, tracing;
static const char *database;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CHAOS_CONTROL");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        control = at == MAP_FAILED ? NULL : at;
        syscall(SYS_close, fd);
    }
    database = getenv("CHAOS_DATABASE");
    tracing = getenv("CHAOS_TRACE") != NULL;
    path = getenv("CHAOS_JOURNAL");
    if (path)
        journal = (int)syscall(SYS_openat, AT_FDCWD, path,
                               O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static void note(enum kind kind, int fd, const char *name, int64_t offset, int64_t length,
                 const void *data)
{
    struct record record = {0x43484153, kind, fd, offset, length, ""};
    struct iovec parts[2] = {{&record, sizeof record}, {(void *)data, data ? length : 0}};
    int saved = errno;
    if (journal < 0)
        return;
    strncpy(record.name, name, sizeof record.name - 1);
    pthread_mutex_lock(&order);
    syscall(SYS_writev, journal, parts, 2);
    pthread_mutex_unlock(&order);
    errno = saved;
}

/* The ending of a watched file's name, "/" for the directory that holds it; NULL: not watched. */
static const char *ending(const char *path)
{
    size_t length = database ? strlen(database) : 0;
    const char *slash = database ? strrchr(database, '/') : NULL;
    if (!length)
        return NULL;
    if (slash && strlen(path) == (size_t)(slash - database) && !strncmp(path, database, slash - database))
        return "/";
    if (strncmp(path, database, length))
        return NULL;
    if (!strcmp(path + length, "-wal"))
        return "-wal";
    if (!strcmp(path + length, "-journal"))
        return "-journal";
    return path[length] ? NULL : "";
}

static const char *watched(int fd)
{
    char link[32] = "/proc/self/fd/", path[4096], digits[12];
    int at = 0, count = 0, rest = fd;
    ssize_t length;
    do
        digits[count++] = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    for (at = 14; count > 0;)
        link[at++] = digits[--count];
    link[at] = 0;
    length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (fd < 0 || length <= 0)
        return NULL;
    path[length] = 0;
    return ending(path);
}

/* -- syncs ------------------------------------------------------------------------------------ */

static int synced(int fd, long call)
{
    const char *name = watched(fd);
    int result;
    if (name && control) {
        int64_t us = control->delay_us;
        struct timespec pause = {us / 1000000, (us % 1000000) * 1000};
        control->syncs++;
        if (us > 0)
            nanosleep(&pause, NULL);
        if (control->fail_after > 0 && --control->fail_after == 0) {
            control->failed++;
            note(SYNC_FAILED, fd, name, 0, 0, NULL);
            errno = EIO;
            return -1;
        }
    }
    result = (int)syscall(call, fd);
    if (name && result == 0)
        note(SYNC, fd, name, 0, 0, NULL);
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

/* -- writes ----------------------------------------------------------------------------------- */

static ssize_t written(int fd, const void *data, size_t count, off_t offset)
{
    ssize_t result = syscall(SYS_pwrite64, fd, data, count, offset);
    const char *name = result > 0 && journal >= 0 ? watched(fd) : NULL;
    if (name)
        note(WRITE, fd, name, offset, result, data);
    return result;
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t offset)
{
    return written(fd, data, count, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t offset)
{
    return written(fd, data, count, offset);
}

static int truncated(int fd, off_t size)
{
    int result = (int)syscall(SYS_ftruncate, fd, size);
    const char *name = result == 0 && journal >= 0 ? watched(fd) : NULL;
    if (name)
        note(TRUNCATE, fd, name, 0, size, NULL);
    return result;
}

int ftruncate(int fd, off_t size) { return truncated(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncated(fd, size); }

int unlink(const char *path)
{
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    const char *name = result == 0 && journal >= 0 ? ending(path) : NULL;
    if (name)
        note(UNLINK, -1, name, 0, 0, NULL);
    return result;
}

/* -- sockets ---------------------------------------------------------------------------------- */

static int is_socket(int fd)
{
    struct stat found;
    return tracing && fstat(fd, &found) == 0 && S_ISSOCK(found.st_mode);
}

ssize_t read(int fd, void *data, size_t count)
{
    ssize_t result = syscall(SYS_read, fd, data, count);
    if (result > 0 && is_socket(fd))
        note(RECEIVED, fd, "", 0, result, data);
    return result;
}

ssize_t recv(int fd, void *data, size_t count, int flags)
{
    ssize_t result = syscall(SYS_recvfrom, fd, data, count, flags, NULL, NULL);
    if (result > 0 && is_socket(fd))
        note(RECEIVED, fd, "", 0, result, data);
    return result;
}

ssize_t write(int fd, const void *data, size_t count)
{
    const char *name;
    off_t offset;
    ssize_t result;
    if (is_socket(fd)) {
        note(SENT, fd, "", 0, (int64_t)count, data);
        return syscall(SYS_write, fd, data, count);
    }
    name = journal >= 0 ? watched(fd) : NULL;
    offset = name ? syscall(SYS_lseek, fd, 0, SEEK_CUR) : 0;
    result = syscall(SYS_write, fd, data, count);
    if (name && result > 0)
        note(WRITE, fd, name, offset, result, data);
    return result;
}

ssize_t send(int fd, const void *data, size_t count, int flags)
{
    if (is_socket(fd))
        note(SENT, fd, "", 0, (int64_t)count, data);
    return syscall(SYS_sendto, fd, data, count, flags, NULL, 0);
}

static void each(int fd, const struct iovec *parts, int count)
{
    for (int at = 0; is_socket(fd) && at < count; at++)
        note(SENT, fd, "", 0, (int64_t)parts[at].iov_len, parts[at].iov_base);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    each(fd, parts, count);
    return syscall(SYS_writev, fd, parts, count);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    each(fd, message->msg_iov, (int)message->msg_iovlen);
    return syscall(SYS_sendmsg, fd, message, flags);
}

/* -- the wall clock --------------------------------------------------------------------------- */

int clock_gettime(clockid_t clock, struct timespec *at)
{
    static int (*real)(clockid_t, struct timespec *);
    int result;
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    result = real(clock, at);
    if (result == 0 && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t all = at->tv_sec * 1000000000LL + at->tv_nsec + control->offset_ns;
        at->tv_sec = all / 1000000000LL;
        at->tv_nsec = all % 1000000000LL;
    }
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return (time_t)-1;
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
