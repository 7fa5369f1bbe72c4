"""ModelPart: what one of several processes loads of a model, if its layers are cut over them."""

from dataclasses import dataclass, replace

from minillm.loading.checkpoint import Checkpoint


@dataclass(frozen=True)
class ModelPart:
    """What one of several processes holds of a model: layers that follow each other.

    Attributes:
        layers: the numbers of the layers.
        has_embedding: whether the part begins with the embedding.
        has_head: whether it ends with the head. All parts have the final norm, which is small.
    """

    layers: range
    has_embedding: bool = True
    has_head: bool = True

    def of(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return the checkpoint with the tensors of this part only."""
        prefixes = ["model.norm.", *(f"model.layers.{number}." for number in self.layers)]
        tied = checkpoint.config.tie_word_embeddings
        if self.has_embedding or (self.has_head and tied):
            prefixes.append("model.embed_tokens.")
        if self.has_head:
            prefixes.append("lm_head.")
        tensors = {name: t for name, t in checkpoint.tensors.items() if name.startswith(tuple(prefixes))}
        return replace(checkpoint, tensors=tensors)
