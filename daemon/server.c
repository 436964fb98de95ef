/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* accept4 */
#include "daemon/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/connection.h"
#include "daemon/log.h"
#include "daemon/notify.h"

/* Sessions that wait to be resumed count too, and must not keep out who comes to do so. */
#define CONNECTIONS_MAX (2 * REGISTRY_SESSIONS + 64u)
#define ACCEPT_AGAIN_MS 100u
#define FULL_MS 1000u
#define BELLS_AT_ONCE 64
#define NS_PER_MS 1000000

/* ---- Listening ------------------------------------------------------------------------------- */

static void on_listener(uv_poll_t *handle, int status, int events);

/* Without room for a connection the others wait in the kernel's backlog. */
static void set_accepting(struct server *server, bool accepting)
{
    if (server->accepting == accepting || server->stopping)
        return;
    server->accepting = accepting;
    if (accepting)
        uv_poll_start(&server->listener, UV_READABLE, on_listener);
    else
        uv_poll_stop(&server->listener);
}

/* Once, until there was room for a while. */
static void say_full(struct server *server, const char *why)
{
    if (!server->full)
        log_peer(LOG_LEVEL_WARNING, "no more connections for now: %s connections=%u", why,
                 server->connection_count);
    server->full = true;
    server->full_at = uv_now(&server->loop);
}

static void note_room(struct server *server)
{
    if (server->connection_count <= REGISTRY_SESSIONS &&
        uv_now(&server->loop) - server->full_at >= FULL_MS)
        server->full = false;
}

static void on_accept_again(uv_timer_t *handle)
{
    struct server *server = handle->data;
    set_accepting(server, server->connection_count < CONNECTIONS_MAX);
}

/* What is wanting may be had again without any connection's end. */
static void pause_accepting(struct server *server)
{
    set_accepting(server, false);
    uv_timer_start(&server->again, on_accept_again, ACCEPT_AGAIN_MS, 0);
}

/*
 * A connection takes two descriptors, its socket and the pidfd. With room for one alone the client
 * stays in the backlog: once accepted, it could but be turned away. The socket or a negated errno.
 */
static int accept_one(const struct server *server)
{
    int room = fcntl(server->listen_fd, F_DUPFD_CLOEXEC, 0);
    if (room < 0)
        return -errno;
    int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int result = fd < 0 ? -errno : fd;
    close(room);
    return result;
}

static void on_listener(uv_poll_t *handle, int status, int events)
{
    struct server *server = handle->data;
    (void)status;
    (void)events;
    int fd = accept_one(server);
    int result = fd < 0 ? fd : connection_new(server, fd);
    if (result == -EMFILE || result == -ENFILE || result == -ENOMEM || result == -ENOBUFS) {
        say_full(server, strerror(-result));
        pause_accepting(server);
    } else if (server->connection_count >= CONNECTIONS_MAX) {
        say_full(server, "that is the limit");
        set_accepting(server, false);
    } else {
        note_room(server);
    }
}

/* ---- Timers ---------------------------------------------------------------------------------- */

static void on_deadline(uv_timer_t *handle)
{
    struct server *server = handle->data;
    server->armed = DEADLINE_NEVER;
    server_tell_time(server);
    broker_pass_time(server->broker);
    server_arm(server);
}

void server_tell_time(const struct server *server)
{
    broker_set_time(server->broker, (int64_t)uv_hrtime());
}

void server_arm(struct server *server)
{
    int64_t deadline = broker_next_deadline(server->broker);
    if (deadline == server->armed || server->stopping)
        return;
    server->armed = deadline;
    if (deadline == DEADLINE_NEVER) {
        uv_timer_stop(&server->deadline);
        return;
    }
    int64_t wait = deadline - (int64_t)uv_hrtime();
    uint64_t ms = wait > 0 ? (uint64_t)((wait + NS_PER_MS - 1) / NS_PER_MS) : 0;
    uv_timer_start(&server->deadline, on_deadline, ms, 0);
}

uint64_t server_recheck_longer(uint64_t ms)
{
    return 2 * ms < RECHECK_LAST_MS ? 2 * ms : RECHECK_LAST_MS;
}

static void on_recheck(uv_timer_t *handle)
{
    struct server *server = handle->data;
    struct connection *connection, *next;

    server->recheck_ms = server_recheck_longer(server->recheck_ms);
    for (connection = TAILQ_FIRST(&server->connections); connection; connection = next) {
        next = TAILQ_NEXT(connection, in_server);
        if (!connection->served)
            connection_recheck(connection, false);
    }
    server_arm(server);
}

void server_look_again(struct server *server, bool soon)
{
    if (server->stopping)
        return;
    if (soon)
        server->recheck_ms = RECHECK_FIRST_MS;
    /* Never later than it would: by one disconnect after the other it would come never. */
    if (!uv_is_active((uv_handle_t *)&server->recheck) ||
        uv_timer_get_due_in(&server->recheck) > server->recheck_ms)
        uv_timer_start(&server->recheck, on_recheck, server->recheck_ms, 0);
}

static void stop(struct server *server, const char *why);

/* Who has connected just now, and isn't taken in yet, mustn't be turned away. */
static bool somebody_knocks(const struct server *server)
{
    struct pollfd listener = {server->listen_fd, POLLIN, 0};
    return poll(&listener, 1, 0) > 0;
}

static void on_idle(uv_timer_t *handle)
{
    struct server *server = handle->data;
    if (somebody_knocks(server))
        uv_timer_start(handle, on_idle, ACCEPT_AGAIN_MS, 0);
    else
        stop(server, "idle");
}

static void watch_idle(struct server *server)
{
    if (server->exit_idle == OPTIONS_NEVER || server->stopping)
        return;
    if (server->connection_count > 0)
        uv_timer_stop(&server->idle);
    else
        uv_timer_start(&server->idle, on_idle, (uint64_t)server->exit_idle * 1000, 0);
}

/* ---- Connections ----------------------------------------------------------------------------- */

void server_connection_added(struct server *server, struct connection *connection)
{
    TAILQ_INSERT_TAIL(&server->connections, connection, in_server);
    server->connection_count++;
    watch_idle(server);
}

void server_connection_removed(struct server *server, struct connection *connection)
{
    TAILQ_REMOVE(&server->connections, connection, in_server);
    server->connection_count--;
    set_accepting(server, true);
    watch_idle(server);
}

void server_collect(struct server *server)
{
    struct connection *connection;
    TAILQ_FOREACH (connection, &server->connections, in_server)
        connection_collect(connection);
}

/* ---- Bells ----------------------------------------------------------------------------------- */

/*
 * Bells are never read: a member shares its bell's open file description, and could have a read block
 * for ever by making it a blocking one and taking the count back. Each write is an edge, whatever the
 * count was before it.
 */
int server_add_bell(struct server *server, struct connection *connection, int bell)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = connection};
    return epoll_ctl(server->bells_fd, EPOLL_CTL_ADD, bell, &event) < 0 ? -errno : 0;
}

/* By itself it would be forgotten only once the members have closed it, too. */
void server_forget_bell(const struct server *server, int bell)
{
    epoll_ctl(server->bells_fd, EPOLL_CTL_DEL, bell, NULL);
}

static void on_bells(uv_poll_t *handle, int status, int events)
{
    struct server *server = handle->data;
    struct epoll_event rung[BELLS_AT_ONCE];
    (void)status;
    (void)events;
    int count = epoll_wait(server->bells_fd, rung, BELLS_AT_ONCE, 0);
    for (int i = 0; i < count; i++)
        connection_rung(rung[i].data.ptr);
}

/* ---- Jobs ------------------------------------------------------------------------------------ */

/* A thread for each: libuv's own ends the process where there is none to be had. */
struct work {
    uv_async_t over;
    uv_thread_t thread;
    struct server *server;
    struct job *job;
};

static void run_work(void *argument)
{
    struct work *work = argument;
    work->job->run(work->job);
    uv_async_send(&work->over);
}

static void free_work(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_work_over(uv_async_t *handle)
{
    struct work *work = handle->data;
    struct server *server = work->server;
    uv_thread_join(&work->thread);
    server_tell_time(server);
    work->job->done(server->broker, work->job);
    uv_close((uv_handle_t *)handle, free_work);
    server_arm(server);
}

int server_offload(void *context, struct job *job)
{
    struct server *server = context;
    struct work *work = malloc(sizeof(*work));
    if (!work)
        return -ENOMEM;
    *work = (struct work){.server = server, .job = job};
    int status = uv_async_init(&server->loop, &work->over, on_work_over);
    if (status < 0) {
        free(work);
        return status;
    }
    work->over.data = work;
    status = uv_thread_create(&work->thread, run_work, work);
    if (status < 0)
        uv_close((uv_handle_t *)&work->over, free_work);
    return status;
}

/* ---- Life ------------------------------------------------------------------------------------ */

void server_hold_signals(bool hold)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &signals, NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
    stop(handle->data, number == SIGINT ? "SIGINT" : "SIGTERM");
}

/* Jobs end first, and close theirs. */
static void close_handle(uv_handle_t *handle, void *argument)
{
    (void)argument;
    if (!uv_is_closing(handle) && handle->type != UV_ASYNC)
        uv_close(handle, NULL);
}

/* Gives up the connections, then the handles, after which the loop has nothing left to run. */
static void wind_up(struct server *server)
{
    struct connection *connection;
    server->stopping = true;
    while ((connection = TAILQ_FIRST(&server->connections)))
        connection_abandon(connection);
    uv_walk(&server->loop, close_handle, NULL);
}

/* Ends the connections first. */
static void stop(struct server *server, const char *why)
{
    struct connection *connection, *next;
    if (server->stopping)
        return;
    log_info("ending reason=%s connections=%u", why, server->connection_count);
    notify_stopping();
    server_hold_signals(true);
    server->stopping = true;
    broker_refuse_all(server->broker);
    for (connection = TAILQ_FIRST(&server->connections); connection; connection = next) {
        next = TAILQ_NEXT(connection, in_server);
        if (connection->served)
            connection_close(connection);
    }
    wind_up(server);
}

/* Half of the descriptors that we may have may be on their way to clients. */
static unsigned half_of_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        limit.rlim_cur = 1024;
    return limit.rlim_cur / 2 < 65536 ? (unsigned)(limit.rlim_cur / 2) : 65536;
}

static int init_handles(struct server *server)
{
    uv_timer_t *timers[] = {&server->deadline, &server->recheck, &server->idle, &server->again};
    uv_signal_t *signals[] = {&server->terminate, &server->interrupt};
    int status = uv_poll_init(&server->loop, &server->listener, server->listen_fd);
    server->listener.data = server;
    if (status == 0)
        status = uv_poll_init(&server->loop, &server->bells, server->bells_fd);
    server->bells.data = server;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]) && status == 0; i++) {
        status = uv_signal_init(&server->loop, signals[i]);
        signals[i]->data = server;
    }
    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]) && status == 0; i++) {
        status = uv_timer_init(&server->loop, timers[i]);
        timers[i]->data = server;
    }
    return status;
}

/* Those that outlived the daemon that they had begun with. */
static int adopt_sessions(struct server *server)
{
    struct session *session;
    int status = 0;
    TAILQ_FOREACH (session, &server->broker->sessions, in_broker)
        if (status == 0)
            status = connection_adopt(server, session);
    return status;
}

/* Runs the loop until all its handles are closed. 0 or a negated errno. */
static int finish(struct server *server)
{
    uv_run(&server->loop, UV_RUN_DEFAULT);
    int status = uv_loop_close(&server->loop);
    decoder_deinit(&server->decoder);
    close(server->bells_fd);
    return status;
}

static int init(struct server *server, struct broker *broker, const char *instance, int listen_fd,
                long exit_idle)
{
    *server = (struct server){
        .listen_fd = listen_fd,
        .armed = DEADLINE_NEVER,
        .recheck_ms = RECHECK_FIRST_MS,
        .exit_idle = exit_idle,
        .broker = broker,
        .uncollected_max = half_of_descriptors(),
        .dispatch = {.broker = broker, .instance = instance},
    };
    TAILQ_INIT(&server->connections);

    int status = decoder_init(&server->decoder);
    if (status < 0)
        return status;
    server->bells_fd = epoll_create1(EPOLL_CLOEXEC);
    status = server->bells_fd < 0 ? -errno : uv_loop_init(&server->loop);
    if (status < 0) {
        decoder_deinit(&server->decoder);
        if (server->bells_fd >= 0)
            close(server->bells_fd);
        return status;
    }
    status = init_handles(server);
    if (status == 0)
        status = adopt_sessions(server);
    if (status < 0) {
        wind_up(server);
        finish(server);
    }
    return status;
}

int server_run(struct server *server, struct broker *broker, const char *instance, int listen_fd,
               long exit_idle)
{
    int status = init(server, broker, instance, listen_fd, exit_idle);
    if (status < 0)
        return status;
    uv_signal_start(&server->terminate, on_signal, SIGTERM);
    uv_signal_start(&server->interrupt, on_signal, SIGINT);
    server_hold_signals(false);
    uv_poll_start(&server->bells, UV_READABLE, on_bells);
    set_accepting(server, true);
    watch_idle(server);
    notify_ready();
    notify_status("Serving instance %s", instance);
    return finish(server);
}
