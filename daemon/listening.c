/* SPDX-License-Identifier: MIT */
#include "daemon/listening.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/name.h"

/* Whoever may read the pool, or might before it was destroyed. It isn't looked for. */
static bool may_hear(const struct broker *broker, const struct credentials *who,
                     const struct event *event)
{
    const struct ownership ownership = {.uid = event->uid, .gid = event->gid, .mode = event->mode};
    return access_is_let(&ownership, who, broker->uid, ACCESS_READ);
}

static void fill_info(const struct event *event, struct event_info *info)
{
    *info = (struct event_info){
        .number = event->number,
        .time = (uint64_t)event->time,
        .pool = event->pool,
        .capacity = event->capacity,
        .allocated = event->allocated,
        .count = event->count,
        .session = event->session,
    };
    name_copy(info->kind, event_name(event->kind));
    name_copy(info->name, event->name);
}

/* What there is for the listener; its `after` moves on. */
static void collect(struct broker *broker, struct listener *listener, struct events_reply *reply)
{
    const struct event *event = events_after(&broker->events, listener->after);
    uint64_t last = *broker->events.last, first = event ? event->number : last + 1;
    uint32_t count = 0;

    if (listener->after > last)
        listener->after = 0;
    *reply = (struct events_reply){.lost = first - listener->after - 1};
    listener->after = first - 1;
    for (; event && count < PROTOCOL_LIST_MAX;
         event = events_after(&broker->events, listener->after)) {
        listener->after = event->number;
        if (listener->name[0] != '\0' && strcmp(listener->name, event->name) != 0)
            continue;
        if (may_hear(broker, listener->who, event))
            fill_info(event, &broker->heard[count++]);
    }
    reply->events = (struct list){broker->heard, count};
    reply->next = listener->after;
}

static void remove_listener(struct broker *broker, struct listener *listener)
{
    deadline_set(&broker->deadlines, &listener->deadline, DEADLINE_NEVER);
    TAILQ_REMOVE(&broker->listeners, listener, in_broker);
    LIST_REMOVE(listener, in_session);
    listener->session->waiter_count--;
    broker->waiter_count--;
    charge_deinit(&listener->waiting);
}

static void answer(struct broker *broker, struct listener *listener,
                   const struct events_reply *reply, const struct error *error)
{
    remove_listener(broker, listener);
    broker->rim.answer(listener->session->connection, listener->msgid, METHOD_EVENTS, reply, error);
    free(listener);
}

static void on_timeout(void *context, struct deadline *deadline)
{
    struct broker *broker = context;
    struct listener *listener =
        (struct listener *)((char *)deadline - offsetof(struct listener, deadline));
    struct events_reply reply;
    collect(broker, listener, &reply);
    answer(broker, listener, &reply, NULL);
}

void listening_tell(struct broker *broker)
{
    struct listener *listener, *next;
    for (listener = TAILQ_FIRST(&broker->listeners); listener; listener = next) {
        struct events_reply reply;
        next = TAILQ_NEXT(listener, in_broker);
        collect(broker, listener, &reply);
        if (reply.events.count > 0)
            answer(broker, listener, &reply, NULL);
    }
}

static enum broker_outcome wait_for_events(struct broker *broker, const struct listener *wanted,
                                           int64_t timeout, struct error *error)
{
    struct session *session = wanted->session;
    struct charge waiting = CHARGE_NONE;
    if (!broker_may_wait(broker, session, &waiting, error))
        return BROKER_REFUSED;

    struct listener *listener = malloc(sizeof(*listener));
    if (listener) {
        *listener = *wanted;
        deadline_init(&listener->deadline, on_timeout);
    }
    if (!listener || deadline_set(&broker->deadlines, &listener->deadline,
                                  broker_deadline(broker, timeout)) < 0) {
        free(listener);
        charge_deinit(&waiting);
        error_set(error, ERROR_OUT_OF_MEMORY, "the daemon has no memory to let a request wait");
        return BROKER_REFUSED;
    }
    charge_move(&waiting, &listener->waiting);
    TAILQ_INSERT_TAIL(&broker->listeners, listener, in_broker);
    LIST_INSERT_HEAD(&session->listeners, listener, in_session);
    session->waiter_count++;
    broker->waiter_count++;
    return BROKER_WAITS;
}

enum broker_outcome listening_request(struct broker *broker, struct session *session,
                                      const struct credentials *who,
                                      const struct events_request *request, uint32_t msgid,
                                      struct events_reply *reply, struct error *error)
{
    struct listener wanted = {
        .session = session,
        .who = who,
        .after = request->after,
        .msgid = msgid,
    };
    name_copy(wanted.name, request->name);
    collect(broker, &wanted, reply);
    /* What was lost is said at once: the reply to a request that waits can't say it any more. */
    if (reply->events.count > 0 || reply->lost > 0 || request->timeout == 0)
        return BROKER_DONE;
    return wait_for_events(broker, &wanted, request->timeout, error);
}

void listening_forget(struct broker *broker, struct session *session)
{
    struct listener *listener, *next;
    for (listener = LIST_FIRST(&session->listeners); listener; listener = next) {
        next = LIST_NEXT(listener, in_session);
        remove_listener(broker, listener);
        free(listener);
    }
}

void listening_refuse(struct broker *broker, const struct error *error)
{
    struct listener *listener;
    while ((listener = TAILQ_FIRST(&broker->listeners)))
        answer(broker, listener, NULL, error);
}
