"""What all tasks with one class a sample share: the loss, the metrics, the predictions and the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from deepdiva.config import Component, Kind, build
from deepdiva.data.statistics import class_counts, class_weights
from deepdiva.engine.task import DataSplits, Evaluation, Score, StepOutput, Task
from deepdiva.errors import UserError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor, nn

    from deepdiva.data.arrays import ArraySplits

LOSS = Kind("loss", base="torch.nn:Module", short={}, namespaces=("torch.nn",))


@dataclass(frozen=True)
class Classification(Task):
    """One class for every sample.

    Args:
        loss: Any loss of torch.nn over scores (B, K) and class indices (B,), by name or import path.
        class_weights: `balanced` lets every class count the same in the loss, however many samples it has: that of a
            sample is multiplied by samples / (classes · samples of its class), counted in the training split, and the
            mean is taken over the number of samples. (PyTorch's own mean divides by the weights that happen to be in
            a batch, so that its epoch's mean depends on the batch size, and gradients that are accumulated differ
            from those of a larger batch.)
    """

    loss: Component = Component("CrossEntropyLoss")
    class_weights: Literal["none", "balanced"] = "none"

    score: ClassVar[Score] = Score("accuracy")
    kinds: ClassVar[Mapping[str, Kind]] = {"loss": LOSS}

    def prepare(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """The inputs as the model takes them; as they are, unless a task says otherwise."""
        return inputs

    def step(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> StepOutput:
        """Scores (B, K) of the inputs, their loss and accuracy against the targets (B,)."""
        import torch

        inputs, targets = batch
        scores = model(self.prepare(model, inputs))
        known = scores.detach()
        return StepOutput(
            loss=self._loss(scores, targets),
            size=len(targets),
            outputs={"scores": known, "target": targets},
            measures={"accuracy": torch.eq(known.argmax(1), targets)},
        )

    def ask(self, model: nn.Module, inputs: np.ndarray[Any, Any], device: Any) -> np.ndarray[Any, Any]:
        """The model's probabilities (N, K) for inputs that belong to no split; every row sums to one."""
        import torch

        was_training = model.training
        model.eval()
        with torch.no_grad():
            scores = model(self.prepare(model, torch.from_numpy(inputs).to(device)))
        model.train(was_training)
        shares: np.ndarray[Any, Any] = scores.float().softmax(1).cpu().numpy()
        return shares

    def metrics(self, evaluation: Evaluation) -> Mapping[str, float]:
        """Accuracy; on the test split also balanced accuracy, macro F1 and the accuracy of the largest class."""
        truth, guess = truth_and_guess(evaluation)
        found = {"accuracy": float((truth == guess).mean())}
        if evaluation.split != "test":
            return found
        from sklearn.metrics import f1_score, recall_score

        classes = np.unique(truth)
        found["balanced_accuracy"] = float(recall_score(truth, guess, labels=classes, average="macro", zero_division=0))
        found["macro_f1"] = float(f1_score(truth, guess, labels=classes, average="macro", zero_division=0))
        found["largest_class_accuracy"] = float(np.bincount(truth).max() / len(truth))
        return found

    def predictions(self, evaluation: Evaluation) -> Mapping[str, Sequence[Any]]:
        """Class names of truth and prediction, and the probability of the prediction."""
        truth, guess = truth_and_guess(evaluation)
        names = evaluation.data.classes
        return {
            "truth": [names[index] for index in truth],
            "prediction": [names[index] for index in guess],
            "probability": probabilities(evaluation)[np.arange(len(guess)), guess].tolist(),
        }

    def figures(self, model: nn.Module, evaluation: Evaluation) -> Mapping[str, Image]:
        """The confusion matrix."""
        from deepdiva.visualization.confusion import confusion_matrix_image

        return {"confusion": confusion_matrix_image(confusion(evaluation), evaluation.data.classes)}

    def _loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        criterion, is_sum = self._criterion_on(scores.device)
        loss: Tensor = criterion(scores, targets)
        return loss / len(targets) if is_sum else loss

    @cached_property
    def _criteria(self) -> dict[torch.device, tuple[nn.Module, bool]]:
        return {}

    def _criterion_on(self, device: torch.device) -> tuple[nn.Module, bool]:
        """The loss with its class weights on a device, made once; and whether it gives a sum in place of a mean."""
        if device not in self._criteria:
            import torch

            criterion: Any = build(LOSS, self.loss)
            if any(True for _ in criterion.parameters()):
                raise UserError(
                    f"the loss {self.loss.target} has parameters, which nothing would train", "put them into the model"
                )
            weights, is_sum = self.statistics.get("class_weights"), False
            if weights is not None:
                if "weight" not in criterion._buffers:
                    raise UserError(f"the loss {self.loss.target} takes no class weights", "set class_weights to none")
                criterion.register_buffer("weight", torch.tensor(weights, dtype=torch.float32))
                if getattr(criterion, "reduction", None) == "mean":
                    criterion.reduction, is_sum = "sum", True
            self._criteria[device] = criterion.to(device), is_sum
        return self._criteria[device]

    def _splits(self, arrays: ArraySplits, supplies: Mapping[str, Any]) -> DataSplits:
        """The splits for the loop; remembers what `step` needs of the training samples."""
        self.statistics.update(arrays.statistics)
        if self.class_weights == "balanced":
            counts = class_counts(arrays.train.targets.numpy(), len(arrays.classes))
            self.statistics["class_weights"] = list(class_weights(counts))
        return DataSplits(
            train=arrays.train,
            val=arrays.val,
            test=arrays.test,
            footprints=arrays.footprints,
            supplies={"num_classes": len(arrays.classes), **supplies},
            classes=arrays.classes,
            membership=arrays.membership,
        )


def truth_and_guess(evaluation: Evaluation) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Indices of the true and the predicted class of every sample, each of shape (N,)."""
    return evaluation.outputs["target"].numpy(), evaluation.outputs["scores"].argmax(1).numpy()


def probabilities(evaluation: Evaluation) -> np.ndarray[Any, Any]:
    """Softmax of the scores, shape (N, K); every row sums to one."""
    shares: np.ndarray[Any, Any] = evaluation.outputs["scores"].float().softmax(1).numpy()
    return shares


def confusion(evaluation: Evaluation) -> np.ndarray[Any, Any]:
    """Number of samples for each true class (row) and predicted class (column), shape (K, K)."""
    truth, guess = truth_and_guess(evaluation)
    size = len(evaluation.data.classes)
    return np.bincount(truth * size + guess, minlength=size * size).reshape(size, size)
