"""The geometry of embeddings: pure functions on tensors and arrays; smaller is nearer."""
