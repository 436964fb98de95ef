/* SPDX-License-Identifier: MIT */
#include "daemon/access.h"

#include "tests/unit/suite.h"

#define OWNER 1000u
#define GROUP 2000u
#define DAEMON 300u
#define OTHER 4000u

static const struct peer owner = {1, OWNER, OTHER};
static const struct peer owner_in_group = {1, OWNER, GROUP};
static const struct peer colleague = {1, OTHER, GROUP};
static const struct peer stranger = {1, OTHER, OTHER};
static const struct peer root = {1, 0, OTHER};
static const struct peer daemon_user = {1, DAEMON, OTHER};

static bool may(uint32_t mode, const struct peer *peer, bool write)
{
    struct layout_ctl ctl = {.uid = OWNER, .gid = GROUP, .mode = mode};
    return access_may_open(&ctl, peer, DAEMON, write);
}

/* Reading takes the read bit; writing takes both bits. */
static void check_bits(const struct peer *peer, unsigned shift)
{
    for (uint32_t mode = 0; mode <= 0777; mode++) {
        uint32_t bits = mode >> shift & 7;
        ck_assert_msg(may(mode, peer, false) == ((bits & 4) == 4), "read %o", mode);
        ck_assert_msg(may(mode, peer, true) == ((bits & 6) == 6), "write %o", mode);
    }
}

START_TEST(test_access_of_the_owner_is_in_the_first_digit_alone)
{
    check_bits(&owner, 6);
    check_bits(&owner_in_group, 6);
}
END_TEST

START_TEST(test_access_of_the_group_is_in_the_second_digit_alone)
{
    check_bits(&colleague, 3);
}
END_TEST

START_TEST(test_access_of_others_is_in_the_third_digit_alone)
{
    check_bits(&stranger, 0);
}
END_TEST

START_TEST(test_access_is_given_to_root_and_the_daemons_user_always)
{
    for (uint32_t mode = 0; mode <= 0777; mode++) {
        ck_assert(may(mode, &root, false) && may(mode, &root, true));
        ck_assert(may(mode, &daemon_user, false) && may(mode, &daemon_user, true));
    }
}
END_TEST

START_TEST(test_access_by_default_is_the_owners)
{
    ck_assert(may(ACCESS_MODE_DEFAULT, &owner, true));
    ck_assert(!may(ACCESS_MODE_DEFAULT, &colleague, false));
    ck_assert(!may(ACCESS_MODE_DEFAULT, &stranger, false));
}
END_TEST

START_TEST(test_access_to_destroy_is_owners_roots_and_the_daemons)
{
    struct layout_ctl ctl = {.uid = OWNER, .gid = GROUP, .mode = 0777};

    ck_assert(access_may_destroy(&ctl, &owner, DAEMON));
    ck_assert(access_may_destroy(&ctl, &root, DAEMON));
    ck_assert(access_may_destroy(&ctl, &daemon_user, DAEMON));
    ck_assert(!access_may_destroy(&ctl, &colleague, DAEMON));
    ck_assert(!access_may_destroy(&ctl, &stranger, DAEMON));
}
END_TEST

SUITE_MAIN("access", test_access_of_the_owner_is_in_the_first_digit_alone,
           test_access_of_the_group_is_in_the_second_digit_alone,
           test_access_of_others_is_in_the_third_digit_alone,
           test_access_is_given_to_root_and_the_daemons_user_always,
           test_access_by_default_is_the_owners,
           test_access_to_destroy_is_owners_roots_and_the_daemons)
