#include "supervisor/mpud/metrics.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum { BACKLOG = 16 };

static const char unix_prefix[] = "unix:";

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static const char *path_in(const char *word)
{
	size_t length = sizeof(unix_prefix) - 1;

	return strncmp(word, unix_prefix, length) == 0 && word[length] == '/' ? word + length
									      : NULL;
}

static bool parse_port(const char *word, in_port_t *port)
{
	char *end;
	unsigned long value = strtoul(word, &end, 10);

	*port = htons((uint16_t)value);
	return word[0] >= '1' && word[0] <= '9' && !*end && value <= UINT16_MAX;
}

/* Nobody but this machine shall be answered. Returns the length, or 0. */
static socklen_t parse_loopback(const char *word, union address *address)
{
	const char *colon = strrchr(word, ':');
	char host[INET6_ADDRSTRLEN];
	in_port_t port;

	if (!colon || (size_t)(colon - word) >= sizeof(host) || !parse_port(colon + 1, &port))
		return 0;
	snprintf(host, sizeof(host), "%.*s", (int)(colon - word), word);
	*address = (union address){.v4 = {.sin_family = AF_INET, .sin_port = port}};
	if (inet_pton(AF_INET, host, &address->v4.sin_addr) == 1)
		return ntohl(address->v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET
			   ? sizeof(address->v4)
			   : 0;
	*address = (union address){.v6 = {.sin6_family = AF_INET6, .sin6_port = port}};
	address->v6.sin6_addr = in6addr_loopback;
	return strcmp(host, "[::1]") == 0 ? sizeof(address->v6) : 0;
}

bool metrics_address_is_good(const char *word)
{
	union address address;

	return path_in(word) || parse_loopback(word, &address);
}

static int open_loopback(struct mpud_socket *own, const char *word, struct mpu_error *error)
{
	union address address;
	socklen_t length = parse_loopback(word, &address);
	const int on = 1;

	*own = (struct mpud_socket){.type = SOCK_STREAM};
	own->fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (own->fd < 0)
		return mpu_fail(error, errno, "cannot make a socket for --metrics=%s: %s", word,
				strerror(errno));
	setsockopt(own->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(own->fd, &address.any, length) || listen(own->fd, BACKLOG))
		return mpu_fail(error, errno, "cannot listen at --metrics=%s: %s%s", word,
				strerror(errno),
				errno == EADDRINUSE ? " (choose another port)" : "");
	return 0;
}

int metrics_socket_open(struct mpud_socket *own, const char *address, struct mpu_error *error)
{
	const char *path = path_in(address);
	int result;

	if (!path)
		return open_loopback(own, address, error);
	result = mpud_socket_prepare(own, path, NULL, error);
	return result ? result : mpud_socket_open(own, error);
}

static bool listens_at(const struct mpud_socket *own, const char *word)
{
	const char *path = path_in(word);
	union address wanted, address = {.v6 = {0}};
	socklen_t length = sizeof(address);

	if (path || own->path[0])
		return path && strcmp(path, own->path) == 0;
	return !getsockname(own->fd, &address.any, &length) &&
	       parse_loopback(word, &wanted) == length &&
	       (address.any.sa_family == AF_INET
		    ? address.v4.sin_port == wanted.v4.sin_port &&
			  address.v4.sin_addr.s_addr == wanted.v4.sin_addr.s_addr
		    : address.v6.sin6_port == wanted.v6.sin6_port);
}

void metrics_socket_take(struct mpud_socket *own, const char *address, int fd)
{
	struct mpu_error error = {0};

	*own = (struct mpud_socket){.fd = -1, .type = SOCK_STREAM};
	if (mpud_socket_take(own, fd, false, &error)) {
		log_warning(error.text, "socket=metrics");
		close(fd);
		own->fd = -1;
	} else if (!address || !listens_at(own, address)) {
		mpud_socket_close(own);
	}
}
