"""Dense nets and convolutional nets on grids: the layers and models that know nothing of the shape between vertices."""

from . import cnn, conv, dense_block, linear, mlp, pooling, residual, ridge, shallow  # noqa: F401  (they register themselves)
