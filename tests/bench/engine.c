/* mpu's engine as an agent. */
#include "bench.h"

#include "supervisor/driver.h"
#include "supervisor/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct agent {
	struct engine *engine;
	struct journal *journal;
};

struct agent *agent_mpu(const char *version, const char *dev_root, enum pidmap_method lookup)
{
	struct engine_options options = {.pid_lookup = lookup, .use_pidfd_thread = true, .nursery = -1};
	struct agent *agent = calloc(1, sizeof(*agent));
	struct mpu_error error = {0};

	agent->journal = journal_new(false);
	if (!agent->journal)
		bench_die("no memory for a journal");
	journal_begin(agent->journal);
	options.journal = agent->journal;
	if (driver_find(&options.driver, dev_root, version, &error) ||
	    driver_compose(&options.driver, &options.pids, &error) ||
	    engine_start(&agent->engine, &options, &error))
		bench_die("%s", error.text);
	return agent;
}

void agent_give(struct agent *agent, int listener)
{
	struct journal_listener *entry;
	uint32_t index;

	entry = journal_take_listener(agent->journal, &index);
	if (!entry)
		bench_die("the journal does not take a listener");
	entry->settings = (struct mpu_settings){.policy = MPU_POLICY_ALWAYS};
	/* Each target is a container of its own. */
	snprintf(entry->label, sizeof(entry->label), "bench-%u", index);
	atomic_store(&entry->state, JOURNAL_LISTENER_HELD);
	if (engine_add_listener(agent->engine, listener, index, false))
		bench_die("the engine does not take a listener");
}
