/* SPDX-License-Identifier: MIT */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include <fastalloc/admin.h>

#include "clock.h"
#include "command.h"
#include "event_text.h"
#include "json.h"
#include "number.h"
#include "report.h"
#include "text.h"

/* How often a command that waits looks whether anybody still reads what it prints. */
#define LOOK_INTERVAL FASTALLOC_SECOND

static const struct option options[] = {
    {"--after", "NUMBER", "only those with a higher number", false},
    {"--follow", NULL, "wait for more, until --timeout or Ctrl-C", false},
    {"--timeout", "DURATION", "how long to wait in all: 500ms, 10s, 5m", false},
    {NULL, NULL, NULL, false},
};

struct watch {
    const struct call *call;
    fastalloc_connection_t *connection;
    const char *pool; /* NULL: all */
    uint64_t after;
    bool follow;
    bool limited; /* there is a --timeout */
    uint64_t timeout;
    uint64_t seen; /* events, by now */
    uint64_t lost; /* of those that it asks for now, */
    uint64_t told; /* and of which it was told */
    fastalloc_error_t error;
};

static int parse(struct watch *watch)
{
    const struct call *call = watch->call;
    const char *after = command_option(call, "--after");
    const char *timeout = command_option(call, "--timeout");

    if (after && number_parse(after, UINT64_MAX, &watch->after) < 0)
        return report_usage(call, "--after %s: must be the number of an event", after);
    if (timeout && number_parse_duration(timeout, INT64_MAX, &watch->timeout) < 0)
        return report_usage(call, "--timeout %s: must be " NUMBER_DURATION_ALLOWED, timeout);
    watch->limited = timeout != NULL;
    watch->follow = command_option(call, "--follow") != NULL;
    watch->pool = call->operand_count > 0 ? call->operands[0] : NULL;
    return STATUS_OK;
}

static uint64_t calendar_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void write_event(const fastalloc_event_t *event)
{
    char date[EVENT_DATE_SIZE];
    char text[EVENT_TEXT_SIZE];

    printf("%s  #%llu  ", event_date(event, clock_now(), calendar_now(), date),
           (unsigned long long)event->number);
    text_write(stdout, event->name);
    printf("  ");
    text_write(stdout, event->kind);
    printf("  %s\n", event_text(event, text));
}

/* They came before what follows. */
static void write_lost(struct watch *watch)
{
    uint64_t count = watch->lost - watch->told;

    if (count == 0)
        return;
    watch->told = watch->lost;
    if (watch->call->json) {
        json_t *object = json_new();
        json_set_number(object, "lost", count);
        json_write_line(object);
    } else {
        printf("(%llu before these %s kept any more)\n", (unsigned long long)count,
               count == 1 ? "isn't" : "aren't");
    }
}

/* Each line is written at once: whoever reads along gets it whole, however this ends. */
static int visit(const fastalloc_event_t *event, void *context)
{
    struct watch *watch = context;
    char date[EVENT_DATE_SIZE];

    write_lost(watch);
    watch->seen++;
    if (watch->call->json)
        json_write_line(
            event_to_json(event, event_date_utc(event, clock_now(), calendar_now(), date)));
    else
        write_event(event);
    return fflush(stdout);
}

/* Asks once, and waits for up to `timeout`. 0, or a negative code; other: the output failed. */
static int ask(struct watch *watch, int64_t timeout)
{
    watch->lost = 0;
    watch->told = 0;
    int result = fastalloc_events(watch->connection, watch->pool, timeout, &watch->after,
                                  &watch->lost, visit, watch, &watch->error);

    write_lost(watch);
    return fflush(stdout) == 0 ? result : EOF;
}

static bool is_read(void)
{
    struct pollfd entry = {.fd = 1};

    return poll(&entry, 1, 0) <= 0 || !(entry.revents & (POLLERR | POLLNVAL));
}

/* Until the time is over, or, unless it is to follow, until something was seen. */
static int wait_for_more(struct watch *watch)
{
    uint64_t start = clock_now();
    int result = 0;

    while (result == 0 && (watch->follow || watch->seen == 0)) {
        uint64_t passed = clock_now() - start;
        int64_t left = LOOK_INTERVAL;
        if (watch->limited && passed >= watch->timeout)
            break;
        if (watch->limited && watch->timeout - passed < (uint64_t)left)
            left = (int64_t)(watch->timeout - passed);
        if (!is_read())
            raise(SIGPIPE);
        result = ask(watch, left);
        if (call_is_to_be_repeated(watch->connection, result))
            result = 0;
    }
    return result;
}

/*
 * Signals end it as they end any program: there is nothing to put away. That holds for SIGPIPE too,
 * since whoever reads along is the one who decides how long.
 */
static int show(struct watch *watch)
{
    if (watch->follow)
        signal(SIGPIPE, SIG_DFL);
    int result;

    do
        result = ask(watch, FASTALLOC_NOWAIT);
    while (call_is_to_be_repeated(watch->connection, result));
    if (result == 0 && (watch->follow || watch->limited))
        result = wait_for_more(watch);
    if (result == 0 && watch->seen == 0 && !watch->follow && !watch->call->json)
        printf("No events.\n");
    if (result < 0 && !ferror(stdout))
        return report_error(watch->call, &watch->error);
    return STATUS_OK;
}

static int run(const struct call *call)
{
    struct watch watch = {.call = call, .error = FASTALLOC_ERROR_INIT};
    int status = parse(&watch);

    if (status == STATUS_OK)
        status = call_connect(call, &watch.connection);
    if (status != STATUS_OK)
        return status;
    status = show(&watch);
    fastalloc_disconnect(watch.connection);
    return status;
}

const struct command command_events = {
    .name = "events",
    .operands = "[POOL]",
    .summary = "Show what happened to a pool, or to all: a line an event",
    .description =
        "Prints the events that the daemon keeps, oldest first, and ends; with --timeout it waits\n"
        "for one, if there is none. With --follow it goes on. With --json each line is an object;\n"
        "{\"lost\": N} says that N events came and went before they could be told.\n",
    .options = options,
    .run = run,
};
