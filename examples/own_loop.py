"""A loop of one's own: no task and no trainer, and still a complete run folder.

Command:   python examples/own_loop.py
Result:    a run in `runs/own-loop/` with configuration, code, environment, curves and result, which
           `deepdiva runs show last` and `deepdiva board` show like any other; the loss falls below 0.01
"""

import torch
from torch import nn

from deepdiva import Run


def main(*, steps: int = 500, seed: int = 0) -> float:
    """Fits a line, and gives the last loss."""
    settings = {"steps": steps, "rate": 0.1}
    torch.manual_seed(seed)
    places = torch.rand(200, 1)
    values = 3 * places - 1 + 0.05 * torch.randn(200, 1)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=settings["rate"])

    with Run.create("own-loop", config=settings, seed=seed) as run:
        for step in range(1, steps + 1):
            loss = nn.functional.mse_loss(model(places), values)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log(step, {"train/loss": loss.item()})
        run.record(results={"final/loss": loss.item(), "final/slope": model.weight.item()})
    print(f"slope {model.weight.item():.2f}, loss {loss.item():.4f}; {run.path}")
    return loss.item()


if __name__ == "__main__":
    main()
