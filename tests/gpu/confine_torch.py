"""A training loop with fixed seeds: prints the losses, which are the same in every run."""
import os
import sys

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch

torch.manual_seed(1)
torch.use_deterministic_algorithms(True)
torch.backends.cuda.matmul.allow_tf32 = False
model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10)).to("cuda")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = torch.randn(1024, 256, device="cuda")
wanted = torch.randint(0, 10, (1024,), device="cuda")
losses = []
for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 100):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(data), wanted)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print("torch", " ".join(f"{loss:.6f}" for loss in losses[::20]), f"{losses[-1]:.6f}")
