#include "supervisor/mpud/metrics.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

Test(metrics, only_unix_paths_and_loopback_ports_are_addresses)
{
	static const char *const good[] = {"unix:/run/x", "127.0.0.1:9402", "127.9.9.9:1",
					   "[::1]:65535"};
	static const char *const bad[] = {"",
					  "unix:",
					  "unix:run/x",
					  "/run/x",
					  "9402",
					  ":9402",
					  "0.0.0.0:9402",
					  "10.0.0.1:80",
					  "[::]:9402",
					  "::1:9402",
					  "127.0.0.1",
					  "127.0.0.1:",
					  "127.0.0.1:0",
					  "127.0.0.1:65536",
					  "127.0.0.1:9x",
					  "127.0.0.1:-1",
					  "127.0.0.1: 1",
					  "localhost:9402",
					  "128.0.0.1:9402",
					  "11111111111111111111111111111111111111111111111111:1"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect(metrics_address_is_good(good[i]), "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect(!metrics_address_is_good(bad[i]), "%s", bad[i]);
}

static char *write_label(const char *value)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	metrics_write_label(out, false, "name", value);
	fclose(out);
	return text;
}

Test(metrics, values_of_labels_are_escaped)
{
	char *text = write_label("a\"b\\c\nd{}=,");

	cr_expect_str_eq(text, ",name=\"a\\\"b\\\\c\\nd{}=,\"", "%s", text);
	free(text);
}

Test(metrics, a_socket_is_taken_over_only_at_its_own_address)
{
	struct mpud_socket own, next;
	struct mpu_error error = {0};
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	char word[32];
	int fd;

	/* A port that is free. */
	fd = socket(AF_INET, SOCK_STREAM, 0);
	address =
	    (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	cr_assert(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	cr_assert(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
	close(fd);
	snprintf(word, sizeof(word), "127.0.0.1:%u", ntohs(address.sin_port));
	cr_assert(metrics_socket_open(&own, word, &error) == 0, "%s", error.text);
	cr_expect(metrics_socket_open(&next, word, &error) == -EADDRINUSE);
	cr_expect(strstr(error.text, "choose another port") != NULL, "%s", error.text);
	metrics_socket_take(&next, word, dup(own.fd));
	cr_expect(next.fd >= 0);
	mpud_socket_close(&next);
	metrics_socket_take(&next, "127.0.0.1:1", dup(own.fd));
	cr_expect(next.fd < 0);
	metrics_socket_take(&next, NULL, dup(own.fd));
	cr_expect(next.fd < 0);
	metrics_socket_take(&next, "unix:/nowhere", dup(own.fd));
	cr_expect(next.fd < 0);
	mpud_socket_close(&own);
}
