/* SPDX-License-Identifier: MIT */
#include "client/ctl/demo_pass.c" // NOLINT(bugprone-suspicious-include): part of a program

#include <stdarg.h>

#include "client/ctl/demo_channel.c" // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/demo_lines.c"   // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/demo_signals.c" // NOLINT(bugprone-suspicious-include): part of a program
#include "client/ctl/failure.c"      // NOLINT(bugprone-suspicious-include): part of a program

#include "tests/unit/suite.h"

/* What the parent needs of its other parts; none of it is come to here. */
void team_kill(struct team *team, unsigned worker)
{
    team_reap(team, worker);
}

void team_reap(struct team *team, unsigned worker)
{
    (void)team;
    ck_abort_msg("worker %u was waited for", worker);
}

void report_progress(struct demo *demo, uint64_t bytes)
{
    (void)demo;
    ck_abort_msg("progress %llu was reported", (unsigned long long)bytes);
}

void report_lost(struct demo *demo, unsigned reader)
{
    (void)demo;
    ck_abort_msg("reader %u was reported lost", reader);
}

void report_clear(struct demo *demo)
{
    (void)demo;
}

int demo_fail(struct demo *demo, int result, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    failure_set_list(&demo->error, result, format, arguments);
    va_end(arguments);
    return result;
}

/* A demo that gets this message from that worker must end, and say why. */
static void check_refused(unsigned worker, const struct message *message)
{
    struct demo *demo = calloc(1, sizeof(*demo));
    int pair[2];

    ck_assert_ptr_nonnull(demo);
    ck_assert_int_eq(channel_pair(pair), 0);
    demo->team.workers[worker].control = pair[0];
    ck_assert_int_eq(channel_send(pair[1], message, sizeof(*message)), 0);
    ck_assert_int_eq(take_from(demo, worker), -EPROTO);
    ck_assert_int_eq(demo->error.code, -EPROTO);
    ck_assert_str_ne(demo->error.message, "");
    close(pair[0]);
    close(pair[1]);
    free(demo);
}

START_TEST(test_message_that_makes_no_sense_is_a_failure_with_a_reason)
{
    check_refused(TEAM_WRITER, &(struct message){.kind = MESSAGE_READY});
    check_refused(TEAM_WRITER, &(struct message){.kind = MESSAGE_LOST, .reader = DEMO_READERS});
    check_refused(0, &(struct message){.kind = MESSAGE_START});
    check_refused(0, &(struct message){.kind = 4711});
}
END_TEST

SUITE_MAIN("demo_pass", test_message_that_makes_no_sense_is_a_failure_with_a_reason)
