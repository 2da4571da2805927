"""The operators that random graphs are made of, by family; each emitter adds one node, or a spelling of a few.

An emitter takes the graph and draws operands and attributes that are legal by the operator's own text, for the opset of the graph.
`ROWS` of a family: weight, first opset, emitter. What onnxruntime refuses is not emitted.
"""

from . import attention, contrib, control, elementwise, indexing, matrix, normalization, quantization, reduce, sequence, shape, source, spatial

FAMILIES = [elementwise, shape, source, indexing, reduce, matrix, normalization, spatial, quantization, attention, contrib, control, sequence]
ROWS = [row for family in FAMILIES for row in family.ROWS]
