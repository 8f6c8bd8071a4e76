/* From one keeper to the next, without a lost call: what a new program needs is in the journal, and
 * calls wait in the kernel meanwhile. */
#include "supervisor/mpud/keeper.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "supervisor/mpud/channel.h"
#include "supervisor/mpud/metrics.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000, AT_ONCE = 200 };

/* Where the journal and the sockets stand in CHANNEL_HOUSE. Behind them those that not every mpud
 * has, as the message's index says. */
enum { SOCKET, SUCCESSORS, JOURNAL, HOUSE };
enum { HAS_LXC = 1, HAS_CONTROL = 2, HAS_METRICS = 4, OPTIONAL = 3 };

/* ---- Giving ---- */

static int give_listeners(const struct keeper *keeper, int successor)
{
	uint32_t index = 0;
	int result = 0;

	while (!result && index < JOURNAL_LISTENERS) {
		struct channel_message message = {.kind = CHANNEL_LISTENERS, .index = index};
		int fds[AT_ONCE];

		if (keeper->listener[index] < 0) {
			index++;
			continue;
		}
		while (index < JOURNAL_LISTENERS && message.which < AT_ONCE &&
		       keeper->listener[index] >= 0)
			fds[message.which++] = keeper->listener[index++];
		result = channel_send(successor, &message, fds, message.which, 0);
	}
	return result;
}

static int give_parcels(const struct keeper *keeper, int successor)
{
	int result = 0;

	for (const struct parcel *one = keeper->parcels.first; one && !result; one = one->next) {
		const struct channel_message message = {.kind = CHANNEL_PARCEL,
							.index = (uint32_t)one->length};
		int fds[PARCEL_FDS + 2] = {one->memory, one->connection};

		memcpy(fds + 2, one->fd, one->fd_count * sizeof(int));
		if (one->fresh)
			result = channel_send(successor, &message, fds, one->fd_count + 2, 0);
	}
	return result;
}

static int give_house(const struct keeper *keeper, int successor)
{
	struct channel_message house = {.kind = CHANNEL_HOUSE, .which = keeper->socket.inherited};
	int fds[HOUSE + OPTIONAL] = {keeper->socket.fd, keeper->successors,
				     journal_fd(keeper->journal)};
	size_t count = HOUSE;

	if (keeper->lxc_socket.fd >= 0) {
		house.index |= HAS_LXC;
		fds[count++] = keeper->lxc_socket.fd;
	}
	if (keeper->control >= 0) {
		house.index |= HAS_CONTROL;
		fds[count++] = keeper->control;
	}
	if (keeper->metrics.fd >= 0) {
		house.index |= HAS_METRICS;
		fds[count++] = keeper->metrics.fd;
	}
	return channel_send(successor, &house, fds, count, 0);
}

static int give_all(const struct keeper *keeper, int successor)
{
	const struct channel_message end = {.kind = CHANNEL_END};
	struct channel_mail mail;
	int result = give_house(keeper, successor);

	if (!result)
		result = give_listeners(keeper, successor);
	if (!result)
		result = give_parcels(keeper, successor);
	if (!result)
		result = channel_send(successor, &end, NULL, 0, 0);
	/* It says that it has all, or is gone. */
	if (!result)
		result = channel_wait(successor, &mail, PATIENCE_MS);
	if (result)
		return result;
	channel_drop(&mail);
	return mail.message.kind == CHANNEL_READY ? 0 : -EPROTO;
}

/* Who is in the middle of sending gets a moment to come to the end. */
static bool has_halves(const struct keeper *keeper)
{
	for (const struct parcel *one = keeper->parcels.first; one; one = one->next)
		if (!one->fresh)
			return true;
	return false;
}

bool handover_give(struct keeper *keeper)
{
	cleanup_close int successor = accept4(keeper->successors, NULL, NULL, SOCK_CLOEXEC);
	const struct channel_message refused = {.kind = CHANNEL_REFUSED, .index = JOURNAL_FORMAT};
	struct mpu_error error = {0};
	struct channel_mail mail;
	int result;

	if (successor < 0 || !mpud_socket_is_of_our_user(successor) ||
	    channel_wait(successor, &mail, PATIENCE_MS))
		return false;
	channel_drop(&mail);
	if (mail.message.kind != CHANNEL_HELLO || mail.message.index != JOURNAL_FORMAT) {
		channel_send(successor, &refused, NULL, 0, 0);
		return false;
	}
	for (int i = 0; i < 100 && has_halves(keeper); i++) {
		parcels_work(&keeper->parcels);
		usleep(1000);
	}
	keeper_stop_worker(keeper);
	result = give_all(keeper, successor);
	if (!result) {
		log_info("another mpud has taken over", "listeners=%u", keeper->listeners);
		return true;
	}
	log_error("the mpud that was to take over did not: this one goes on", "error=\"%s\"",
		  strerror(-result));
	if (keeper_start_worker(keeper, &error))
		log_error(error.text, "error=%d", error.code);
	return false;
}

/* ---- Taking ---- */

static int take_house(struct keeper *keeper, struct channel_mail *mail, struct mpu_error *error)
{
	bool inherited = mail->message.which != 0;
	size_t optional = HOUSE;
	int result;

	if (mail->message.kind == CHANNEL_REFUSED)
		return mpu_fail(error, EPROTO,
				"the mpud that runs keeps a journal of format %u, this one knows "
				"format %d: it goes on as it was (end its containers first)",
				mail->message.index, JOURNAL_FORMAT);
	if (mail->message.kind != CHANNEL_HOUSE ||
	    mail->count < HOUSE + (size_t)__builtin_popcount(mail->message.index))
		return mpu_fail(error, EPROTO, "the mpud that runs does not hand over");
	result = mpud_socket_take(&keeper->socket, mail->fd[SOCKET], inherited, error);
	if (!result && mail->message.index & HAS_LXC)
		result =
		    mpud_socket_take(&keeper->lxc_socket, mail->fd[optional++], inherited, error);
	if (result)
		return result;
	if (mail->message.index & HAS_CONTROL)
		keeper->control = mail->fd[optional++];
	if (mail->message.index & HAS_METRICS)
		metrics_socket_take(&keeper->metrics, keeper->options->metrics,
				    mail->fd[optional]);
	keeper->journal = journal_attach(mail->fd[JOURNAL], error);
	if (!keeper->journal)
		return -error->code;
	keeper->successors = mail->fd[SUCCESSORS];
	mail->count = 0;
	return 0;
}

static void take_listeners(struct keeper *keeper, struct channel_mail *mail)
{
	for (size_t i = 0; i < mail->count; i++) {
		if (mail->message.index + i >= JOURNAL_LISTENERS)
			return;
		keeper_hold(keeper, mail->message.index + (uint32_t)i, mail->fd[i]);
		mail->fd[i] = -1;
	}
}

static int take_rest(struct keeper *keeper, int other, struct mpu_error *error)
{
	const struct channel_message ready = {.kind = CHANNEL_READY};
	struct channel_mail mail;
	int result;

	do {
		result = channel_wait(other, &mail, PATIENCE_MS);
		if (!result && mail.message.kind == CHANNEL_LISTENERS)
			take_listeners(keeper, &mail);
		if (!result && mail.message.kind == CHANNEL_PARCEL) {
			result =
			    parcels_add(&keeper->parcels, mail.fd, mail.count, mail.message.index);
			mail.count = result ? mail.count : 0;
		}
		channel_drop(&mail);
	} while (!result && mail.message.kind != CHANNEL_END);
	if (!result)
		result = channel_send(other, &ready, NULL, 0, 0);
	return result ? mpu_fail(error, -result, "the mpud that runs did not hand all over: %s",
				 strerror(-result))
		      : 0;
}

int handover_take(struct keeper *keeper, struct mpu_error *error)
{
	const struct channel_message hello = {.kind = CHANNEL_HELLO, .index = JOURNAL_FORMAT};
	cleanup_close int other = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	struct channel_mail mail;
	int result = beside_address(keeper->socket.path, BESIDE_SUCCESSORS, &address);

	if (other < 0 || result)
		return mpu_fail(error, other < 0 ? errno : -result,
				"cannot reach the mpud that runs: %s",
				strerror(other < 0 ? errno : -result));
	if (connect(other, (const struct sockaddr *)&address, sizeof(address))) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return -ENOENT;
		return mpu_fail(error, errno, "cannot reach the mpud that runs: %s: %s",
				address.sun_path, strerror(errno));
	}
	result = channel_send(other, &hello, NULL, 0, 0);
	if (!result)
		result = channel_wait(other, &mail, 2 * PATIENCE_MS);
	if (result)
		return mpu_fail(error, -result, "the mpud that runs does not hand over: %s",
				strerror(-result));
	result = take_house(keeper, &mail, error);
	channel_drop(&mail);
	return result ? result : take_rest(keeper, other, error);
}
