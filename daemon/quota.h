/* SPDX-License-Identifier: MIT */
/*
 * Quotas and charges. A quota is an account with a limit; a charge is what somebody has taken from
 * one, embedded in the thing that costs it, and gives itself back when that is deinitialised. An
 * account that is deinitialised must be empty: a charge that was forgotten dies in the tests.
 *
 * A user is what one uid has in one place: in the whole instance, or in one pool.
 */
#ifndef DAEMON_QUOTA_H
#define DAEMON_QUOTA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "proto/error.h"

#define QUOTA_UNLIMITED UINT64_MAX

struct quota {
    uint64_t used;
    uint64_t max;
};

void quota_init(struct quota *quota, uint64_t max);
/* Asserts that nothing is charged any more. */
void quota_deinit(struct quota *quota);
/* What could still be charged: nothing, too, if the limit was lowered below what is used. */
uint64_t quota_left(const struct quota *quota);

struct charge {
    struct quota *quota; /* NULL exactly if nothing is charged */
    uint64_t amount;
};

/* All zero is a charge of nothing. */
#define CHARGE_NONE ((struct charge){.quota = NULL})

/*
 * Charges that much more: of the quota that it is of already, or of any if it is CHARGE_NONE.
 * False, and nothing changed, if it isn't left.
 */
bool charge_take(struct charge *charge, struct quota *quota, uint64_t amount);
/* The same of what is there already, even if the quota is exceeded by it. */
void charge_put(struct charge *charge, struct quota *quota, uint64_t amount);
/* Gives that much of it back; with the last of it, it is CHARGE_NONE. */
void charge_give(struct charge *charge, uint64_t amount);
/* Gives all of it back. */
void charge_deinit(struct charge *charge);
/*
 * All of it is the other charge's now, which was CHARGE_NONE or of the same quota. The quota
 * doesn't notice, so this can't fail.
 */
void charge_move(struct charge *charge, struct charge *to);

/* What is counted for each uid; a place uses those it needs. */
enum user_quota {
    USER_SESSIONS,
    USER_POOLS,
    USER_BYTES, /* of shared memory */
    USER_WAITERS,
    USER_SLOTS,
    USER_QUOTAS,
};

struct user {
    LIST_ENTRY(user) in_users;
    uid_t uid;
    unsigned references;
    struct quota quotas[USER_QUOTAS];
};

struct users {
    LIST_HEAD(, user) list;
    uint64_t max[USER_QUOTAS]; /* of each new user */
};

/* All quotas unlimited. */
void users_init(struct users *users);
/* Asserts that there is no user any more. */
void users_deinit(struct users *users);

/* The uid's user, made if need be, and one more reference to it. NULL without memory. */
struct user *users_get(struct users *users, uid_t uid);
/* One reference less; the last one frees it, and asserts that nothing is charged. NULL is fine. */
void user_put(struct user *user);

/* Charges a user of the instance. False with QUOTA_EXCEEDED. */
bool user_charge(struct user *user, enum user_quota which, uint64_t amount, struct charge *charge,
                 struct error *error);

#endif
