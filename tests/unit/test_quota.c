/* SPDX-License-Identifier: MIT */
#include "daemon/quota.h"

#include <inttypes.h>
#include <stdio.h>

#include "tests/lib/aborts.h"
#include "tests/unit/suite.h"

#define MAX UINT64_C(10)

static struct quota quota;
static struct charge charge, other;
static struct users users;

static void set_up(void)
{
    quota_init(&quota, MAX);
    charge = other = CHARGE_NONE;
    users_init(&users);
}

/* Nothing may be left of any test. */
static void tear_down(void)
{
    charge_deinit(&charge);
    charge_deinit(&other);
    quota_deinit(&quota);
    users_deinit(&users);
}

static void check_charge(const struct charge *checked, uint64_t amount)
{
    ck_assert_uint_eq(checked->amount, amount);
    ck_assert_ptr_eq(checked->quota, amount > 0 ? &quota : NULL);
}

/* ---- Quotas and charges ---------------------------------------------------------------------- */

START_TEST(test_quota_begins_with_all_of_it_left)
{
    ck_assert_uint_eq(quota_left(&quota), MAX);
    ck_assert_uint_eq(quota.used, 0);
}
END_TEST

START_TEST(test_quota_can_be_charged_up_to_its_limit_and_not_one_more)
{
    ck_assert(!charge_take(&charge, &quota, MAX + 1));
    check_charge(&charge, 0);
    ck_assert(charge_take(&charge, &quota, MAX));
    check_charge(&charge, MAX);
    ck_assert_uint_eq(quota_left(&quota), 0);
    ck_assert(!charge_take(&other, &quota, 1));
    check_charge(&other, 0);
    ck_assert_uint_eq(quota.used, MAX);
}
END_TEST

START_TEST(test_quota_adds_up_what_several_have_charged)
{
    ck_assert(charge_take(&charge, &quota, 3));
    ck_assert(charge_take(&other, &quota, 4));
    ck_assert(!charge_take(&charge, &quota, 4));
    ck_assert(charge_take(&charge, &quota, 3));
    ck_assert(!charge_take(&other, &quota, 1));
    check_charge(&charge, 6);
    check_charge(&other, 4);
    ck_assert_uint_eq(quota.used, 10);
}
END_TEST

START_TEST(test_quota_of_nothing_can_be_charged_nothing)
{
    quota_init(&quota, 0);
    ck_assert(charge_take(&charge, &quota, 0));
    check_charge(&charge, 0);
    ck_assert(!charge_take(&charge, &quota, 1));
    ck_assert(!charge_take(&charge, &quota, UINT64_MAX));
}
END_TEST

START_TEST(test_quota_refuses_sums_that_overflow)
{
    ck_assert(charge_take(&charge, &quota, 5));
    ck_assert(!charge_take(&charge, &quota, UINT64_MAX));
    ck_assert(!charge_take(&other, &quota, UINT64_MAX - 5));
    ck_assert(!charge_take(&other, &quota, UINT64_MAX - 4));
    check_charge(&charge, 5);
    check_charge(&other, 0);
    ck_assert_uint_eq(quota.used, 5);
}
END_TEST

START_TEST(test_quota_without_limit_doesnt_overflow)
{
    quota_init(&quota, QUOTA_UNLIMITED);
    ck_assert(charge_take(&charge, &quota, UINT64_MAX - 1));
    ck_assert(!charge_take(&other, &quota, 2));
    ck_assert(charge_take(&other, &quota, 1));
    ck_assert(!charge_take(&other, &quota, 1));
    ck_assert_uint_eq(quota.used, UINT64_MAX);
}
END_TEST

START_TEST(test_quota_that_was_lowered_below_its_use_has_nothing_left)
{
    ck_assert(charge_take(&charge, &quota, 7));
    quota.max = 5;
    ck_assert_uint_eq(quota_left(&quota), 0);
    ck_assert(charge_take(&charge, &quota, 0));
    ck_assert(!charge_take(&charge, &quota, 1));
    charge_give(&charge, 3);
    ck_assert(charge_take(&charge, &quota, 1));
    ck_assert(!charge_take(&charge, &quota, 1));
}
END_TEST

START_TEST(test_charge_gives_back_in_parts)
{
    ck_assert(charge_take(&charge, &quota, MAX));
    charge_give(&charge, 4);
    check_charge(&charge, 6);
    ck_assert_uint_eq(quota_left(&quota), 4);
    charge_give(&charge, 0);
    check_charge(&charge, 6);
    charge_give(&charge, 6);
    check_charge(&charge, 0);
    ck_assert_uint_eq(quota_left(&quota), MAX);
}
END_TEST

START_TEST(test_charge_deinit_gives_back_the_rest)
{
    ck_assert(charge_take(&charge, &quota, 6));
    ck_assert(charge_take(&other, &quota, 1));
    charge_give(&charge, 2);
    charge_deinit(&charge);
    check_charge(&charge, 0);
    ck_assert_uint_eq(quota.used, 1);
}
END_TEST

START_TEST(test_charge_of_nothing_gives_nothing_back)
{
    charge_give(&charge, 0);
    charge_deinit(&charge);
    charge_deinit(&charge);
    check_charge(&charge, 0);
}
END_TEST

START_TEST(test_charge_that_is_none_again_may_be_of_another_quota)
{
    struct quota second;
    quota_init(&second, 1);
    ck_assert(charge_take(&charge, &quota, 2));
    charge_give(&charge, 2);
    ck_assert(charge_take(&charge, &second, 1));
    ck_assert_ptr_eq(charge.quota, &second);
    ck_assert_uint_eq(quota.used, 0);
    charge_deinit(&charge);
    quota_deinit(&second);
}
END_TEST

START_TEST(test_charge_move_takes_all_of_it_along)
{
    ck_assert(charge_take(&charge, &quota, 6));
    charge_move(&charge, &other);
    check_charge(&charge, 0);
    check_charge(&other, 6);
    ck_assert_uint_eq(quota.used, 6);
}
END_TEST

START_TEST(test_charge_move_adds_to_a_charge_of_the_same_quota)
{
    ck_assert(charge_take(&charge, &quota, 6));
    ck_assert(charge_take(&other, &quota, 4));
    charge_move(&charge, &other);
    check_charge(&charge, 0);
    check_charge(&other, MAX);
    ck_assert_uint_eq(quota.used, MAX);
}
END_TEST

START_TEST(test_charge_move_of_nothing_changes_nothing)
{
    charge_move(&charge, &other);
    check_charge(&other, 0);
    ck_assert(charge_take(&other, &quota, 4));
    charge_move(&charge, &other);
    check_charge(&charge, 0);
    check_charge(&other, 4);
}
END_TEST

/* ---- Users ----------------------------------------------------------------------------------- */

START_TEST(test_users_share_what_one_uid_has)
{
    struct user *first = users_get(&users, 1000);
    struct user *second = users_get(&users, 1000);
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_eq(first, second);
    ck_assert_uint_eq(first->uid, 1000);
    user_put(first);
    ck_assert_ptr_eq(users_get(&users, 1000), second); /* which is there still */
    user_put(second);
    user_put(second);
}
END_TEST

START_TEST(test_users_keep_uids_apart)
{
    struct user *root = users_get(&users, 0), *nobody = users_get(&users, (uid_t)-2);
    users.max[USER_SLOTS] = MAX;
    struct user *limited = users_get(&users, 1000);

    ck_assert(charge_take(&charge, &limited->quotas[USER_SLOTS], MAX));
    ck_assert_uint_eq(quota_left(&limited->quotas[USER_SLOTS]), 0);
    ck_assert_uint_eq(quota_left(&root->quotas[USER_SLOTS]), QUOTA_UNLIMITED);
    ck_assert_uint_eq(nobody->quotas[USER_SLOTS].used, 0);
    charge_deinit(&charge);
    user_put(nobody);
    user_put(root);
    user_put(limited);
}
END_TEST

START_TEST(test_users_have_no_limits_unless_they_are_set)
{
    struct user *user = users_get(&users, 1000);
    for (enum user_quota i = 0; i < USER_QUOTAS; i++)
        ck_assert_uint_eq(quota_left(&user->quotas[i]), QUOTA_UNLIMITED);
    user_put(user);
}
END_TEST

START_TEST(test_users_limits_are_those_of_new_users)
{
    struct user *before = users_get(&users, 1000);
    for (enum user_quota i = 0; i < USER_QUOTAS; i++)
        users.max[i] = 100 + i;
    struct user *after = users_get(&users, 1001);
    ck_assert_uint_eq(before->quotas[USER_POOLS].max, QUOTA_UNLIMITED);
    for (enum user_quota i = 0; i < USER_QUOTAS; i++)
        ck_assert_uint_eq(after->quotas[i].max, 100 + i);
    user_put(before);
    before = users_get(&users, 1000); /* made anew */
    ck_assert_uint_eq(before->quotas[USER_POOLS].max, 100 + USER_POOLS);
    user_put(before);
    user_put(after);
}
END_TEST

START_TEST(test_user_put_takes_null)
{
    user_put(NULL);
}
END_TEST

/* ---- What is asserted ------------------------------------------------------------------------ */

#define ABORTS(action) ck_assert(!TEST_ASSERTIONS || test_aborts(action, NULL))
#define DOESNT_ABORT(action) ck_assert(!test_aborts(action, NULL))

static void end_quota(const void *none)
{
    (void)none;
    quota_deinit(&quota);
}

static void give_five(const void *none)
{
    (void)none;
    charge_give(&charge, 5);
}

static void take_one(const void *none)
{
    (void)none;
    charge_take(&charge, &quota, 1);
}

static void move(const void *none)
{
    (void)none;
    charge_move(&charge, &other);
}

static void move_to_itself(const void *none)
{
    (void)none;
    charge_move(&charge, &charge);
}

static void end_users(const void *none)
{
    (void)none;
    users_deinit(&users);
}

static void put_user(const void *none)
{
    (void)none;
    user_put(LIST_FIRST(&users.list));
}

START_TEST(test_quota_deinit_asserts_that_nothing_is_charged)
{
    DOESNT_ABORT(end_quota);
    ck_assert(charge_take(&charge, &quota, 1));
    ABORTS(end_quota);
}
END_TEST

START_TEST(test_charge_give_asserts_that_so_much_was_charged)
{
    ABORTS(give_five);
    ck_assert(charge_take(&charge, &quota, 4));
    ck_assert(charge_take(&other, &quota, 1)); /* which is another's */
    ABORTS(give_five);
    charge_deinit(&other);
    ck_assert(charge_take(&charge, &quota, 1));
    DOESNT_ABORT(give_five);
    quota.used = 4; /* an account that doesn't know of it */
    ABORTS(give_five);
    quota.used = 5;
}
END_TEST

START_TEST(test_charge_take_asserts_that_the_quota_is_the_same)
{
    struct quota second;
    quota_init(&second, MAX);
    DOESNT_ABORT(take_one);
    ck_assert(charge_take(&charge, &second, 1));
    ABORTS(take_one);
    charge_deinit(&charge);
}
END_TEST

START_TEST(test_charge_move_asserts_that_the_quota_is_the_same)
{
    struct quota second;
    quota_init(&second, MAX);
    ck_assert(charge_take(&charge, &quota, 1));
    DOESNT_ABORT(move);
    ABORTS(move_to_itself);
    ck_assert(charge_take(&other, &second, 1));
    ABORTS(move);
    charge_deinit(&other);
}
END_TEST

START_TEST(test_users_deinit_asserts_that_no_user_is_left)
{
    DOESNT_ABORT(end_users);
    struct user *user = users_get(&users, 1000);
    ABORTS(end_users);
    user_put(user);
    DOESNT_ABORT(end_users);
}
END_TEST

START_TEST(test_user_put_asserts_with_the_last_reference_that_nothing_is_charged)
{
    struct user *user = users_get(&users, 1000);
    users_get(&users, 1000);
    ck_assert(charge_take(&charge, &user->quotas[USER_QUOTAS - 1], 1));
    DOESNT_ABORT(put_user); /* another reference is there */
    user_put(user);
    ABORTS(put_user);
    charge_deinit(&charge);
    user_put(user);
}
END_TEST

/* ---- Against a model ------------------------------------------------------------------------- */

enum { MODEL_QUOTAS = 3, MODEL_CHARGES = 8, MODEL_STEPS = 100000 };

static struct {
    uint64_t max[MODEL_QUOTAS];
    unsigned quota[MODEL_CHARGES]; /* while the amount isn't 0 */
    uint64_t amount[MODEL_CHARGES];
} model;

static uint64_t state;
static int step;

/* libcheck's own assertions write a note each time, which is too slow here. */
#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("step %d: %s", step, #condition);                                         \
    } while (0)

static uint64_t draw(uint64_t below)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state >> 33) % below;
}

static uint64_t model_used(unsigned index)
{
    uint64_t used = 0;
    for (unsigned i = 0; i < MODEL_CHARGES; i++)
        used += model.amount[i] > 0 && model.quota[i] == index ? model.amount[i] : 0;
    return used;
}

/* Small ones mostly, and at times one that makes a sum overflow. */
static uint64_t draw_amount(void)
{
    return draw(16) == 0 ? UINT64_MAX - draw(4) : draw(12);
}

static void model_take(struct quota *quotas, struct charge *charges, unsigned i)
{
    unsigned index = model.amount[i] > 0 ? model.quota[i] : (unsigned)draw(MODEL_QUOTAS);
    uint64_t amount = draw_amount();
    bool fits = amount <= model.max[index] && model_used(index) <= model.max[index] - amount;

    must(charge_take(&charges[i], &quotas[index], amount) == fits);
    model.quota[i] = index;
    model.amount[i] += fits ? amount : 0;
}

static void model_move(struct charge *charges, unsigned from, unsigned to)
{
    if (from == to ||
        (model.amount[from] > 0 && model.amount[to] > 0 && model.quota[from] != model.quota[to]))
        return;
    charge_move(&charges[from], &charges[to]);
    if (model.amount[from] > 0)
        model.quota[to] = model.quota[from];
    model.amount[to] += model.amount[from];
    model.amount[from] = 0;
}

static void model_give(struct charge *charges, unsigned i)
{
    uint64_t amount = draw(model.amount[i] + 1);
    charge_give(&charges[i], amount);
    model.amount[i] -= amount;
}

static void model_compare(struct quota *quotas, const struct charge *charges)
{
    for (unsigned i = 0; i < MODEL_QUOTAS; i++)
        must(quotas[i].used == model_used(i));
    for (unsigned i = 0; i < MODEL_CHARGES; i++) {
        must(charges[i].amount == model.amount[i]);
        must(charges[i].quota == (model.amount[i] > 0 ? &quotas[model.quota[i]] : NULL));
    }
}

static void model_step(struct quota *quotas, struct charge *charges)
{
    unsigned i = (unsigned)draw(MODEL_CHARGES);
    switch (draw(4)) {
    case 0:
        model_take(quotas, charges, i);
        break;
    case 1:
        model_give(charges, i);
        break;
    case 2:
        model_move(charges, i, (unsigned)draw(MODEL_CHARGES));
        break;
    default:
        if (draw(8) == 0) {
            charge_deinit(&charges[i]);
            model.amount[i] = 0;
        }
    }
}

START_TEST(test_quota_agrees_with_a_model_at_random)
{
    static const uint64_t max[MODEL_QUOTAS] = {0, 30, 7};
    struct quota quotas[MODEL_QUOTAS];
    struct charge charges[MODEL_CHARGES] = {0};

    state = 20240601;
    printf("seed %" PRIu64 "\n", state);
    for (unsigned i = 0; i < MODEL_QUOTAS; i++) {
        model.max[i] = max[i];
        quota_init(&quotas[i], max[i]);
    }
    for (step = 0; step < MODEL_STEPS; step++) {
        model_step(quotas, charges);
        model_compare(quotas, charges);
    }
    for (unsigned i = 0; i < MODEL_CHARGES; i++)
        charge_deinit(&charges[i]);
    for (unsigned i = 0; i < MODEL_QUOTAS; i++)
        quota_deinit(&quotas[i]);
}
END_TEST

SUITE_MAIN_WITH("quota", set_up, tear_down, test_quota_begins_with_all_of_it_left,
                test_quota_can_be_charged_up_to_its_limit_and_not_one_more,
                test_quota_adds_up_what_several_have_charged,
                test_quota_of_nothing_can_be_charged_nothing, test_quota_refuses_sums_that_overflow,
                test_quota_without_limit_doesnt_overflow,
                test_quota_that_was_lowered_below_its_use_has_nothing_left,
                test_charge_gives_back_in_parts, test_charge_deinit_gives_back_the_rest,
                test_charge_of_nothing_gives_nothing_back,
                test_charge_that_is_none_again_may_be_of_another_quota,
                test_charge_move_takes_all_of_it_along,
                test_charge_move_adds_to_a_charge_of_the_same_quota,
                test_charge_move_of_nothing_changes_nothing, test_users_share_what_one_uid_has,
                test_users_keep_uids_apart, test_users_have_no_limits_unless_they_are_set,
                test_users_limits_are_those_of_new_users, test_user_put_takes_null,
                test_quota_deinit_asserts_that_nothing_is_charged,
                test_charge_give_asserts_that_so_much_was_charged,
                test_charge_take_asserts_that_the_quota_is_the_same,
                test_charge_move_asserts_that_the_quota_is_the_same,
                test_users_deinit_asserts_that_no_user_is_left,
                test_user_put_asserts_with_the_last_reference_that_nothing_is_charged,
                test_quota_agrees_with_a_model_at_random)
