/* mpu's engine as an agent. */
#include "bench.h"

#include "supervisor/driver.h"
#include "supervisor/engine.h"

struct engine *agent_engine(const char *version, const char *dev_root, enum pidmap_method lookup,
			    bool with_uring)
{
	struct engine_options options = {
	    .pid_lookup = lookup, .with_uring = with_uring, .use_pidfd_thread = true};
	struct mpu_error error = {0};
	struct engine *engine;

	if (driver_find(&options.driver, dev_root, version, &error) ||
	    driver_compose(&options.driver, &options.pids, &error) ||
	    engine_start(&engine, &options, &error))
		bench_die("%s", error.text);
	return engine;
}

void agent_give(struct engine *engine, int listener)
{
	const struct mpu_settings settings = {.policy = MPU_POLICY_ALWAYS};

	if (engine_add_listener(engine, listener, &settings, "bench", 0))
		bench_die("the engine does not take a listener");
}
