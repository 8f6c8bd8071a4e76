/* LXC's containers, between their monitors and the engine. */
#include "supervisor/mpud/mpud.h"

#include "base/log.h"
#include "supervisor/engine.h"
#include "supervisor/mpud-protocol.h"
#include "supervisor/mpud/lxc.h"

#include <errno.h>
#include <stdlib.h>

struct place {
	const struct worker_start *start;
	struct engine *engine;
};

static void *open_container(void *context, const struct lxc_container *lxc)
{
	const struct place *place = context;
	struct journal *journal = place->start->journal;
	const struct mpud_container container = {
	    .id = lxc->name, .metadata = lxc->cookie, .pid = lxc->init, .process = lxc->init};
	struct engine_source *source = NULL;
	struct mpu_error error = {0};
	uint32_t index;

	if (worker_enter(place->engine, journal, place->start->options, &container, true, &index,
			 &error)) {
		log_error(error.text, "monitor=%d", lxc->monitor);
		return NULL;
	}
	source = engine_add_source(place->engine, index);
	if (source)
		log_info("an LXC monitor forwards its container's calls",
			 "container=%s monitor=%d pid=%d", journal_listener(journal, index)->label,
			 lxc->monitor, lxc->init);
	else
		atomic_store(&journal_listener(journal, index)->state, JOURNAL_LISTENER_FREE);
	return source;
}

static void answer(void *call, struct seccomp_notif_resp response)
{
	lxc_answer(call, response);
}

static void take_call(void *source, int listener, const struct seccomp_notif *notification,
		      struct lxc_call *call)
{
	engine_take(source, listener, notification, answer, call);
}

static void close_container(void *source)
{
	engine_remove_source(source);
}

int worker_open_lxc(const struct worker_start *start, struct engine *engine,
		    struct lxc_proxy **proxy)
{
	static const struct lxc_sink sink = {open_container, take_call, close_container};
	struct place *place = malloc(sizeof(*place));
	int result;

	if (!place)
		return -ENOMEM;
	*place = (struct place){start, engine};
	result = lxc_open(proxy, start->lxc_socket, &sink, place);
	if (result)
		free(place);
	return result;
}
