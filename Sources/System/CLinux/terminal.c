// Terminals that programs are given.

#define _GNU_SOURCE
#include "clinux.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

int clinux_terminal_resize(int terminal, int rows, int columns) {
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    return ioctl(terminal, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

int clinux_terminal(char *name, size_t capacity, int rows, int columns) {
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0) return -errno;
    int flags = fcntl(terminal, F_GETFL);
    int is_ready = grantpt(terminal) == 0 && unlockpt(terminal) == 0 && flags >= 0
        && fcntl(terminal, F_SETFL, flags | O_NONBLOCK) == 0;
    int error = is_ready ? ptsname_r(terminal, name, capacity) : errno;
    if (error == 0) error = -clinux_terminal_resize(terminal, rows, columns);
    if (error == 0) return terminal;
    close(terminal);
    return -error;
}
