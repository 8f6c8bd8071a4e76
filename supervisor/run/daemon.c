/* Leaving the supervision to a running mpud, as an OCI runtime does. */
#include "supervisor/run/run.h"

#include "base/cleanup.h"
#include "supervisor/run/message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int connect_to(const char *path, struct mpu_error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		return mpu_fail(error, ENAMETOOLONG, "--socket=%s: the path is too long", path);
	strcpy(address.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return mpu_fail(error, errno, "cannot reach mpud at %s: %s (is it running?)", path,
				strerror(errno));
	return steal_fd(&fd);
}

/* The OCI runtime specification's ContainerProcessState: all words in it are our own. */
int run_hand_to_daemon(const struct run_options *options, pid_t child, int listener,
		       struct mpu_error *error)
{
	static const char *const views[] = {"container", "host"};
	static const char *const policies[] = {"auto", "always", "off"};
	cleanup_close int fd = connect_to(options->socket, error);
	char state[1024];
	int length;

	if (fd < 0)
		return fd;
	length = snprintf(state, sizeof(state),
			  "{\"ociVersion\":\"1.0.2\",\"fds\":[\"seccompFd\"],\"pid\":%d,"
			  "\"metadata\":\"\",\"state\":{\"ociVersion\":\"1.0.2\","
			  "\"id\":\"mpu-run-%d\",\"status\":\"creating\",\"pid\":%d,"
			  "\"bundle\":\"/\",\"annotations\":{\"mpu.enable\":\"1\","
			  "\"mpu.view\":\"%s\",\"mpu.policy\":\"%s\",\"mpu.shared-pids\":\"%s\"}}}",
			  child, child, child, views[options->settings.view],
			  policies[options->settings.policy],
			  options->settings.deny_shared_pids ? "deny" : "allow");
	if (message_send(fd, state, (size_t)length, listener))
		return mpu_fail(error, EPIPE, "cannot hand the command to mpud at %s",
				options->socket);
	return 0;
}
