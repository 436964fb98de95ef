/* SPDX-License-Identifier: MIT */
/* A target's main() where there is no libFuzzer: runs it with each file of the folders, or file. */
#include <fts.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

static void run(const char *path, size_t size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size + 1); /* so that it isn't NULL if the file is empty */
    FUZZ_REQUIRE(file && data && fread(data, 1, size, file) == size);
    fclose(file);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
}

/* Always in the same order. */
static int compare(const FTSENT **one, const FTSENT **other)
{
    return strcmp((*one)->fts_name, (*other)->fts_name);
}

int main(int argc, char *argv[])
{
    unsigned count = 0;
    FUZZ_REQUIRE(argc > 1);
    FTS *files = fts_open(argv + 1, FTS_PHYSICAL | FTS_NOCHDIR, compare);
    FUZZ_REQUIRE(files);
    for (const FTSENT *entry; (entry = fts_read(files));) {
        FUZZ_REQUIRE(entry->fts_info != FTS_NS && entry->fts_info != FTS_DNR);
        if (entry->fts_info == FTS_F) {
            run(entry->fts_path, (size_t)entry->fts_statp->st_size);
            count++;
        }
    }
    fts_close(files);
    FUZZ_REQUIRE(count > 0);
    return 0;
}
