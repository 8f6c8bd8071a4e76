"""All GPUs of the machine, one process each: an all-reduce by NCCL and a few training steps in which the
gradients are averaged. Prints what must be the same in every run."""
import os
import sys

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch
import torch.distributed
import torch.multiprocessing


def work(rank, count, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.cuda.set_device(rank)
    torch.distributed.init_process_group("nccl", rank=rank, world_size=count)
    numbers = torch.arange(1 << 20, device="cuda", dtype=torch.int64) * (rank + 1)
    torch.distributed.all_reduce(numbers)
    factor = count * (count + 1) // 2
    right = bool((numbers == torch.arange(1 << 20, device="cuda", dtype=torch.int64) * factor).all())
    torch.manual_seed(1)
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = False
    model = torch.nn.Linear(256, 10).to("cuda")
    model = torch.nn.parallel.DistributedDataParallel(model, device_ids=[rank])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(100 + rank)
    data = torch.randn(512, 256, device="cuda")
    wanted = torch.randint(0, 10, (512,), device="cuda")
    for _ in range(50):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(data), wanted)
        loss.backward()
        optimizer.step()
    losses = torch.zeros(count, device="cuda")
    losses[rank] = loss.detach()
    torch.distributed.all_reduce(losses)
    if rank == 0:
        print("nccl", count, "right" if right else "WRONG",
              " ".join(f"{value:.5f}" for value in losses.tolist()), flush=True)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    if not right:
        sys.exit(1)


if __name__ == "__main__":
    gpus = torch.cuda.device_count()
    torch.multiprocessing.spawn(work, (gpus, 29500 + os.getpid() % 1000), nprocs=gpus)
