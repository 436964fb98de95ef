/* SPDX-License-Identifier: MIT */
/*
 * Lists of pools and sessions, which the daemon sends in pages: elements with an id above `after`,
 * in that order, and whether there are more. A page is taken whole, then the visitor is called; no
 * lock is held then.
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
    uint64_t (*id_of)(const void *element);
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
    for (size_t i = 0; i < page->count; i++) {
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
        .allocated = pool->allocated,
        .members = pool->members,
        .memory = pool->memory,
    };
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
