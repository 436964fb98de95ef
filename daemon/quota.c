/* SPDX-License-Identifier: MIT */
#include "daemon/quota.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "daemon/name.h"

/* ---- Quotas and charges ---------------------------------------------------------------------- */

void quota_init(struct quota *quota, uint64_t max)
{
    *quota = (struct quota){.used = 0, .max = max};
}

void quota_deinit(struct quota *quota)
{
    assert(quota->used == 0);
    *quota = (struct quota){0};
}

uint64_t quota_left(const struct quota *quota)
{
    return quota->used < quota->max ? quota->max - quota->used : 0;
}

void charge_put(struct charge *charge, struct quota *quota, uint64_t amount)
{
    assert(!charge->quota || charge->quota == quota);
    if (amount > 0)
        charge->quota = quota;
    charge->amount += amount;
    quota->used += amount;
}

bool charge_take(struct charge *charge, struct quota *quota, uint64_t amount)
{
    assert(!charge->quota || charge->quota == quota);
    if (amount > quota_left(quota))
        return false;
    charge_put(charge, quota, amount);
    return true;
}

void charge_give(struct charge *charge, uint64_t amount)
{
    assert(amount <= charge->amount);
    if (amount == 0)
        return;
    assert(amount <= charge->quota->used);
    charge->quota->used -= amount;
    charge->amount -= amount;
    if (charge->amount == 0)
        *charge = CHARGE_NONE;
}

void charge_deinit(struct charge *charge)
{
    charge_give(charge, charge->amount);
}

void charge_move(struct charge *charge, struct charge *to)
{
    assert(charge != to && (!charge->quota || !to->quota || to->quota == charge->quota));
    if (!charge->quota)
        return;
    to->quota = charge->quota;
    to->amount += charge->amount;
    *charge = CHARGE_NONE;
}

/* ---- Users ----------------------------------------------------------------------------------- */

void users_init(struct users *users)
{
    LIST_INIT(&users->list);
    for (enum user_quota i = 0; i < USER_QUOTAS; i++)
        users->max[i] = QUOTA_UNLIMITED;
}

void users_deinit(struct users *users)
{
    assert(LIST_EMPTY(&users->list));
    *users = (struct users){0};
}

static struct user *user_new(struct users *users, uid_t uid)
{
    struct user *user = calloc(1, sizeof(*user));
    if (!user)
        return NULL;
    user->uid = uid;
    for (enum user_quota i = 0; i < USER_QUOTAS; i++)
        quota_init(&user->quotas[i], users->max[i]);
    LIST_INSERT_HEAD(&users->list, user, in_users);
    return user;
}

struct user *users_get(struct users *users, uid_t uid)
{
    struct user *user;
    LIST_FOREACH (user, &users->list, in_users)
        if (user->uid == uid)
            break;
    if (!user)
        user = user_new(users, uid);
    if (user)
        user->references++;
    return user;
}

void user_put(struct user *user)
{
    if (!user || --user->references > 0)
        return;
    for (enum user_quota i = 0; i < USER_QUOTAS; i++)
        quota_deinit(&user->quotas[i]);
    LIST_REMOVE(user, in_users);
    free(user);
}

bool user_charge(struct user *user, enum user_quota which, uint64_t amount, struct charge *charge,
                 struct error *error)
{
    static const char *const names[USER_QUOTAS] = {"sessions", "pools", "bytes", "waiters",
                                                   "slots"};
    const struct quota *quota = &user->quotas[which];
    if (charge_take(charge, &user->quotas[which], amount))
        return true;
    error_set(error, ERROR_QUOTA_EXCEEDED,
              "user %u has %" PRIu64 " of at most %" PRIu64
              " %s in this instance and asked for %" PRIu64
              " more; let some go, or start the daemon with another --user-%s",
              (unsigned)user->uid, quota->used, quota->max, names[which], amount, names[which]);
    name_copy(error->field, names[which]);
    error->requested = amount;
    error->allocated = quota->used;
    error->max = quota->max;
    return false;
}
