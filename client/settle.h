/* SPDX-License-Identifier: MIT */
/*
 * The allocates that the daemon was asked for and that nobody waits for any more: it is told of
 * them (method settle), so that it frees what they are granted late. Each stays here until that was
 * answered.
 */
#ifndef CLIENT_SETTLE_H
#define CLIENT_SETTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"

struct settle_entry {
    uint64_t number; /* of the allocate */
    uint32_t msgid;  /* of the request that names it */
    bool named;      /* there is one */
};

struct settle {
    struct settle_entry *entries;
    size_t count;
    size_t capacity;
    size_t unnamed;
    uint8_t numbers[PROTOCOL_REQUESTS_MAX];
};

/* 0 or -ENOMEM. */
int settle_init(struct settle *settle);
void settle_deinit(struct settle *settle);

/* Makes room for so many in all. 0 or -ENOMEM. */
int settle_reserve(struct settle *settle, size_t count);

/* Adds the number of an allocate. There is room. */
void settle_add(struct settle *settle, uint64_t number);

/*
 * The request of that msgid is to name those that none names yet, as many as it can. The numbers
 * are good until the next one. There are some.
 */
void settle_name(struct settle *settle, uint32_t msgid, struct settle_request *request);

/*
 * Whether a reply is that to one of the requests. Those that it named are settled, or, if it failed,
 * to be named again.
 */
bool settle_answer(struct settle *settle, uint32_t msgid, bool failed);

/* The requests are lost: all are to be named again. */
void settle_restart(struct settle *settle);

#endif
