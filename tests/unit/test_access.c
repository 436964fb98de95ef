/* SPDX-License-Identifier: MIT */
#include "daemon/access.h"

#include "tests/unit/suite.h"

#define OWNER 1000u
#define GROUP 2000u
#define DAEMON 300u
#define OTHER 4000u

static gid_t with_group[] = {OTHER + 1, GROUP, OTHER + 2};
static gid_t without_group[] = {OTHER + 1, 0, DAEMON, OWNER};

static const struct credentials owner = {{1, OWNER, OTHER}, NULL, 0};
static const struct credentials owner_in_group = {{1, OWNER, GROUP}, with_group, 3};
static const struct credentials colleague = {{1, OTHER, GROUP}, NULL, 0};
static const struct credentials second_group = {{1, OTHER, OTHER}, with_group, 3};
static const struct credentials stranger = {{1, OTHER, OTHER}, without_group, 4};
static const struct credentials root = {{1, 0, OTHER}, NULL, 0};
static const struct credentials daemon_user = {{1, DAEMON, OTHER}, NULL, 0};

static bool may(uint32_t mode, const struct credentials *who, enum access access)
{
    struct layout_ctl ctl = {.uid = OWNER, .gid = GROUP, .mode = mode};
    return access_is_allowed(&ctl, who, DAEMON, access);
}

/*
 * Reading takes the r bit, writing r and w, administering the x bit, unless it is the owner's
 * anyway.
 */
static void check_bits(const struct credentials *who, unsigned shift, bool administers)
{
    for (uint32_t mode = 0; mode <= 0777; mode++) {
        uint32_t bits = mode >> shift & 7;
        ck_assert_msg(may(mode, who, ACCESS_READ) == ((bits & 4) == 4), "read %o", mode);
        ck_assert_msg(may(mode, who, ACCESS_WRITE) == ((bits & 6) == 6), "write %o", mode);
        ck_assert_msg(may(mode, who, ACCESS_ADMIN) == (administers || (bits & 1) == 1), "admin %o",
                      mode);
    }
}

/* ---- Pools ----------------------------------------------------------------------------------- */

START_TEST(test_access_of_the_owner_is_in_the_first_digit_but_to_administer)
{
    check_bits(&owner, 6, true);
    check_bits(&owner_in_group, 6, true);
}
END_TEST

START_TEST(test_access_of_the_group_is_in_the_second_digit_alone)
{
    check_bits(&colleague, 3, false);
}
END_TEST

START_TEST(test_access_counts_all_groups_of_the_peer)
{
    check_bits(&second_group, 3, false);
    for (unsigned count = 0; count <= 3; count++) {
        struct credentials some = {{1, OTHER, OTHER}, with_group, count};
        ck_assert(may(0040, &some, ACCESS_READ) == (count >= 2));
        ck_assert(may(0004, &some, ACCESS_READ) == (count < 2));
    }
}
END_TEST

START_TEST(test_access_of_others_is_in_the_third_digit_alone)
{
    check_bits(&stranger, 0, false);
}
END_TEST

START_TEST(test_access_is_given_to_root_and_the_daemons_user_always)
{
    for (uint32_t mode = 0; mode <= 0777; mode++) {
        ck_assert(may(mode, &root, ACCESS_READ) && may(mode, &daemon_user, ACCESS_READ));
        ck_assert(may(mode, &root, ACCESS_WRITE) && may(mode, &daemon_user, ACCESS_WRITE));
        ck_assert(may(mode, &root, ACCESS_ADMIN) && may(mode, &daemon_user, ACCESS_ADMIN));
    }
}
END_TEST

START_TEST(test_access_by_default_is_the_owners)
{
    ck_assert(may(ACCESS_MODE_DEFAULT, &owner, ACCESS_WRITE));
    ck_assert(may(ACCESS_MODE_DEFAULT, &owner, ACCESS_ADMIN));
    ck_assert(!may(ACCESS_MODE_DEFAULT, &colleague, ACCESS_READ));
    ck_assert(!may(ACCESS_MODE_DEFAULT, &colleague, ACCESS_ADMIN));
    ck_assert(!may(ACCESS_MODE_DEFAULT, &stranger, ACCESS_READ));
    ck_assert(!may(ACCESS_MODE_DEFAULT, &stranger, ACCESS_ADMIN));
}
END_TEST

START_TEST(test_access_to_give_is_to_ones_own_groups)
{
    ck_assert(access_may_give(&owner, DAEMON, OTHER));
    ck_assert(access_may_give(&owner_in_group, DAEMON, GROUP));
    ck_assert(access_may_give(&second_group, DAEMON, GROUP));
    ck_assert(access_may_give(&second_group, DAEMON, OTHER + 2));
    ck_assert(access_may_give(&second_group, DAEMON, OTHER));
    ck_assert(!access_may_give(&owner, DAEMON, GROUP));
    ck_assert(!access_may_give(&stranger, DAEMON, GROUP));
}
END_TEST

START_TEST(test_access_to_give_is_roots_and_the_daemons_to_any_group)
{
    ck_assert(access_may_give(&root, DAEMON, GROUP));
    ck_assert(access_may_give(&daemon_user, DAEMON, GROUP));
}
END_TEST

/* ---- Making pools ---------------------------------------------------------------------------- */

START_TEST(test_access_to_create_is_anyones_by_default)
{
    struct create_rule rule = {0};
    ck_assert(access_may_create(&rule, &stranger, DAEMON));
    ck_assert(access_may_create(&rule, &root, DAEMON));
}
END_TEST

START_TEST(test_access_to_create_can_be_the_daemons_and_roots)
{
    struct create_rule rule = {.creators = CREATORS_OWNER, .gid = GROUP};
    ck_assert(access_may_create(&rule, &root, DAEMON));
    ck_assert(access_may_create(&rule, &daemon_user, DAEMON));
    ck_assert(!access_may_create(&rule, &colleague, DAEMON));
    ck_assert(!access_may_create(&rule, &stranger, DAEMON));
}
END_TEST

START_TEST(test_access_to_create_can_be_a_groups)
{
    struct create_rule rule = {.creators = CREATORS_GROUP, .gid = GROUP};
    ck_assert(access_may_create(&rule, &root, DAEMON));
    ck_assert(access_may_create(&rule, &daemon_user, DAEMON));
    ck_assert(access_may_create(&rule, &colleague, DAEMON));
    ck_assert(access_may_create(&rule, &second_group, DAEMON));
    ck_assert(!access_may_create(&rule, &owner, DAEMON));
    ck_assert(!access_may_create(&rule, &stranger, DAEMON));
}
END_TEST

SUITE_MAIN("access", test_access_of_the_owner_is_in_the_first_digit_but_to_administer,
           test_access_of_the_group_is_in_the_second_digit_alone,
           test_access_counts_all_groups_of_the_peer,
           test_access_of_others_is_in_the_third_digit_alone,
           test_access_is_given_to_root_and_the_daemons_user_always,
           test_access_by_default_is_the_owners, test_access_to_give_is_to_ones_own_groups,
           test_access_to_give_is_roots_and_the_daemons_to_any_group,
           test_access_to_create_is_anyones_by_default,
           test_access_to_create_can_be_the_daemons_and_roots,
           test_access_to_create_can_be_a_groups)
