#include "nvabi/policy.h"

#include <string.h>

static const struct {
	const char *word;
	uint32_t bits;
} capabilities[] = {
    {"compute", NVABI_CAP_COMPUTE},   {"utility", NVABI_CAP_UTILITY},
    {"graphics", NVABI_CAP_GRAPHICS}, {"video", NVABI_CAP_VIDEO},
    {"display", NVABI_CAP_DISPLAY},   {"ngx", NVABI_CAP_NGX},
    {"compat32", NVABI_CAP_COMPAT32}, {"profiling", NVABI_CAP_PROFILING},
    {"rdma", NVABI_CAP_RDMA},	      {"fabric-imex", NVABI_CAP_FABRIC_IMEX},
    {"all", NVABI_CAPS_ALL},
};

enum { COUNT = sizeof(capabilities) / sizeof(capabilities[0]) };

bool nvabi_capability_parse(const char *word, size_t length, uint32_t *bits)
{
	for (int i = 0; i < COUNT; i++)
		if (strlen(capabilities[i].word) == length &&
		    memcmp(capabilities[i].word, word, length) == 0) {
			*bits |= capabilities[i].bits;
			return true;
		}
	return false;
}

const char *nvabi_capability_name(uint32_t bit)
{
	for (int i = 0; i < COUNT; i++)
		if (capabilities[i].bits == bit)
			return capabilities[i].word;
	return NULL;
}
