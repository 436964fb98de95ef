/* SPDX-License-Identifier: MIT */
#include "client/resume.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "client/error.h"

void resume_begin(struct resume *resume, uint64_t session, const uint8_t token[PROTOCOL_TOKEN_SIZE])
{
    resume->session = session;
    memcpy(resume->token, token, sizeof(resume->token));
}

/* ---- Open pools ------------------------------------------------------------------------------ */

static struct resume_pool *find(struct resume *resume, uint32_t pool)
{
    for (unsigned i = 0; i < resume->count; i++)
        if (resume->pools[i].id == pool)
            return &resume->pools[i];
    return NULL;
}

void resume_add(struct resume *resume, uint32_t pool, int bell)
{
    struct resume_pool *entry = find(resume, pool);
    if (!entry && resume->count < RESUME_POOLS_MAX) {
        entry = &resume->pools[resume->count++];
        *entry = (struct resume_pool){.id = pool, .bell = -1};
    }
    if (entry && entry->bell < 0)
        entry->bell = bell;
}

void resume_forget(struct resume *resume, uint32_t pool)
{
    struct resume_pool *entry = find(resume, pool);
    if (entry)
        *entry = resume->pools[--resume->count];
}

void resume_forget_bell(struct resume *resume, uint32_t pool)
{
    struct resume_pool *entry = find(resume, pool);
    if (entry)
        entry->bell = -1;
}

/* ---- The call -------------------------------------------------------------------------------- */

/* It rings once: what was rung for on the old one may not have been heard. */
static void replace_bells(struct resume *resume, int bell)
{
    static const uint64_t one = 1;
    for (unsigned i = 0; i < resume->count; i++)
        if (resume->pools[i].bell >= 0)
            dup3(bell, resume->pools[i].bell, O_CLOEXEC);
    ssize_t written = write(bell, &one, sizeof(one));
    (void)written;
}

static int take_bell(struct call *call, struct descriptors *arrived)
{
    const struct resume_reply *reply = call->reply;
    __attribute__((cleanup(descriptors_close))) struct descriptors bell = {.count = 0};
    call->complaint = "other descriptors than it told of";
    int result = descriptors_take(arrived, reply->descriptors, &bell);
    if (result == 0 && bell.count > 0) {
        call->complaint = "a bell that is none";
        result = descriptors_check_bell(&bell, 0);
    }
    if (result < 0 && result != FASTALLOC_ERR_MALFORMED)
        error_raise(call->error, result, "%s", error_text(-result));
    if (result == 0 && bell.count > 0)
        replace_bells(call->context, bell.fds[0]);
    return result;
}

void resume_prepare(struct resume *resume)
{
    for (unsigned i = 0; i < resume->count; i++) {
        uint32_t wire = htole32(resume->pools[i].id);
        memcpy(resume->numbers + i * sizeof(wire), &wire, sizeof(wire));
    }
    resume->request = (struct resume_request){
        .version = PROTOCOL_VERSION,
        .session = resume->session,
        .token = {resume->token, sizeof(resume->token)},
        .pools = {resume->numbers, resume->count * sizeof(uint32_t)},
    };
    resume->error = FASTALLOC_ERROR_INIT;
    resume->call = (struct call){
        .method = METHOD_RESUME,
        .request = &resume->request,
        .reply = &resume->reply,
        .take = take_bell,
        .context = resume,
        .error = &resume->error,
        .own = true,
    };
}
