/* Between a process and the C library: what a page of shared memory says is done to it.
 * The page is a file of 16 numbers of 64 bits; `shim.rs` has the same list. Built when a test needs it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { FAIL, SLOW_US, HANG, SHIFT_S, FAILED = 8, SLOWED, HUNG, SHIFTED, LOADED };

static volatile int64_t *page;

static void count(int which) { __atomic_add_fetch(&page[which], 1, __ATOMIC_RELAXED); }

__attribute__((constructor)) static void load(void)
{
    const char *path = getenv("DLF_SHIM");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(0, 128, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED)
        return;
    page = mapped;
    count(LOADED);
}

static void nap(int64_t us)
{
    struct timespec t = { us / 1000000, us % 1000000 * 1000 };
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

/* Whether the sync fails. What fails is not tried: the bytes are as lost as on a disk that refused them. */
static int syncing(void)
{
    if (!page)
        return 0;
    if (page[SLOW_US]) {
        count(SLOWED);
        nap(page[SLOW_US]);
    }
    if (page[HANG]) {
        count(HUNG);
        while (page[HANG])
            nap(2000);
    }
    if (!page[FAIL])
        return 0;
    count(FAILED);
    errno = EIO;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return syncing() ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return syncing() ? -1 : REAL(fdatasync)(fd); }
int msync(void *at, size_t length, int flags) { return syncing() ? -1 : REAL(msync)(at, length, flags); }
int sync_file_range(int fd, off64_t at, off64_t length, unsigned flags)
{
    return syncing() ? -1 : REAL(sync_file_range)(fd, at, length, flags);
}

static int64_t shift(void)
{
    if (!page || !page[SHIFT_S])
        return 0;
    count(SHIFTED);
    return page[SHIFT_S];
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    static __typeof__(&clock_gettime) real;
    if (!real)
        real = REAL(clock_gettime);
    int status = real(clock, t);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        t->tv_sec += shift();
    return status;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    int status = REAL(gettimeofday)(t, zone);
    if (status == 0 && t)
        t->tv_sec += shift();
    return status;
}

time_t time(time_t *t)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t)
        *t = now.tv_sec;
    return now.tv_sec;
}
