/* SPDX-License-Identifier: MIT */
/*
 * Lists, which the daemon sends in pages: of pools, sessions and events with a number above
 * `after`, in that order, and whether there are more; of holders and of findings one page alone, in
 * another order.
 * A page is taken whole, then the visitor is called; no lock is held then.
 */
#include <fastalloc/admin.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/connection.h"
#include "client/error.h"
#include "client/name.h"
#include "client/sized.h"

struct page {
    const struct message_type *element;
    uint64_t (*id_of)(const void *element); /* NULL: in no order of numbers */
    void *elements;
    size_t room; /* for so many */
    size_t count;
    bool more;
    uint64_t after; /* the last id of this page */
};

/* ---- Pages ----------------------------------------------------------------------------------- */

static int page_init(struct page *page, const struct message_type *element,
                     uint64_t (*id_of)(const void *), fastalloc_error_t *error)
{
    *page = (struct page){.element = element, .id_of = id_of, .room = PROTOCOL_LIST_MAX};
    page->elements = calloc(PROTOCOL_LIST_MAX, element->size);
    return page->elements ? 0 : error_raise(error, -ENOMEM, "no memory for a list");
}

static void page_deinit(struct page *page)
{
    free(page->elements);
}

static const void *page_at(const struct page *page, size_t i)
{
    return (const char *)page->elements + i * page->element->size;
}

/*
 * A list must get on: ids that rise, and no empty page before the end. Else a walk might have none.
 */
static bool page_gets_on(struct page *page)
{
    for (size_t i = 0; i < page->count && page->id_of; i++) {
        uint64_t id = page->id_of(page_at(page, i));
        if (id <= page->after)
            return false;
        page->after = id;
    }
    return page->count > 0 || !page->more;
}

static int take_page(struct call *call, const struct list *list, bool more)
{
    struct page *page = call->context;
    const msgpack_object *objects = list->items;
    struct error wire;

    call->complaint = "a list with more elements than were asked for";
    if (list->count > page->room)
        return FASTALLOC_ERR_MALFORMED;
    call->complaint = "a list with an element that isn't one";
    for (size_t i = 0; i < list->count; i++) {
        char *element = (char *)page->elements + i * page->element->size;
        if (!message_decode(page->element, &objects[i], false, element, &wire))
            return FASTALLOC_ERR_MALFORMED;
    }
    page->count = list->count;
    page->more = more;
    call->complaint = "a list that doesn't get on";
    return page_gets_on(page) ? 0 : FASTALLOC_ERR_MALFORMED;
}

/* ---- Pools ----------------------------------------------------------------------------------- */

static uint64_t pool_id(const void *element)
{
    return ((const struct pool_info *)element)->pool;
}

static int take_pools(struct call *call, struct descriptors *arrived)
{
    const struct pool_list_reply *reply = call->reply;
    return take_page(call, &reply->pools, reply->more);
}

static int fetch_pools(fastalloc_connection_t *connection, const struct pool_list_request *request,
                       struct page *page, fastalloc_error_t *error)
{
    struct pool_list_reply reply;
    struct call call = {
        .method = METHOD_POOL_LIST,
        .request = request,
        .reply = &reply,
        .take = take_pools,
        .context = page,
        .error = error,
    };
    return connection_call(connection, &call);
}

_Static_assert(sizeof(((fastalloc_pool_info_t *)0)->growth) == LAYOUT_GROWTH_SIZE &&
                   sizeof(((fastalloc_pool_info_t *)0)->watermark) == LAYOUT_WATERMARK_SIZE,
               "texts fit");

static fastalloc_pool_info_t public_pool(const struct pool_info *pool)
{
    fastalloc_pool_info_t info = {
        .size = sizeof(info),
        .id = pool->pool,
        .mode = pool->mode,
        .uid = pool->uid,
        .gid = pool->gid,
        .object_size = pool->object_size,
        .stride = pool->stride,
        .alignment = pool->alignment,
        .capacity = pool->capacity,
        .capacity_max = pool->capacity_max,
        .reserve = pool->reserve,
        .allocated = pool->allocated,
        .members = pool->members,
        .memory = pool->memory,
        .grow_ahead = pool->grow_ahead,
        .reserve_critical = pool->reserve_critical,
        .reserve_normal = pool->reserve_normal,
        .session_slots = pool->session_slots,
        .user_slots = pool->user_slots,
        .template_size = pool->template_size,
        .hold_limit = pool->hold_limit,
        .trim_after = pool->trim_after,
        .zero = (int32_t)pool->zero,
        .owner_frees = pool->owner_frees,
        .prefault = pool->prefault,
        .lock = pool->lock,
        .huge = pool->huge,
        .kind = (int32_t)pool->kind,
        .damaged = pool->damaged,
    };
    memcpy(info.growth, pool->growth, sizeof(info.growth));
    memcpy(info.watermark, pool->watermark, sizeof(info.watermark));
    memcpy(info.name, pool->name, sizeof(info.name));
    memcpy(info.type, pool->type, sizeof(info.type));
    return info;
}

static int visit_pools(const struct page *page, fastalloc_pool_visitor_t visit, void *context)
{
    int result = 0;
    for (size_t i = 0; i < page->count && result == 0; i++) {
        fastalloc_pool_info_t info = public_pool(page_at(page, i));
        result = visit(&info, context);
    }
    return result;
}

int fastalloc_pool_list(fastalloc_connection_t *connection, fastalloc_pool_visitor_t visit,
                        void *context, fastalloc_error_t *error)
{
    __attribute__((cleanup(page_deinit))) struct page page;
    int result = page_init(&page, &pool_info_type, pool_id, error);
    while (result == 0) {
        struct pool_list_request request = {.after = (uint32_t)page.after};
        result = fetch_pools(connection, &request, &page, error);
        if (result == 0)
            result = visit_pools(&page, visit, context);
        if (!page.more)
            break;
    }
    return result;
}

int fastalloc_pool_show(fastalloc_connection_t *connection, const char *name,
                        fastalloc_pool_info_t *info, fastalloc_error_t *error)
{
    struct pool_info one;
    struct page page = {.element = &pool_info_type, .id_of = pool_id, .elements = &one, .room = 1};
    struct pool_list_request request = {.after = 0};
    int result = name_copy(request.name, name, "name", error);
    if (result == 0)
        result = fetch_pools(connection, &request, &page, error);
    if (result < 0)
        return result;

    /* Without a name the daemon lists all. */
    if (page.count == 0 || strcmp(one.name, request.name) != 0) {
        fastalloc_error_t fields = {.code = FASTALLOC_ERR_NO_SUCH_POOL};
        memcpy(fields.pool, request.name, sizeof(fields.pool));
        return error_raise_with(error, &fields, "there is no pool '%s'", request.name);
    }
    fastalloc_pool_info_t own = public_pool(&one);
    sized_write(info, &own, sizeof(own));
    return 0;
}

/* ---- Sessions -------------------------------------------------------------------------------- */

static uint64_t session_id(const void *element)
{
    return ((const struct session_info *)element)->session;
}

static int take_sessions(struct call *call, struct descriptors *arrived)
{
    const struct sessions_reply *reply = call->reply;
    return take_page(call, &reply->sessions, reply->more);
}

static int fetch_sessions(fastalloc_connection_t *connection, struct page *page,
                          fastalloc_error_t *error)
{
    struct sessions_request request = {.after = page->after};
    struct sessions_reply reply;
    struct call call = {
        .method = METHOD_SESSIONS,
        .request = &request,
        .reply = &reply,
        .take = take_sessions,
        .context = page,
        .error = error,
    };
    return connection_call(connection, &call);
}

static int visit_sessions(const struct page *page, fastalloc_session_visitor_t visit, void *context)
{
    int result = 0;
    for (size_t i = 0; i < page->count && result == 0; i++) {
        const struct session_info *session = page_at(page, i);
        fastalloc_session_info_t info = {
            .size = sizeof(info),
            .id = session->session,
            .pid = (pid_t)session->pid,
            .uid = session->uid,
            .connected = session->connected,
            .pools = session->pools,
            .waiting = session->waiting,
            .allocated = session->allocated,
        };
        memcpy(info.name, session->name, sizeof(info.name));
        result = visit(&info, context);
    }
    return result;
}

int fastalloc_session_list(fastalloc_connection_t *connection, fastalloc_session_visitor_t visit,
                           void *context, fastalloc_error_t *error)
{
    __attribute__((cleanup(page_deinit))) struct page page;
    int result = page_init(&page, &session_info_type, session_id, error);
    while (result == 0) {
        result = fetch_sessions(connection, &page, error);
        if (result == 0)
            result = visit_sessions(&page, visit, context);
        if (!page.more)
            break;
    }
    return result;
}

/* ---- Holders --------------------------------------------------------------------------------- */

static int take_holders(struct call *call, struct descriptors *arrived)
{
    const struct holders_reply *reply = call->reply;
    return take_page(call, &reply->holders, false);
}

static int fetch_holders(fastalloc_connection_t *connection, const char *name, struct page *page,
                         fastalloc_error_t *error)
{
    struct holders_request request;
    struct holders_reply reply;
    struct call call = {
        .method = METHOD_HOLDERS,
        .request = &request,
        .reply = &reply,
        .take = take_holders,
        .context = page,
        .error = error,
    };
    int result = name_copy(request.name, name, "name", error);
    return result < 0 ? result : connection_call(connection, &call);
}

static int visit_holders(const struct page *page, fastalloc_holder_visitor_t visit, void *context)
{
    int result = 0;
    for (size_t i = 0; i < page->count && result == 0; i++) {
        const struct holder_info *holder = page_at(page, i);
        fastalloc_holder_info_t info = {
            .size = sizeof(info),
            .session = holder->session,
            .pid = (pid_t)holder->pid,
            .uid = holder->uid,
            .connected = holder->connected,
            .slots = holder->slots,
            .oldest = holder->oldest,
        };
        memcpy(info.name, holder->name, sizeof(info.name));
        result = visit(&info, context);
    }
    return result;
}

int fastalloc_holder_list(fastalloc_connection_t *connection, const char *name,
                          fastalloc_holder_visitor_t visit, void *context, fastalloc_error_t *error)
{
    struct page page;
    int result = page_init(&page, &holder_info_type, NULL, error);
    if (result < 0)
        return result;
    result = fetch_holders(connection, name, &page, error);
    if (result == 0)
        result = visit_holders(&page, visit, context);
    page_deinit(&page);
    return result;
}

/* ---- Events ---------------------------------------------------------------------------------- */

static uint64_t event_number(const void *element)
{
    return ((const struct event_info *)element)->number;
}

/*
 * Numbers rise within a page. They may lie below the request's: those of a daemon that was started
 * after the one that gave it.
 */
static int take_events(struct call *call, struct descriptors *arrived)
{
    const struct events_reply *reply = call->reply;
    struct page *page = call->context;
    page->after = 0;
    int result = take_page(call, &reply->events, reply->events.count == PROTOCOL_LIST_MAX);
    if (result < 0 || reply->next >= page->after)
        return result;
    call->complaint = "a list that doesn't get on";
    return FASTALLOC_ERR_MALFORMED;
}

static int fetch_events(fastalloc_connection_t *connection, struct events_request *request,
                        bool bounded, struct events_reply *reply, struct page *page,
                        fastalloc_error_t *error)
{
    struct call call = {
        .method = METHOD_EVENTS,
        .request = request,
        .reply = reply,
        .take = take_events,
        .context = page,
        .timeout = request->timeout,
        .bounded = bounded,
        .left = &request->timeout,
        .error = error,
    };
    return connection_call(connection, &call);
}

static int visit_events(const struct page *page, uint64_t *after, fastalloc_event_visitor_t visit,
                        void *context)
{
    int result = 0;
    for (size_t i = 0; i < page->count && result == 0; i++) {
        const struct event_info *event = page_at(page, i);
        fastalloc_event_t info = {
            .size = sizeof(info),
            .number = event->number,
            .time = event->time,
            .pool = event->pool,
            .capacity = event->capacity,
            .allocated = event->allocated,
            .count = event->count,
            .session = event->session,
        };
        memcpy(info.kind, event->kind, sizeof(info.kind));
        memcpy(info.name, event->name, sizeof(info.name));
        *after = event->number;
        result = visit(&info, context);
    }
    return result;
}

static int walk_events(fastalloc_connection_t *connection, struct events_request *request,
                       struct page *page, uint64_t *after, uint64_t *lost,
                       fastalloc_event_visitor_t visit, void *context, fastalloc_error_t *error)
{
    struct events_reply reply;
    bool bounded = request->timeout >= 0; /* all of the walk */
    uint64_t missed = 0;
    int result;
    do {
        request->after = *after;
        result = fetch_events(connection, request, bounded, &reply, page, error);
        if (result < 0)
            return result;
        missed += reply.lost;
        if (lost)
            *lost = missed;
        result = visit_events(page, after, visit, context);
        if (result == 0)
            *after = reply.next;
        request->timeout = FASTALLOC_NOWAIT; /* for what is left */
    } while (result == 0 && page->more);
    return result;
}

int fastalloc_events(fastalloc_connection_t *connection, const char *name, int64_t timeout,
                     uint64_t *after, uint64_t *lost, fastalloc_event_visitor_t visit,
                     void *context, fastalloc_error_t *error)
{
    struct page page;
    struct events_request request = {.timeout = timeout};
    int result = name_copy(request.name, name, "name", error);
    if (result == 0)
        result = page_init(&page, &event_info_type, event_number, error);
    if (result < 0)
        return result;
    result = walk_events(connection, &request, &page, after, lost, visit, context, error);
    page_deinit(&page);
    return result;
}

/* ---- Findings -------------------------------------------------------------------------------- */

_Static_assert(FASTALLOC_FINDING_MAX == PROTOCOL_TEXT_MAX, "texts fit");

static int take_findings(struct call *call, struct descriptors *arrived)
{
    const struct check_reply *reply = call->reply;
    return take_page(call, &reply->findings, false);
}

static int fetch_check(fastalloc_connection_t *connection, struct check_reply *reply,
                       struct page *page, fastalloc_error_t *error)
{
    struct check_request request;
    struct call call = {
        .method = METHOD_CHECK,
        .request = &request,
        .reply = reply,
        .take = take_findings,
        .context = page,
        .error = error,
    };
    return connection_call(connection, &call);
}

static int visit_findings(const struct page *page, fastalloc_finding_visitor_t visit, void *context)
{
    int result = 0;
    for (size_t i = 0; i < page->count && result == 0; i++) {
        const struct check_finding *finding = page_at(page, i);
        fastalloc_finding_t info = {.size = sizeof(info), .violation = finding->violation};
        memcpy(info.text, finding->text, sizeof(info.text));
        result = visit(&info, context);
    }
    return result;
}

int fastalloc_check(fastalloc_connection_t *connection, fastalloc_check_info_t *info,
                    fastalloc_finding_visitor_t visit, void *context, fastalloc_error_t *error)
{
    struct page page;
    struct check_reply reply;
    int result = page_init(&page, &check_finding_type, NULL, error);
    if (result < 0)
        return result;
    result = fetch_check(connection, &reply, &page, error);
    if (result == 0 && info) {
        fastalloc_check_info_t own = {
            .pools = reply.pools,
            .sessions = reply.sessions,
            .slots = reply.slots,
            .violations = reply.violations,
            .notes = reply.notes,
        };
        sized_write(info, &own, sizeof(own));
    }
    if (result == 0 && visit)
        result = visit_findings(&page, visit, context);
    page_deinit(&page);
    return result;
}
