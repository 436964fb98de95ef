/* SPDX-License-Identifier: MIT */
/*
 * A call: what its caller wants of the daemon, and where its reply goes. It stays where it is until
 * it is over, since whichever thread has the channel in hand sends it again, or takes its reply.
 */
#ifndef CLIENT_CALL_H
#define CLIENT_CALL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <fastalloc/fastalloc.h>

#include "client/descriptors.h"
#include "proto/message.h"

struct call;

/*
 * Takes out of the reply, already decoded, what lies in the message (bytes, lists) or came beside
 * it (descriptors): they are gone afterwards. Called by whichever thread reads. 0;
 * FASTALLOC_ERR_MALFORMED, with call->complaint, which breaks the channel; or another code that it
 * has raised in call->error.
 */
typedef int (*call_take_t)(struct call *call, struct descriptors *arrived);

/* One call, on its caller's stack; or where it stays until it is finished, if it is started. */
struct call {
    enum method method;
    const void *request; /* struct <method>_request */
    void *reply;         /* struct <method>_reply */
    call_take_t take;    /* or NULL */
    void *context;       /* for `take` */
    int64_t timeout;     /* how long the request lets the daemon wait; negative: for ever */
    int64_t begun;       /* since when it waits; 0 = from now on */
    bool bounded; /* ends with its time, if that isn't for ever, whoever answers or doesn't */

    /* What is written into the request when it is sent, in one that has it. */
    uint64_t *number; /* of an allocate: a new one each time */
    int64_t *left;    /* of the timeout */
    uint32_t *change; /* the same one each time; 0 at first */

    fastalloc_error_t *error;
    const char *complaint;

    /* The channel's. */
    uint32_t msgid;
    int result;
    bool sent; /* on the connection that there is */
    bool done;
    bool waits;   /* for its turn to send, or for another thread that reads */
    bool started; /* by channel_start() */
    bool late;    /* so, and nobody waits for it now */
    bool own;     /* the channel's own */
    bool delayed; /* it wasn't sent, or is sent again, later than it began */
    bool expired; /* its time was over, and the daemon had said nothing */
    pthread_cond_t wake;
    TAILQ_ENTRY(call) in_pending;
    TAILQ_ENTRY(call) in_changes;
};

TAILQ_HEAD(call_list, call);

#endif
