"""What a worker needs of its node: the channel to the driver, the block's end, fencing, files and processes."""
