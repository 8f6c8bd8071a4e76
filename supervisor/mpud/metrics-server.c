#include "supervisor/mpud/metrics.h"

#include "base/log.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { CONNECTIONS = 16, TIMEOUT_S = 10, MEMORY = 16 << 10 };

static struct control server;

static struct MHD_Response *make_metrics(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	metrics_write(out, &server);
	metrics_gpus_write(out);
	fclose(out);
	return MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
}

static struct MHD_Response *make_text(const char *text)
{
	return MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text,
					       MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result answer(void *unused, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *data_size, void **state)
{
	bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
	bool found = strcmp(url, "/metrics") == 0;
	struct MHD_Response *response;
	enum MHD_Result result;
	unsigned int status =
	    !reads ? MHD_HTTP_METHOD_NOT_ALLOWED : (found ? MHD_HTTP_OK : MHD_HTTP_NOT_FOUND);

	(void)unused, (void)version, (void)data;
	/* Called with the headers first; what comes behind them is let go by. */
	if (!*state || *data_size) {
		*state = connection;
		*data_size = 0;
		return MHD_YES;
	}
	response = status == MHD_HTTP_OK ? make_metrics() : make_text("mpud: see /metrics\n");
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
				status == MHD_HTTP_OK ? "text/plain; version=0.0.4; charset=utf-8"
						      : "text/plain");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static void serve(struct MHD_Daemon *daemon)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
	struct pollfd ready = {.fd = info->epoll_fd, .events = POLLIN};

	for (;;) {
		MHD_UNSIGNED_LONG_LONG wait_ms;
		bool waits = MHD_get_timeout(daemon, &wait_ms) == MHD_YES;

		poll(&ready, 1, waits && wait_ms < 60000 ? (int)wait_ms : waits ? 60000 : -1);
		MHD_run(daemon);
	}
}

static void *metrics_thread(void *unused)
{
	struct MHD_Daemon *daemon;

	(void)unused;
	prctl(PR_SET_NAME, "mpu-metrics");
	sandbox_enter_thread(server.start->sandbox, SANDBOX_METRICS);
	/* The socket is the keeper's, and stays. */
	daemon = MHD_start_daemon(
	    MHD_USE_EPOLL, 0, NULL, NULL, answer, NULL, MHD_OPTION_LISTEN_SOCKET,
	    dup(server.start->metrics), MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CONNECTIONS,
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)TIMEOUT_S,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY, MHD_OPTION_END);
	if (daemon)
		serve(daemon);
	log_error("cannot serve metrics: libmicrohttpd does not start", "error=\"%s\"",
		  strerror(errno));
	return NULL;
}

void metrics_start(const struct worker_start *start, struct engine *engine,
		   const struct engine_options *options)
{
	sigset_t all, before;
	pthread_t thread;
	int result;

	server = (struct control){.start = start, .engine = engine, .options = options};
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = metrics_gpus_start(start, options);
	if (!result)
		result = pthread_create(&thread, NULL, metrics_thread, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result)
		log_error("cannot serve metrics", "error=\"%s\"", strerror(result));
	else
		pthread_detach(thread);
}
