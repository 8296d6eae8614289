// The system's zlib, by its own header (Debian: zlib1g-dev).
#include <zlib.h>
