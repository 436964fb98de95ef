/* SPDX-License-Identifier: MIT */
#include "daemon/options.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/suite.h"

#define ARGUMENTS_MAX 8

static struct options options;
static char said[4096]; /* on stdout and stderr, by the last parse() */

static int redirect(int fd, int to)
{
    int saved = dup(fd);
    ck_assert_int_ge(saved, 0);
    ck_assert_int_eq(dup2(to, fd), fd);
    return saved;
}

static void restore(int fd, int saved)
{
    dup2(saved, fd);
    close(saved);
}

static enum options_result parse_list(const char *const arguments[])
{
    char name[] = "fastallocd";
    char *all[ARGUMENTS_MAX + 2] = {name};
    int count = 1;
    for (; arguments[count - 1]; count++)
        memcpy(&all[count], &arguments[count - 1], sizeof(all[0])); /* but for the const */

    FILE *output = tmpfile();
    int out = redirect(STDOUT_FILENO, fileno(output));
    int err = redirect(STDERR_FILENO, fileno(output));
    enum options_result result = options_parse(&options, count, all);
    restore(STDOUT_FILENO, out);
    restore(STDERR_FILENO, err);

    rewind(output);
    said[fread(said, 1, sizeof(said) - 1, output)] = '\0';
    fclose(output);
    return result;
}

#define parse(...) parse_list((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* Refused, with a line that names what is wrong. */
#define refuses(what, ...)                                                                         \
    do {                                                                                           \
        ck_assert_int_eq(parse(__VA_ARGS__), OPTIONS_USAGE);                                       \
        ck_assert_msg(strstr(said, what), "'%s' isn't in: %s", what, said);                        \
    } while (0)

START_TEST(test_options_have_defaults)
{
    ck_assert_int_eq(parse(), OPTIONS_RUN);
    ck_assert_ptr_null(options.socket);
    ck_assert_ptr_null(options.instance);
    ck_assert(!options.user);
    ck_assert_int_eq(options.create.creators, CREATORS_ANYONE);
    ck_assert_int_eq(options.exit_idle, OPTIONS_NEVER);
    ck_assert_int_eq(options.log_level, LOG_LEVEL_INFO);
    ck_assert_str_eq(said, "");
}
END_TEST

START_TEST(test_options_take_every_value)
{
    ck_assert_int_eq(parse("--socket", "/a", "--instance=b", "--user", "--create=owner",
                           "--exit-idle", "7", "--log-level=debug"),
                     OPTIONS_RUN);
    ck_assert_str_eq(options.socket, "/a");
    ck_assert_str_eq(options.instance, "b");
    ck_assert(options.user);
    ck_assert_int_eq(options.create.creators, CREATORS_OWNER);
    ck_assert_int_eq(options.exit_idle, 7);
    ck_assert_int_eq(options.log_level, LOG_LEVEL_DEBUG);
}
END_TEST

START_TEST(test_options_take_each_log_level)
{
    ck_assert_int_eq(parse("--log-level", "error"), OPTIONS_RUN);
    ck_assert_int_eq(options.log_level, LOG_LEVEL_ERROR);
    ck_assert_int_eq(parse("--log-level", "warning"), OPTIONS_RUN);
    ck_assert_int_eq(options.log_level, LOG_LEVEL_WARNING);
    ck_assert_int_eq(parse("--log-level", "info"), OPTIONS_RUN);
    ck_assert_int_eq(options.log_level, LOG_LEVEL_INFO);
}
END_TEST

START_TEST(test_options_take_who_may_create)
{
    ck_assert_int_eq(parse("--create", "owner"), OPTIONS_RUN);
    ck_assert_int_eq(options.create.creators, CREATORS_OWNER);
    ck_assert_str_eq(options.create.text, "owner");
    ck_assert_int_eq(parse("--create", "owner", "--create=anyone"), OPTIONS_RUN);
    ck_assert_int_eq(options.create.creators, CREATORS_ANYONE);
    ck_assert_int_eq(parse("--create", "group:0"), OPTIONS_RUN);
    ck_assert_int_eq(options.create.creators, CREATORS_GROUP);
    ck_assert_uint_eq(options.create.gid, 0);
    ck_assert_str_eq(options.create.text, "group:0");
}
END_TEST

START_TEST(test_options_take_a_group_by_its_name)
{
    const struct group *group = getgrgid(0);
    char argument[128];
    ck_assert_ptr_nonnull(group);
    snprintf(argument, sizeof(argument), "group:%s", group->gr_name);
    options.create.gid = 1;
    ck_assert_int_eq(parse("--create", argument), OPTIONS_RUN);
    ck_assert_int_eq(options.create.creators, CREATORS_GROUP);
    ck_assert_uint_eq(options.create.gid, 0);
}
END_TEST

START_TEST(test_options_limit_the_number_of_a_group)
{
    ck_assert_int_eq(parse("--create", "group:4294967294"), OPTIONS_RUN);
    ck_assert_uint_eq(options.create.gid, 4294967294);
    refuses("'4294967295'", "--create", "group:4294967295");
    refuses("'4294967296'", "--create", "group:4294967296");
    refuses("'99999999999999999999'", "--create", "group:99999999999999999999");
}
END_TEST

START_TEST(test_options_refuse_who_may_create_what_is_nobody)
{
    static const char *const none[] = {"", "nobody", "group", "Owner", "owner ", "anyone,owner"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        refuses("anyone, owner or group:", "--create", none[i]);
        ck_assert_ptr_nonnull(strstr(said, none[i]));
    }
    refuses("group of this machine, not ''", "--create", "group:");
    refuses("'no such group'", "--create", "group:no such group");
    refuses("'-1'", "--create", "group:-1");
    refuses("' 1'", "--create", "group: 1");
    refuses("'0x1'", "--create", "group:0x1");
}
END_TEST

START_TEST(test_options_ask_for_a_check)
{
    ck_assert_int_eq(parse("--socket", "x"), OPTIONS_RUN);
    ck_assert(!options.check);
    ck_assert_int_eq(parse("--socket", "x", "--check"), OPTIONS_RUN);
    ck_assert(options.check);
    ck_assert_int_eq(parse("--check=yes"), OPTIONS_USAGE);
}
END_TEST

START_TEST(test_options_limit_exit_idle_to_a_year)
{
    ck_assert_int_eq(parse("--exit-idle", "0"), OPTIONS_RUN);
    ck_assert_int_eq(options.exit_idle, 0);
    ck_assert_int_eq(parse("--exit-idle", "31536000"), OPTIONS_RUN);
    ck_assert_int_eq(options.exit_idle, 31536000);
    refuses("--exit-idle", "--exit-idle", "31536001");
    refuses("31536000", "--exit-idle", "31536001");
    refuses("--exit-idle", "--exit-idle=-1");
}
END_TEST

START_TEST(test_options_refuse_garbage_numbers)
{
    static const char *const garbage[] = {
        "", "x", "5x", "5 ", "0x5", "1.5", "1e3", "--", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        refuses("--exit-idle", "--exit-idle", garbage[i]);
        ck_assert_ptr_nonnull(strstr(said, garbage[i]));
    }
}
END_TEST

START_TEST(test_options_refuse_an_unknown_log_level)
{
    refuses("--log-level", "--log-level", "loud");
    ck_assert_ptr_nonnull(strstr(said, "'loud'"));
    refuses("--log-level", "--log-level", "");
}
END_TEST

START_TEST(test_options_refuse_what_is_unknown)
{
    refuses("--nonsense", "--nonsense");
    refuses("--help", "--nonsense"); /* where to look */
    refuses("'x'", "-x");
    refuses("'stray'", "stray");
    refuses("'stray'", "--user", "stray");
}
END_TEST

START_TEST(test_options_refuse_a_missing_value)
{
    refuses("--socket", "--socket");
    refuses("--instance", "--instance");
    refuses("--exit-idle", "--exit-idle");
    refuses("--create", "--create");
    refuses("--user", "--user=yes");
}
END_TEST

START_TEST(test_options_stop_at_the_first_that_is_wrong)
{
    refuses("--one", "--one", "--two");
    ck_assert_ptr_null(strstr(said, "--two"));
}
END_TEST

START_TEST(test_options_print_help_with_every_option)
{
    static const char *const every[] = {"--socket",    "--instance",  "--user",    "--create",
                                        "--exit-idle", "--log-level", "--version", "--help"};
    ck_assert_int_eq(parse("--help", "--nonsense"), OPTIONS_DONE);
    for (size_t i = 0; i < sizeof(every) / sizeof(every[0]); i++)
        ck_assert_msg(strstr(said, every[i]), "%s", every[i]);
}
END_TEST

START_TEST(test_options_print_the_version)
{
    ck_assert_int_eq(parse("--version"), OPTIONS_DONE);
    ck_assert_str_eq(said, "fastallocd " FASTALLOC_VERSION "\n");
}
END_TEST

START_TEST(test_options_take_what_a_user_may_have)
{
    ck_assert_int_eq(parse("--user-sessions", "10", "--user-pools", "0", "--user-bytes", "512M"),
                     OPTIONS_RUN);
    ck_assert_uint_eq(options.user_max[USER_SESSIONS], 10);
    ck_assert_uint_eq(options.user_max[USER_POOLS], 0);
    ck_assert_uint_eq(options.user_max[USER_BYTES], UINT64_C(512) << 20);
    ck_assert_uint_eq(options.user_max[USER_WAITERS], QUOTA_UNLIMITED);
    ck_assert_int_eq(parse("--user-bytes", "16777215T"), OPTIONS_RUN);
    ck_assert_uint_eq(options.user_max[USER_BYTES], UINT64_C(16777215) << 40);
}
END_TEST

START_TEST(test_options_refuse_what_is_no_amount)
{
    static const char *const bad[] = {
        "", "-1", "+1", "1X", "1MM", "1k", " 1", "M", "1 ", "16777216T", "18446744073709551616"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        refuses("--user-waiters takes a number", "--user-waiters", bad[i]);
    ck_assert_int_eq(parse("--user-waiters", "18446744073709551615"), OPTIONS_RUN);
}
END_TEST

SUITE_MAIN("options", test_options_take_what_a_user_may_have, test_options_refuse_what_is_no_amount,
           test_options_have_defaults, test_options_take_every_value,
           test_options_take_each_log_level, test_options_take_who_may_create,
           test_options_take_a_group_by_its_name, test_options_limit_the_number_of_a_group,
           test_options_refuse_who_may_create_what_is_nobody, test_options_ask_for_a_check,
           test_options_limit_exit_idle_to_a_year, test_options_refuse_garbage_numbers,
           test_options_refuse_an_unknown_log_level, test_options_refuse_what_is_unknown,
           test_options_refuse_a_missing_value, test_options_stop_at_the_first_that_is_wrong,
           test_options_print_help_with_every_option, test_options_print_the_version)
