/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* pipe2 */
#include "daemon/log.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* stderr is a datagram socket: each write(2) is one message. */
static int saved_stderr;
static int reader;
static char line[2 * LOG_LINE_SIZE];

static void setup(void)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    saved_stderr = dup(STDERR_FILENO);
    ck_assert_int_eq(dup2(pair[1], STDERR_FILENO), STDERR_FILENO);
    close(pair[1]);
    reader = pair[0];
    unsetenv("JOURNAL_STREAM");
    log_set_level(LOG_LEVEL_INFO);
}

static void teardown(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(reader);
}

/* What one write(2) wrote; "" if there was none. */
static const char *next_line(void)
{
    const ssize_t length = recv(reader, line, sizeof(line) - 1, 0);

    line[length > 0 ? length : 0] = '\0';
    return line;
}

START_TEST(test_line_has_level_and_name)
{
    log_error("pool=%s uid=%d", "frames", 1000);
    ck_assert_str_eq(next_line(), "fastallocd: error: pool=frames uid=1000\n");
    log_warning("w");
    ck_assert_str_eq(next_line(), "fastallocd: warning: w\n");
    log_info("i");
    ck_assert_str_eq(next_line(), "fastallocd: info: i\n");
    ck_assert_str_eq(next_line(), "");
}
END_TEST

START_TEST(test_level_drops_what_is_less_important)
{
    log_debug("dropped");
    ck_assert_str_eq(next_line(), "");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("d");
    ck_assert_str_eq(next_line(), "fastallocd: debug: d\n");
    log_set_level(LOG_LEVEL_ERROR);
    log_warning("dropped");
    log_error("e");
    ck_assert_str_eq(next_line(), "fastallocd: error: e\n");
}
END_TEST

START_TEST(test_levels_are_known_by_name)
{
    ck_assert_int_eq(log_level_parse("error"), LOG_LEVEL_ERROR);
    ck_assert_int_eq(log_level_parse("warning"), LOG_LEVEL_WARNING);
    ck_assert_int_eq(log_level_parse("info"), LOG_LEVEL_INFO);
    ck_assert_int_eq(log_level_parse("debug"), LOG_LEVEL_DEBUG);
    ck_assert_int_eq(log_level_parse(""), -EINVAL);
    ck_assert_int_eq(log_level_parse("Info"), -EINVAL);
    ck_assert_int_eq(log_level_parse("information"), -EINVAL);
}
END_TEST

/* Sets JOURNAL_STREAM to the name of stderr, its inode off by `off`. */
static void set_journal_stream(int off)
{
    struct stat file;
    char text[64];

    ck_assert_int_eq(fstat(STDERR_FILENO, &file), 0);
    snprintf(text, sizeof(text), "%ju:%ju", (uintmax_t)file.st_dev, (uintmax_t)file.st_ino + off);
    setenv("JOURNAL_STREAM", text, 1);
}

START_TEST(test_journal_gets_priorities)
{
    set_journal_stream(0);
    log_error("e");
    ck_assert_str_eq(next_line(), "<3>e\n");
    log_info("i");
    ck_assert_str_eq(next_line(), "<6>i\n");
}
END_TEST

START_TEST(test_journal_of_another_stream_does_not_count)
{
    set_journal_stream(1);
    log_info("redirected");
    ck_assert_str_eq(next_line(), "fastallocd: info: redirected\n");
    setenv("JOURNAL_STREAM", "garbage", 1);
    log_info("garbage");
    ck_assert_str_eq(next_line(), "fastallocd: info: garbage\n");
}
END_TEST

START_TEST(test_names_can_not_forge_lines)
{
    log_info("name=%s", "a\n<3>b\r\t\x1b[2J\x7f\xc2\x9b\\");
    ck_assert_str_eq(next_line(), "fastallocd: info: name=a\\x0a<3>b\\x0d\\x09\\x1b[2J\\x7f"
                                  "\\xc2\\x9b\\\n");
    ck_assert_str_eq(next_line(), "");
}
END_TEST

START_TEST(test_names_can_not_forge_fields)
{
    char quoted[LOG_QUOTED_SIZE], longest[2 * LOG_QUOTED_SIZE];
    ck_assert_str_eq(log_quote("", quoted), "\"\"");
    ck_assert_str_eq(log_quote("x uid=0", quoted), "\"x uid=0\"");
    ck_assert_str_eq(log_quote("x\" uid=0 \\", quoted), "\"x\\x22 uid=0 \\x5c\"");
    memset(longest, '"', 63);
    longest[63] = '\0';
    ck_assert_uint_eq(strlen(log_quote(longest, quoted)), 2 + 63 * 4);
    for (int shift = 0; shift < 4; shift++) {
        memset(longest, '"', sizeof(longest) - 1);
        memset(longest, '-', (size_t)shift);
        longest[sizeof(longest) - 1] = '\0';
        ck_assert_uint_lt(strlen(log_quote(longest, quoted)), LOG_QUOTED_SIZE);
        ck_assert_str_eq(quoted + strlen(quoted) - 5, "\\x22\"");
    }
}
END_TEST

/* A message of `count` times the character, after the prefix. */
static size_t log_filled(char character, size_t count)
{
    char text[3 * LOG_LINE_SIZE];

    ck_assert_uint_lt(count, sizeof(text));
    memset(text, character, count);
    text[count] = '\0';
    log_info("%s", text);
    return strlen(next_line());
}

START_TEST(test_longest_line_is_whole)
{
    const size_t room = LOG_LINE_SIZE - strlen("fastallocd: info: ") - strlen("...\n");

    ck_assert_uint_eq(log_filled('x', room), LOG_LINE_SIZE - strlen("..."));
    ck_assert_str_eq(line + strlen(line) - 2, "x\n");
    ck_assert_uint_eq(log_filled('x', room + 1), LOG_LINE_SIZE);
    ck_assert_str_eq(line + strlen(line) - 5, "x...\n");
}
END_TEST

START_TEST(test_longer_lines_are_cut)
{
    ck_assert_uint_eq(log_filled('x', 2UL * LOG_LINE_SIZE), LOG_LINE_SIZE);
    ck_assert_str_eq(line + strlen(line) - 5, "x...\n");
    ck_assert_str_eq(next_line(), "");
}
END_TEST

/* Wherever the cut falls. */
START_TEST(test_cut_leaves_escapes_whole)
{
    for (int shift = 0; shift < 4; shift++) {
        char text[LOG_LINE_SIZE];

        memset(text, '\n', sizeof(text) - 1);
        memset(text, '-', (size_t)shift);
        text[sizeof(text) - 1] = '\0';
        log_info("%s", text);
        next_line();
        ck_assert_uint_le(strlen(line), LOG_LINE_SIZE);
        ck_assert_str_eq(line + strlen(line) - 8, "\\x0a...\n");
    }
}
END_TEST

START_TEST(test_peers_get_ten_lines_a_second)
{
    for (int i = 0; i < LOG_PEER_LINES + 5; i++)
        log_peer(LOG_LEVEL_WARNING, "%d", i);
    for (int i = 0; i < LOG_PEER_LINES; i++)
        ck_assert_str_ne(next_line(), "");
    ck_assert_str_eq(line, "fastallocd: warning: 9\n");
    ck_assert_str_eq(next_line(), "");
    log_info("the daemon's own are never dropped");
    ck_assert_str_ne(next_line(), "");
}
END_TEST

START_TEST(test_warnings_about_peers_arent_crowded_out)
{
    for (int i = 0; i < 2 * LOG_PEER_LINES; i++)
        log_peer(LOG_LEVEL_INFO, "%d", i);
    while (*next_line())
        ;
    log_peer(LOG_LEVEL_WARNING, "%s", "this counts");
    ck_assert_str_eq(next_line(), "fastallocd: warning: this counts\n");
}
END_TEST

START_TEST(test_dropped_lines_about_peers_are_told_at_the_end)
{
    for (int i = 0; i < LOG_PEER_LINES + 5; i++)
        log_peer(LOG_LEVEL_WARNING, "%d", i);
    while (*next_line())
        ;
    log_finish();
    ck_assert_str_eq(next_line(), "fastallocd: warning: 5 more warnings about clients were not "
                                  "logged\n");
    log_finish();
    ck_assert_str_eq(next_line(), "");
}
END_TEST

START_TEST(test_dropped_lines_about_peers_are_told_after_the_second)
{
    for (int i = 0; i < LOG_PEER_LINES + 5; i++)
        log_peer(LOG_LEVEL_INFO, "%d", i);
    while (*next_line())
        ;
    do {
        poll(NULL, 0, 10);
        log_peer(LOG_LEVEL_DEBUG, "dropped by its level, and no reason to tell anything");
        log_info("next");
        next_line();
    } while (strcmp(line, "fastallocd: info: next\n") == 0);
    ck_assert_str_eq(line, "fastallocd: warning: 5 more lines about clients were not logged\n");
    ck_assert_str_eq(next_line(), "fastallocd: info: next\n");
    log_peer(LOG_LEVEL_INFO, "%s", "a new second");
    ck_assert_str_eq(next_line(), "fastallocd: info: a new second\n");
}
END_TEST

/* Puts a pipe in stderr's place that takes no more. Returns the other end. */
static int fill_pipe(void)
{
    static const char bytes[4096];
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    while (write(ends[1], bytes, sizeof(bytes)) > 0)
        ;
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, 0), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    return ends[0];
}

START_TEST(test_line_that_nobody_reads_is_lost_and_keeps_nobody_waiting)
{
    int end = fill_pipe();
    log_info("first");
    log_error("second");
    while (read(end, line, sizeof(line)) > 0)
        ;
    log_info("third");
    ssize_t length = read(end, line, sizeof(line) - 1);
    ck_assert_int_gt(length, 0);
    line[length] = '\0';
    ck_assert_str_eq(line, "fastallocd: warning: 2 lines were lost: nobody read them\n"
                           "fastallocd: info: third\n");
    close(end);
}
END_TEST

START_TEST(test_errno_survives)
{
    close(STDERR_FILENO);
    errno = ENOSPC;
    log_error("into nothing");
    ck_assert_int_eq(errno, ENOSPC);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_line_has_level_and_name);
    tcase_add_test(tcase, test_level_drops_what_is_less_important);
    tcase_add_test(tcase, test_levels_are_known_by_name);
    tcase_add_test(tcase, test_journal_gets_priorities);
    tcase_add_test(tcase, test_journal_of_another_stream_does_not_count);
    tcase_add_test(tcase, test_names_can_not_forge_lines);
    tcase_add_test(tcase, test_names_can_not_forge_fields);
    tcase_add_test(tcase, test_longest_line_is_whole);
    tcase_add_test(tcase, test_longer_lines_are_cut);
    tcase_add_test(tcase, test_cut_leaves_escapes_whole);
    tcase_add_test(tcase, test_peers_get_ten_lines_a_second);
    tcase_add_test(tcase, test_dropped_lines_about_peers_are_told_after_the_second);
    tcase_add_test(tcase, test_warnings_about_peers_arent_crowded_out);
    tcase_add_test(tcase, test_dropped_lines_about_peers_are_told_at_the_end);
    tcase_add_test(tcase, test_line_that_nobody_reads_is_lost_and_keeps_nobody_waiting);
    tcase_add_test(tcase, test_errno_survives);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
