// The files of the web UI, embedded in the binary by C23's #embed.
#pragma once
#include <stddef.h>

struct vagus_asset {
    const char *_Nonnull name;
    const unsigned char *_Nonnull bytes;
    size_t size;
};

/// How many files there are.
size_t vagus_asset_count(void);
/// The file at an index below the count; the last one for any other.
struct vagus_asset vagus_asset(size_t index);
