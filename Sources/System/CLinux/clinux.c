#define _GNU_SOURCE
#include "clinux.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static int or_errno(long result) { return result < 0 ? -errno : (int)result; }

// MARK: - Ending

int clinux_look(int pidfd, int reap, struct clinux_ending *ending) {
    memset(ending, 0, sizeof *ending);
    siginfo_t info;
    struct rusage usage;
    memset(&info, 0, sizeof info);
    memset(&usage, 0, sizeof usage);
    int flags = WEXITED | WNOHANG | (reap ? 0 : WNOWAIT);
    // The system call itself: the library's waitid leaves out the usage.
    long result;
    do {
        result = syscall(SYS_waitid, P_PIDFD, pidfd, &info, flags, &usage);
    } while (result < 0 && errno == EINTR);
    if (result < 0) return -errno;
    if (info.si_pid == 0) return 0;
    ending->has_ended = 1;
    ending->was_signalled = info.si_code != CLD_EXITED;
    ending->code = info.si_status;
    uint64_t seconds = (uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec;
    ending->cpu_microseconds = seconds * 1000000 + (uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec;
    ending->resident_bytes_peak = (uint64_t)usage.ru_maxrss * 1024;
    return 0;
}

int clinux_pidfd_open(int pid) { return or_errno(syscall(SYS_pidfd_open, pid, 0)); }

int clinux_pidfd_signal(int pidfd, int signal) {
    return or_errno(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0));
}

int clinux_poll(const int *descriptors, int count, int timeout_milliseconds) {
    enum { AT_ONCE = 64 };
    struct pollfd polled[AT_ONCE];
    if (count > AT_ONCE) count = AT_ONCE;
    for (int i = 0; i < count; i++) {
        polled[i].fd = descriptors[i];
        polled[i].events = POLLIN;
        polled[i].revents = 0;
    }
    int result;
    do {
        result = poll(polled, (nfds_t)count, timeout_milliseconds);
    } while (result < 0 && errno == EINTR);
    return or_errno(result);
}

// MARK: - Events

int clinux_epoll(void) { return or_errno(epoll_create1(EPOLL_CLOEXEC)); }

int clinux_epoll_add(int epoll, int descriptor, uint64_t token) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
    event.data.u64 = token;
    return or_errno(epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event));
}

int clinux_epoll_remove(int epoll, int descriptor) {
    return or_errno(epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, NULL));
}

int clinux_epoll_wait(int epoll, uint64_t *tokens, int capacity) {
    enum { AT_ONCE = 64 };
    struct epoll_event events[AT_ONCE];
    if (capacity > AT_ONCE) capacity = AT_ONCE;
    int count;
    do {
        count = epoll_wait(epoll, events, capacity, -1);
    } while (count < 0 && errno == EINTR);
    if (count < 0) return -errno;
    for (int i = 0; i < count; i++) tokens[i] = events[i].data.u64;
    return count;
}

int clinux_timer(void) { return or_errno(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)); }

int clinux_timer_set(int timer, uint64_t nanoseconds) {
    struct itimerspec when;
    memset(&when, 0, sizeof when);
    when.it_value.tv_sec = (time_t)(nanoseconds / 1000000000u);
    when.it_value.tv_nsec = (long)(nanoseconds % 1000000000u);
    return or_errno(timerfd_settime(timer, 0, &when, NULL));
}

int clinux_semaphore(void) { return or_errno(eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)); }

int clinux_semaphore_post(int semaphore) {
    uint64_t one = 1;
    long result;
    do {
        result = write(semaphore, &one, sizeof one);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

int clinux_semaphore_wait(int semaphore) {
    uint64_t value;
    long result;
    do {
        result = read(semaphore, &value, sizeof value);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

int clinux_pipe(int descriptors[2], int capacity) {
    if (pipe2(descriptors, O_CLOEXEC) < 0) return -errno;
    // Only our end: the flag sits on the open file, and the program's end must block as programs expect.
    int flags = fcntl(descriptors[0], F_GETFL);
    if (flags < 0 || fcntl(descriptors[0], F_SETFL, flags | O_NONBLOCK) < 0) {
        int error = errno;
        close(descriptors[0]);
        close(descriptors[1]);
        return -error;
    }
    // A wish: refused when the user's pipes already take much, and then the usual 64 KiB serve.
    (void)fcntl(descriptors[1], F_SETPIPE_SZ, capacity);
    return 0;
}

int clinux_open(const char *path, int flags, unsigned mode) {
    int result;
    do {
        result = open(path, flags | O_CLOEXEC, mode);
    } while (result < 0 && errno == EINTR);
    return or_errno(result);
}

// MARK: - Threads

struct thread_start {
    void (*body)(void *);
    void *context;
    const char *name;
    int taken;
};

static void *run_thread(void *argument) {
    struct thread_start *start = argument;
    void (*body)(void *) = start->body;
    void *context = start->context;
    pthread_setname_np(pthread_self(), start->name);
    __atomic_store_n(&start->taken, 1, __ATOMIC_RELEASE);  // `start` is on the starter's stack and gone from here on
    body(context);
    return NULL;
}

int clinux_thread(const char *name, void (*body)(void *), void *context) {
    struct thread_start start = {.body = body, .context = context, .name = name, .taken = 0};
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error != 0) return -error;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    error = pthread_create(&thread, &attributes, run_thread, &start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error != 0) return -error;
    while (!__atomic_load_n(&start.taken, __ATOMIC_ACQUIRE)) sched_yield();
    return 0;
}

int clinux_begin_write(int descriptor, int64_t offset, int64_t count) {
    return or_errno(sync_file_range(descriptor, offset, count, SYNC_FILE_RANGE_WRITE));
}
