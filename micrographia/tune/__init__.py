"""A student learns: the plan, the order of images, the batches, and the two stages of training."""
