/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "demo.h"

#define PAUSE_AT 10      /* the victim's piece, in the middle of which it is killed */
#define PIECES_FOR_IT 64 /* in the file, for the victim to get that far */

static const char *const default_files[] = {
    "/usr/share/common-licenses/GPL-3",
    "/usr/share/common-licenses/GPL-2",
    "/usr/share/common-licenses/Apache-2.0",
    "/usr/share/licenses/common/GPL-3.0-or-later/license.txt",
    "/etc/services",
};

static int open_file(struct demo *demo, const char *path)
{
    struct stat status;

    demo->file = path;
    demo->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (demo->fd < 0)
        return demo_fail(demo, -errno, "cannot read %s: %s", path, strerror(errno));
    if (fstat(demo->fd, &status) < 0)
        return demo_fail(demo, -errno, "cannot read %s: %s", path, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return demo_fail(demo, -EISDIR, "cannot read %s: it is a directory", path);
    if (!S_ISREG(status.st_mode))
        return demo_fail(demo, -EINVAL, "cannot read %s: it is not a regular file", path);
    demo->file_size = (uint64_t)status.st_size;
    return 0;
}

static int open_default(struct demo *demo)
{
    size_t count = sizeof(default_files) / sizeof(default_files[0]);

    for (size_t i = 0; i < count; i++) {
        if (access(default_files[i], R_OK) == 0)
            return open_file(demo, default_files[i]);
    }
    return demo_fail(demo, -ENOENT,
                     "there is no licence text here to pass; name a file: fastallocctl demo FILE");
}

/* A short file may have but one line for the victim. */
static int plan(struct demo *demo)
{
    unsigned char head[PIECES_FOR_IT * LINE_TEXT_SIZE];
    ssize_t length = pread(demo->fd, head, sizeof(head), 0);

    if (length < 0)
        return demo_fail(demo, -errno, "cannot read %s: %s", demo->file, strerror(errno));
    size_t pieces = piece_count(head, (size_t)length, LINE_TEXT_SIZE, PIECES_FOR_IT);
    demo->pause_at = pieces < PIECES_FOR_IT ? 1 : PAUSE_AT;
    return 0;
}

int demo_open_input(struct demo *demo)
{
    const struct call *call = demo->call;
    int result = call->operand_count > 0 ? open_file(demo, call->operands[0]) : open_default(demo);

    return result == 0 ? plan(demo) : result;
}
