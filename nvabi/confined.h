/* Which ioctls the filter of a confined container has to show: all that some release's driver
 * takes, and few of others. */
#ifndef NVABI_CONFINED_H
#define NVABI_CONFINED_H

#include "nvabi/pids.h"

/* The ioctls of /dev/nvidiactl, /dev/nvidiaN and nvidia-modeset, ordered by number, and behind them
 * UVM's. nvidia.ko tells an ioctl by its number and its size and looks at no magic (nv.c,
 * nvidia_ioctl), and so does nvidia-modeset: hence these masks leave the magic out. Every size that
 * a release takes is in; the masks look at as few of its bits as tell it from what other drivers
 * take under the same number. */
const struct nvabi_ioctl *nvabi_confined_ioctls(uint32_t *count);

/* UVM's among them, at the end of nvabi_confined_ioctls(): bare numbers from 8 to 511, UVM's own
 * tests among them, and from 0x30000000 on. 1 and 2 are Linux' FIBMAP and FIGETBSZ; no release has
 * a UVM ioctl below 23. */
const struct nvabi_ioctl *nvabi_confined_uvm(uint32_t *count);

/* UVM numbers, ascending, below 256, that a container with compute may call itself on every release
 * that has them: they are let through without a look. */
const uint8_t *nvabi_compute_uvm(uint32_t *count);

#endif
