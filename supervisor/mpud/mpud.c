/* mpud: the daemon that answers the GPU calls of containers. */
#include "supervisor/confine/nursery.h"
#include "supervisor/mpud/mpud.h"

int main(int argc, char **argv)
{
	static struct mpud_options options;
	int result;

	if (nursery_is_meant(argc, argv))
		nursery_main(argc, argv);
	result = mpud_options_parse(argc, argv, &options);
	return result >= 0 ? result : keeper_run(&options);
}
