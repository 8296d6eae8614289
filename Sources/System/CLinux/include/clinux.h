#pragma once
// What Swift cannot say to Linux itself: starting a program in a borrowed address space, waiting by descriptor, epoll,
// timers and detached threads. Everything returns 0 or a count when it went well and -errno when it did not, unless
// its line says otherwise. No function here allocates from the heap.

#include <stddef.h>
#include <stdint.h>

/// Where a start failed, in the order of the steps.
enum clinux_stage {
    CLINUX_STAGE_NONE = 0,
    CLINUX_STAGE_CLONE = 1,
    CLINUX_STAGE_SESSION = 2,
    CLINUX_STAGE_DESCRIPTORS = 3,
    CLINUX_STAGE_DIRECTORY = 4,
    CLINUX_STAGE_LIMIT = 5,
    CLINUX_STAGE_EXECUTE = 6,
    CLINUX_STAGE_CGROUP = 7,
    CLINUX_STAGE_USER = 8,
};

/// One bound given to the program: soft and hard alike. Above the hard bound we stand under ourselves it is refused.
struct clinux_limit {
    int resource;
    uint64_t value;
};

enum { CLINUX_LIMITS_MAX = 8, CLINUX_CGROUPS_MAX = 4, CLINUX_GROUPS_MAX = 64 };

/// What is to be started. All pointers stay the caller's.
struct clinux_spawn {
    const char *path;
    char *const *arguments;
    char *const *environment;
    const char *directory;
    int input;
    int output;
    int error;
    int cgroup;        // descriptor of cgroup.procs, or -1
    int own_session;   // 1: setsid, 0: only a process group of its own
    int own_terminal;  // 1: its input is a terminal, which becomes that of its own session
    int death_signal;  // sent when the starting thread ends; 0 for none
    int limit_count;
    struct clinux_limit limits[CLINUX_LIMITS_MAX];
    int bound_count;   // descriptors of cgroup.procs that bound the program: not getting in fails the start
    int bounds[CLINUX_CGROUPS_MAX];
    int has_user;      // 1: become this user, which needs privilege
    uint32_t user;
    uint32_t group;
    int group_count;   // supplementary groups
    uint32_t groups[CLINUX_GROUPS_MAX];
};

struct clinux_spawned {
    int pid;
    int pidfd;
    int stage;         // enum clinux_stage
    int error;         // errno of that stage
    int cgroup_error;  // errno when the cgroup could not be entered, which is not fatal
};

/// Starts a program and returns once it has been executed or could not be. A failed child is already reaped.
int clinux_spawn(const struct clinux_spawn *request, struct clinux_spawned *result);

/// How a process ended, and what it took.
struct clinux_ending {
    int has_ended;
    int was_signalled;
    int code;  // exit code, or the signal's number
    uint64_t cpu_microseconds;
    uint64_t resident_bytes_peak;
};

/// Looks whether the child behind a pidfd has ended. With reap 0 it stays a zombie, so that its number stays taken.
int clinux_look(int pidfd, int reap, struct clinux_ending *ending);

int clinux_pidfd_open(int pid);
int clinux_pidfd_signal(int pidfd, int signal);

/// Waits until one of the descriptors can be read (for pidfds: has ended). Returns how many.
int clinux_poll(const int *descriptors, int count, int timeout_milliseconds);

int clinux_epoll(void);
/// Watches edges of reading and hang-up under a token.
int clinux_epoll_add(int epoll, int descriptor, uint64_t token);
int clinux_epoll_remove(int epoll, int descriptor);
/// Waits without end. Returns the number of tokens written.
int clinux_epoll_wait(int epoll, uint64_t *tokens, int capacity);

/// A monotonic one-shot timer, readable when it has rung.
int clinux_timer(void);
/// Arms the timer; 0 disarms it.
int clinux_timer_set(int timer, uint64_t nanoseconds);

/// A counting semaphore as a descriptor.
int clinux_semaphore(void);
int clinux_semaphore_post(int semaphore);
int clinux_semaphore_wait(int semaphore);

/// A pipe, close-on-exec at both ends, that does not block its reader.
int clinux_pipe(int descriptors[2], int capacity);

/// Opens a file, close-on-exec. Returns the descriptor.
int clinux_open(const char *path, int flags, unsigned mode);

/// Lets this process have as many open files as it may; programs that it starts have as many as it was given. Called once, early.
int clinux_raise_open_files(void);

/// Starts a detached thread that takes no signals, so that handlers run elsewhere.
int clinux_thread(const char *name, void (*body)(void *), void *context);

// MARK: terminals

/// Makes a terminal and writes the name of its other end, for a program. Returns our end, close-on-exec and not blocking.
int clinux_terminal(char *name, size_t capacity, int rows, int columns);
int clinux_terminal_resize(int terminal, int rows, int columns);

// MARK: memory

/// The first place of a needle in a text, or null. It is glibc's own: only its declaration hides behind _GNU_SOURCE.
void *memmem(const void *text, size_t text_length, const void *needle, size_t needle_length);

/// Has the kernel begin to write a stretch of a file to the disk, and does not wait for it. Nothing is promised: only a sync is.
int clinux_begin_write(int descriptor, int64_t offset, int64_t count);
