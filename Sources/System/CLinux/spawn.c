// Starting a program.
//
// The child borrows our memory (CLONE_VM) while we are held (CLONE_VFORK), as posix_spawn does: no page table is copied,
// however large the server is, and the child reports an error by writing it into our memory. So it may call nothing that
// allocates, locks or touches library state: system calls only, until it executes or ends.

#define _GNU_SOURCE
#include "clinux.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_STACK_BYTES = 64 * 1024, FIRST_FREE_DESCRIPTOR = 3, FAILED_CHILD_CODE = 127 };

struct child {
    const struct clinux_spawn *request;
    int descriptors[3];
    pid_t parent;
    volatile int stage;
    volatile int error;
    volatile int cgroup_error;
};

static int fail(struct child *child, int stage) {
    child->error = errno;
    child->stage = stage;
    return FAILED_CHILD_CODE;
}

/// Back to the defaults: an ignored SIGPIPE or a blocked SIGTERM would outlive the execution.
static void reset_signal_handlers(void) {
    // The system call itself: the library's sigaction refuses 32 and 33, which it keeps for its threads, so that a
    // child would go on ignoring them if whoever started us did. All zero is SIG_DFL in the kernel's own structure,
    // whose four words (handler, flags, restorer, mask) are those of x86-64 and AArch64 alike.
    const uint64_t standard[4] = {0, 0, 0, 0};
    const size_t mask_bytes = 8;
    for (int number = 1; number < NSIG; number++) {
        if (number != SIGKILL && number != SIGSTOP) {
            (void)syscall(SYS_rt_sigaction, number, standard, NULL, mask_bytes);
        }
    }
}

static int close_all_from(unsigned first) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0U, 0) == 0) return 0;
#endif
    struct rlimit limit;  // before Linux 5.9
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -1;
    for (rlim_t number = first; number < limit.rlim_cur; number++) (void)close((int)number);
    return 0;
}

/// The soft limit of open files that our parent gave us, and our children have; 0 while it is ours, too.
static rlim_t given_files;

int clinux_raise_open_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -1;
    if (limit.rlim_cur >= limit.rlim_max) return 0;
    const rlim_t given = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) return -1;
    given_files = given;
    return 0;
}

/// A program that uses select() cannot bear more than it expects.
static void lower_open_files(void) {
    struct rlimit limit;
    if (given_files == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    limit.rlim_cur = given_files;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int set_limits(const struct clinux_spawn *request) {
    for (int i = 0; i < request->limit_count; i++) {
        struct rlimit limit = {.rlim_cur = request->limits[i].value, .rlim_max = request->limits[i].value};
        if (setrlimit((__rlimit_resource_t)request->limits[i].resource, &limit) < 0) return -1;
    }
    return 0;
}

/// Becomes another user, for good.
///
/// The system calls themselves: the library's setuid asks every thread of the process to follow, and those threads are
/// our parent's.
static int become_user(const struct clinux_spawn *request) {
    if (!request->has_user) return 0;
    if (syscall(SYS_setgroups, (long)request->group_count, request->groups) < 0) return -1;
    if (syscall(SYS_setresgid, request->group, request->group, request->group) < 0) return -1;
    return syscall(SYS_setresuid, request->user, request->user, request->user) < 0 ? -1 : 0;
}

static int run_child(void *argument) {
    struct child *child = argument;
    const struct clinux_spawn *request = child->request;
    reset_signal_handlers();
    if (request->own_session ? setsid() < 0 : setpgid(0, 0) < 0) return fail(child, CLINUX_STAGE_SESSION);
    if (request->cgroup >= 0 && write(request->cgroup, "0", 1) < 0) child->cgroup_error = errno;
    for (int i = 0; i < request->bound_count; i++) {
        if (write(request->bounds[i], "0", 1) < 0) return fail(child, CLINUX_STAGE_CGROUP);
    }
    for (int number = 0; number < 3; number++) {
        if (dup2(child->descriptors[number], number) < 0) return fail(child, CLINUX_STAGE_DESCRIPTORS);
    }
    if (request->own_terminal && ioctl(0, TIOCSCTTY, 0) < 0) return fail(child, CLINUX_STAGE_SESSION);
    if (close_all_from(FIRST_FREE_DESCRIPTOR) < 0) return fail(child, CLINUX_STAGE_DESCRIPTORS);
    lower_open_files();
    if (set_limits(request) < 0) return fail(child, CLINUX_STAGE_LIMIT);
    if (become_user(request) < 0) return fail(child, CLINUX_STAGE_USER);
    if (request->death_signal != 0) {
        // After the change of user, which forgets it.
        if (prctl(PR_SET_PDEATHSIG, request->death_signal) < 0) return fail(child, CLINUX_STAGE_SESSION);
        // Had our parent died before the line above, nobody would tell us.
        if (getppid() != child->parent) (void)kill(getpid(), SIGKILL);
    }
    if (chdir(request->directory) < 0) return fail(child, CLINUX_STAGE_DIRECTORY);
    (void)umask(022);
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)execve(request->path, request->arguments, request->environment);
    return fail(child, CLINUX_STAGE_EXECUTE);
}

/// Copies of the three descriptors above the standard ones, so that no dup2 in the child overwrites the next source.
static int lift_descriptors(const struct clinux_spawn *request, int lifted[3]) {
    const int sources[3] = {request->input, request->output, request->error};
    for (int i = 0; i < 3; i++) {
        lifted[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, FIRST_FREE_DESCRIPTOR);
        if (lifted[i] < 0) {
            int error = errno;
            while (i-- > 0) close(lifted[i]);
            return -error;
        }
    }
    return 0;
}

static void reap(pid_t pid) {
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

int clinux_spawn(const struct clinux_spawn *request, struct clinux_spawned *result) {
    struct child child = {.request = request, .parent = getpid()};
    *result = (struct clinux_spawned){.pid = -1, .pidfd = -1, .stage = CLINUX_STAGE_DESCRIPTORS};
    int lifted = lift_descriptors(request, child.descriptors);
    if (lifted < 0) {
        result->error = -lifted;
        return lifted;
    }
    char *stack = mmap(NULL, CHILD_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    int pidfd = -1;
    int pid = -1;
    int clone_error = errno;
    if (stack != MAP_FAILED) {
        sigset_t all, before;
        sigfillset(&all);
        // No handler of ours may run in the child while it shares our memory.
        pthread_sigmask(SIG_SETMASK, &all, &before);
        pid = clone(run_child, stack + CHILD_STACK_BYTES, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &child, &pidfd);
        clone_error = errno;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        munmap(stack, CHILD_STACK_BYTES);
    }
    for (int i = 0; i < 3; i++) close(child.descriptors[i]);
    if (pid < 0) {
        result->stage = CLINUX_STAGE_CLONE;
        result->error = clone_error;
        return -clone_error;
    }
    result->stage = child.stage;
    result->error = child.error;
    result->cgroup_error = child.cgroup_error;
    if (child.stage != CLINUX_STAGE_NONE) {
        reap(pid);
        close(pidfd);
        return -child.error;
    }
    result->pid = pid;
    result->pidfd = pidfd;
    return 0;
}
